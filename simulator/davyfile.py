"""Write the ``davy.yaml`` that matches a simulated site: its template with ports and paths filled in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator.site import SITES, SiteError

_PLANT_RATE: Final = 0.1
"""Rate-of-rise limit, K per minute of plant time; 80 °C feed into a full 1,000 m3 tank gives 0.36."""
_PLANT_WINDOW_S: Final = 120.0
_WINDOW_MIN_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What the template leaves open. A port of None leaves that part of the configuration out."""

    state_dir: Path
    modbus_port: int
    mqtt_port: int
    console_port: int
    opcua_port: int | None = None
    influx_port: int | None = None
    speed: float = 1.0
    """How much faster than the clock the plant runs; rates per minute are seen this much larger."""
    keep_alive_s: int = 20
    timeout_ms: int = 15_000
    """Of the MQTT destination: how long it waits for an answer before it gives the link up."""


def render(site: str, setting: Setting) -> str:
    """The text of ``davy.yaml`` for a ready-made site; SiteError where the site has no template."""
    path = SITES / site / "davy.yaml"
    if not path.is_file():
        raise SiteError(f"{site}: no davy.yaml template beside its site.yaml")
    text = path.read_text(encoding="utf-8")
    for part, port in (("opcua", setting.opcua_port), ("influx", setting.influx_port)):
        text = _keep_or_drop(text, part, is_kept=port is not None)
    return re.sub(r"@([A-Z_]+)@", lambda match: _values(setting)[match[1]], text)


def _keep_or_drop(text: str, part: str, *, is_kept: bool) -> str:
    pattern = rf"^#{part}>\n(.*?)^#<{part}\n"
    return re.sub(pattern, r"\1" if is_kept else "", text, flags=re.DOTALL | re.MULTILINE)


def _values(setting: Setting) -> Mapping[str, str]:
    speed = setting.speed
    window_ms = round(max(_PLANT_WINDOW_S / speed, _WINDOW_MIN_S) * 1_000)
    limit = round(_PLANT_RATE * speed, 3)
    return {
        "STATE_DIR": str(setting.state_dir),
        "CONSOLE_PORT": str(setting.console_port),
        "MODBUS_PORT": str(setting.modbus_port),
        "MQTT_PORT": str(setting.mqtt_port),
        "OPCUA_PORT": str(setting.opcua_port),
        "INFLUX_PORT": str(setting.influx_port),
        "KEEP_ALIVE": f"{setting.keep_alive_s}s",
        "TIMEOUT": f"{setting.timeout_ms}ms",
        "RATE_LIMIT": f"{limit:g}",
        "RATE_DEADBAND": f"{limit / 4:g}",
        "RATE_WINDOW": f"{window_ms}ms",
        "SPEED_NOTE": f"the simulated plant runs {speed:g} times as fast as the clock, so rates are that much higher"
        f" / 模拟装置以 {speed:g} 倍速运行",
    }
