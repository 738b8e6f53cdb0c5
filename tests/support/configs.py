"""Configurations for tests: text in, problems or the loaded thing out."""

from pathlib import Path

from agent.config.errors import ConfigError, Problem
from agent.config.load import Loaded, load

HEAD = """\
site: {id: s1}
agent: {name: gw1}
"""

DEVICE = """\
devices:
  - id: plc
    driver: modbus
    link: {kind: tcp, host: 10.0.0.5, port: 502}
    unit_id: 1
    tags:
      - {id: T101.level, table: holding, address: 0, type: float32, unit: m, range: [0, 12], kind: level}
      - {id: T101.temp, table: holding, address: 2, type: int16, scale: 0.1, unit: degC}
"""

RULES = """\
rules:
  - {id: T101-level-h, tag: T101.level, condition: high, limit: 10.5, deadband: 0.1, on_delay: 5s, priority: high}
  - {id: T101-temp-h, tag: T101.temp, condition: high, limit: 60, deadband: 2, priority: medium}
"""

PLANT = HEAD + DEVICE + RULES


def write(directory: Path, text: str | bytes, name: str = "davy.yaml") -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def loaded(directory: Path, text: str, **options: object) -> Loaded:
    return load(write(directory, text), env=options.pop("env", {}), **options)  # type: ignore[arg-type]


def problems(directory: Path, text: str | bytes, env: dict[str, str] | None = None) -> list[Problem]:
    try:
        load(write(directory, text), env=env or {})
    except ConfigError as error:
        return list(error.problems)
    raise AssertionError("this configuration should have been refused")


def problem(directory: Path, text: str | bytes, env: dict[str, str] | None = None) -> Problem:
    """The only problem of a configuration."""
    found = problems(directory, text, env)
    assert len(found) == 1, "\n".join(each.to_text() for each in found)
    return found[0]
