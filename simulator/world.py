"""The simulated world: plant, instruments and faults at a moment of plant time, for one scenario and one seed."""

from collections.abc import Mapping

from simulator.instruments import Fault, Instrument
from simulator.scenario import Action, Scenario, actions
from simulator.site import Site


class World:
    """A world that is moved forward; what it shows at a time depends on site, scenario, seed and that time alone.

    Time passes in steps of ``site.step``; actions of the scenario take effect at the first step at or after their time.
    """

    def __init__(self, site: Site, scenario: Scenario | None = None, seed: int | None = None) -> None:
        self._step_ns = site.step.ns
        self._now_ns = 0
        self._models = {plant.id: plant.build() for plant in site.plant}
        self._inputs: dict[str, dict[str, float]] = {
            plant.id: {**self._models[plant.id].inputs, **plant.inputs} for plant in site.plant
        }
        run_seed = site.seed if seed is None else seed
        self._instruments = {config.id: Instrument(config, run_seed) for config in site.instruments}
        self._signals: dict[str, float] = {}
        self._faults: dict[str, dict[Fault, float]] = {}
        self._actions: list[Action] = []
        self._done = 0
        self._started_ns = 0
        if scenario is not None:
            self.play(scenario)
        self._step(0.0)

    @property
    def now_ns(self) -> int:
        """Plant time of the present state, ns since the start."""
        return self._now_ns

    @property
    def signals(self) -> Mapping[str, float]:
        """The true state: every plant output and input, ``MODEL.NAME``, SI."""
        return self._signals

    def play(self, scenario: Scenario) -> None:
        """Start a scenario now; what the one before it had not done yet is dropped."""
        self._actions = actions(scenario)
        self._done = 0
        self._started_ns = self._now_ns

    def advance_to(self, time_ns: int) -> list[Action]:
        """Let plant time pass up to ``time_ns`` (never back) and return what happened on the way."""
        first = self._done
        while self._now_ns + self._step_ns <= time_ns:
            self._now_ns += self._step_ns
            self._step(self._step_ns / 1e9)
        return self._actions[first : self._done]

    def value(self, instrument: str) -> float:
        """What an instrument shows now, engineering units; NaN where it shows nothing."""
        return self._instruments[instrument].value()

    def faults(self, target: str) -> Mapping[Fault, float]:
        """The faults a device or the network has now, with their size."""
        return self._faults.get(target, {})

    def begin(self, target: str, fault: Fault, size: float = 0.0) -> None:
        """A fault begins now, whatever the scenario says."""
        if target in self._instruments:
            self._instruments[target].begin(fault, size)
        else:
            self._faults.setdefault(target, {})[fault] = size

    def end(self, target: str, fault: Fault) -> None:
        """A fault ends now."""
        if target in self._instruments:
            self._instruments[target].end(fault)
        else:
            self._faults.get(target, {}).pop(fault, None)

    def set_input(self, name: str, value: float) -> None:
        """Change a plant input, ``MODEL.NAME``, SI."""
        model, _, key = name.rpartition(".")
        self._inputs[model][key] = value

    def _step(self, dt_s: float) -> None:
        played_ns = self._now_ns - self._started_ns
        while self._done < len(self._actions) and self._actions[self._done].at_ns <= played_ns:
            self._act(self._actions[self._done])
            self._done += 1
        for name, model in self._models.items():
            inputs = self._inputs[name]
            for key, value in inputs.items():
                self._signals[f"{name}.{key}"] = value
            for key, value in model.update(dt_s, inputs).items():
                self._signals[f"{name}.{key}"] = value
        for instrument in self._instruments.values():
            instrument.update(dt_s, self._signals[instrument.config.measures])

    def _act(self, action: Action) -> None:
        step = action.step
        if step.set is not None and step.to is not None:
            self.set_input(step.set, step.to)
        elif step.fault is not None and step.target is not None:
            if action.begins:
                self.begin(step.target, step.fault, step.size)
            else:
                self.end(step.target, step.fault)
