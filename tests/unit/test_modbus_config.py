"""What a Modbus device's configuration accepts, and what its errors say."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from agent.core.batch import Source
from agent.core.tags import Scaling
from drivers.modbus.config import Config, TagConfig
from drivers.modbus.pdu import Table

LINK = {"kind": "tcp", "host": "10.0.0.5"}


def tag(**keys: object) -> TagConfig:
    return TagConfig.model_validate({"id": "t", "table": "holding", "address": 0, "type": "uint16", **keys})


def device(**keys: object) -> Config:
    tags = [{"id": "t", "table": "holding", "address": 0, "type": "uint16"}]
    return Config.model_validate({"id": "d", "driver": "modbus", "link": LINK, "tags": tags, **keys})


def test_the_example_of_the_specification_is_accepted():
    config = device(
        unit_id=1, poll="1s", timeout="1s", link={**LINK, "port": 502}, source="simulator",
        tags=[
            {"id": "T101.level", "table": "holding", "address": 0, "type": "float32", "order": "ABCD", "unit": "m",
             "range": [0, 12], "kind": "level", "name": "1号罐液位"},
            {"id": "T101.temp", "table": "holding", "address": 2, "type": "int16", "scale": 0.1, "offset": 0},
            {"id": "T101.mA", "table": "input", "address": 10, "type": "uint16", "scale": 0.01, "signal": "4-20mA",
             "span": [0, 1.6], "unit": "MPa"},
            {"id": "T101.hh", "table": "discrete", "address": 5, "type": "bool"},
            {"id": "T101.flags", "table": "holding", "address": 20, "type": "bit", "bit": 3},
        ],
    )  # fmt: skip
    tags = [config.tag(item) for item in config.tags]
    assert [t.scaling for t in tags[:3]] == [
        Scaling(is_float32=True),
        Scaling(0.1),
        Scaling(0.01, 0.0, (0.0, 1.6)),
    ]
    assert (tags[0].name, tags[0].range, tags[0].poll_ns, tags[0].device) == ("1号罐液位", (0, 12), 10**9, "d")
    assert tags[0].source == Source.SIMULATOR


@pytest.mark.parametrize(
    ("table", "text", "address"),
    [
        ("holding", "40001", 0), ("holding", "400001", 0), ("holding", "465536", 65535), ("input", "30010", 9),
        ("discrete", "10001", 0), ("coil", "00001", 0), ("coil", "000100", 99), ("holding", "12", 12),
    ],
)  # fmt: skip
def test_the_traditional_notation_is_understood(table, text, address):
    type_ = "bool" if Table(table).is_bits else "uint16"
    assert tag(table=table, address=text, type=type_).address == address


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"address": "30001"}, "means table input, found table holding"),
        ({"address": "40000"}, "expected 0xxxx"),
        ({"address": "20001"}, "expected 0xxxx"),
        ({"address": "4x001"}, "five or six digits"),
        ({"address": 65535, "type": "float32"}, "expected 0..65535 for the whole value"),
        ({"address": -1}, "expected 0..65535"),
        ({"order": "CDAB"}, "order CDAB does not fit uint16: expected AB, BA"),
        ({"table": "coil", "type": "bool", "order": "AB"}, "expected none"),
        ({"table": "coil"}, "holds bits: expected type bool, found uint16"),
        ({"type": "bit"}, "type bit needs the key bit"),
        ({"bit": 3}, "type bit needs the key bit"),
        ({"type": "string"}, "needs the key length"),
        ({"type": "bool", "scale": 2}, "takes no scale"),
        ({"signal": "4-20mA"}, "signal and span belong together"),
        ({"span": [0, 1]}, "signal and span belong together"),
        ({"signal": "4-20mA", "span": [1, 1]}, "two different values in span"),
        ({"scale": 0}, "a scale other than 0"),
        ({"scale": ".nan"}, "valid number"),
        ({"adress": 1}, "Extra inputs"),
        ({"type": "float16"}, "'float64' or 'string'"),
    ],
)
def test_a_wrong_tag_is_refused_with_what_is_allowed(keys, says):
    with pytest.raises(ValidationError, match=says):
        tag(**keys)


@pytest.mark.parametrize("kind", ["rtu", "rtu_over_tcp", "tls"])
def test_a_link_of_a_later_version_is_one_error_that_names_what_there_is(kind):
    with pytest.raises(ValidationError) as caught:
        device(link={"kind": kind, "port": "/dev/ttyS0", "baudrate": 9600})
    (error,) = caught.value.errors()
    assert error["loc"] == ("link",)
    assert "this version has tcp" in error["msg"]


def test_a_device_without_tags_or_with_a_tag_twice_is_refused():
    with pytest.raises(ValidationError, match="at least one tag"):
        device(tags=[])
    row = {"id": "t", "table": "holding", "address": 0, "type": "uint16"}
    with pytest.raises(ValidationError, match="stands twice"):
        device(tags=[row, row])
    assert device(tags=[], tags_from="tags.csv").tags == ()


def test_the_configuration_alone_does_not_load_pymodbus():
    code = "import sys, drivers.modbus.config; sys.exit('pymodbus' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
