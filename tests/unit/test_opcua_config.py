"""The configuration of an OPC UA device, and node references."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from agent.core.clock import SystemClock
from agent.core.counters import Counters
from agent.core.ports import DriverContext
from drivers.opcua.config import Config
from drivers.opcua.driver import make
from drivers.opcua.nodes import parse

DCS: dict[str, Any] = {
    "id": "dcs",
    "driver": "opcua",
    "endpoint": "opc.tcp://10.0.0.9:4840",
    "login": {"user": "davy", "password": "p4ss"},
    "mode": "subscribe",
    "publish": "500ms",
    "tags": [
        {
            "id": "R201.temp",
            "node": "ns=2;s=R201.Temperature",
            "unit": "degC",
            "kind": "temperature",
            "report_change": 0.05,
        },
        {"id": "R201.press", "node": "nsu=urn:plant:dcs;s=R201.Pressure"},
    ],
}


def test_the_example_of_the_specification_is_valid() -> None:
    config = Config.model_validate(DCS)
    driver = make(config, DriverContext(SystemClock(), Counters()))
    assert driver.layout.tags == ("R201.temp", "R201.press")
    assert [tag.poll_ns for tag in driver.tags] == [None, None]
    assert driver.status()["state"] == "down"


def test_the_password_is_never_shown() -> None:
    config = Config.model_validate(DCS)
    assert "p4ss" not in repr(config)
    assert "p4ss" not in config.model_dump_json()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"endpoint": "http://10.0.0.9"}, "opc.tcp://HOST:PORT"),
        ({"endpoint": "opc.tcp://u:p@10.0.0.9:4840"}, "login"),
        ({"endpoint": "opc.tcp://h:99999"}, "ort"),
        ({"security": {"policy": "Basic256Sha256", "mode": "SignAndEncrypt", "trust": "pki"}}, "which has: None"),
        ({"security": {"mode": "Sign"}}, "this version has: None"),
        ({"mode": "push"}, "subscribe"),
        ({"publish": "0ms"}, "more than zero"),
        ({"retry": "1min"}, "retry_max"),
        ({"request_size": 1001}, "1000"),
        ({"nodes": []}, "nodes"),
        ({"tags": [{"id": "a", "node": "R201"}]}, "ns=2;s=Tank.Level"),
    ],
)
def test_a_wrong_key_is_refused_with_what_is_allowed(change: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError) as error:
        Config.model_validate({**DCS, **change})
    assert part in str(error.value)


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("ns=2;s=a;b=c", "ns=2;s=a;b=c"),
        ("i=2258", "ns=0;i=2258"),
        ("nsu=urn:x;i=7", "ns=1;i=7"),
        ("nsu=urn:a%3Bb;s=x", "ns=2;s=x"),
        ("nsu=urn:nobody;s=x", None),
        ("ns=3;g=09087e75-8e5e-499b-954f-f2a9603db28a", "ns=3;g=09087e75-8e5e-499b-954f-f2a9603db28a"),
        ("ns=3;b=M/RbKBsRVkePCePcx24oRA==", "ns=3;b=M/RbKBsRVkePCePcx24oRA=="),
    ],
)
def test_node_references_are_resolved(text: str, resolved: str | None) -> None:
    assert parse(text).resolve(["http://opcfoundation.org/UA/", "urn:x", "urn:a;b"]) == resolved


@pytest.mark.parametrize(
    "text", ["", "ns=2", "ns=x;s=a", "ns=99999;s=a", "ns=2;i=-1", "i=4294967296", "g=1", "b=?", "s=\n"]
)
def test_a_wrong_node_reference_says_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match=r"ns=2;s=Tank\.Level|beyond"):
        parse(text)


def test_the_configuration_alone_does_not_load_asyncua() -> None:
    code = "import sys, drivers.opcua.config; sys.exit('asyncua' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
