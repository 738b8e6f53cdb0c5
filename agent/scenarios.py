"""Simulated sites as the source of a rule test: finds site and scenario, says what is wrong (davy test)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.config.errors import Text, closest, same, show_found
from agent.core.batch import Batch
from rules.testing.testfile import Case, instant_ns, time_ns
from simulator.readings import readings
from simulator.scenario import Scenario
from simulator.site import SITES, Site, SiteError, find_site, load_site


class SceneError(Exception):
    """The test cannot have its scenario: the ``key`` that is wrong, why, what stands there, what would be right."""

    def __init__(self, key: str, text: Text, found: str, allowed: str | None = None, near: str | None = None) -> None:
        super().__init__(text.en)
        self.key = key
        self.text = text
        self.found = show_found(found)
        self.allowed = None if allowed is None else same(allowed)
        self.near = near


@dataclass(frozen=True, slots=True)
class Scene:
    """A scenario of a site, ready to be played as often as wanted."""

    site: Site
    scenario: Scenario

    @property
    def tags(self) -> frozenset[str]:
        """The tags that have values: the site's instruments."""
        return frozenset(instrument.id for instrument in self.site.instruments)

    def readings(self, case: Case) -> Iterator[Batch]:
        """What the instruments show, at the test's step and start; the seed is the site's unless the test has one."""
        start_ns = instant_ns(case.start)
        seed = case.seed if "seed" in case.model_fields_set else None
        lasts_ns = None if case.until is None else time_ns(case.until, start_ns) - start_ns
        return readings(self.site, self.scenario, step_ns=case.step.ns, start_ns=start_ns, seed=seed, lasts_ns=lasts_ns)


def load_scene(case: Case, directory: Path) -> Scene | None:
    """The scene of a test, None where it names none; SceneError. A path counts from ``directory``."""
    if case.site is None or case.scenario is None:
        return None
    is_bundled = (SITES / case.site / "site.yaml").is_file()
    try:
        site = load_site(find_site(case.site if is_bundled else str(directory / case.site)))
    except SiteError as error:
        raise SceneError("site", same(str(error)), case.site) from error
    scenario = site.scenarios.get(case.scenario)
    if scenario is None:
        names = sorted(site.scenarios)
        text = Text(f"site {site.id} has no such scenario", f"站点 {site.id} 没有这个场景")
        raise SceneError("scenario", text, case.scenario, ", ".join(names) or None, closest(case.scenario, names))
    return Scene(site, scenario)
