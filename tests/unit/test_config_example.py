"""The example configuration that is installed, and the JSON Schema, are what the loader takes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import yaml

from agent.config import kinds
from agent.config.load import load
from agent.config.schema import config_schema
from tests.support.configs import PLANT, write

EXAMPLE = Path(__file__).parents[2] / "deploy" / "systemd" / "davy.yaml"


def uncommented() -> str:
    return re.sub(r"(?m)^([ ]*)# ", r"\1", EXAMPLE.read_text())


def test_the_example_is_valid_as_it_is():
    loaded = load(EXAMPLE, env={})
    assert not loaded.warnings
    assert len(loaded.tags) == 4


def test_the_example_is_valid_with_every_block_in_use(tmp_path):
    for name in ("ca.pem", "gw1.pem", "gw1.key"):
        write(tmp_path, "-", name)
    write(tmp_path, "id,table,address,type\nT102.level,holding,40,float32\n", "tankfarm.csv")
    for name in ("dcs", "influx"):
        write(tmp_path, f"secret-of-{name}", f"credentials/{name}")
    # Relative to the configuration, wherever the agent is started.
    text = re.sub(r"(ca|certificate|private_key): (\S+)", rf"\1: {tmp_path}/\2", uncommented())
    loaded = load(write(tmp_path, text), env={}, credentials_dir=tmp_path / "credentials")
    assert [device.id for device in loaded.config.devices] == ["tankfarm", "dcs"]
    assert [destination.id for destination in loaded.config.destinations] == ["platform", "county", "tsdb"]
    assert "secret-of" not in json.dumps(loaded.shown())


def test_the_schema_takes_the_example():
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for text in (EXAMPLE.read_text(), PLANT):
        assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []
    assert not validator.is_valid({"site": {"id": "s1"}, "agent": {"name": "gw1"}, "journal": {"keep": 30}})
    assert not validator.is_valid({"site": {"id": "s1"}, "agent": {"name": "gw1"}, "jurnal": {}})


def test_the_schema_describes_every_key_of_the_site():
    site = config_schema()["$defs"]["Site"]["properties"]
    assert all("description" in field for field in site.values())
    assert site["max_skew"]["default"] == "5s"
    assert set(kinds.driver_kinds()) >= {"modbus", "opcua"}
    assert set(kinds.destination_kinds()) >= {"mqtt", "influxdb"}


def test_loading_a_configuration_imports_nothing_heavy():
    heavy = ("asyncua", "pymodbus", "aiomqtt", "aiohttp", "influxdb_client", "numpy")
    code = f"""
import sys
from pathlib import Path
from agent.config.load import load
from agent.config.schema import config_schema
load(Path({str(EXAMPLE)!r}), env={{}})
config_schema()
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
