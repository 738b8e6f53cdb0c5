"""Configuration of an MQTT destination."""

from typing import Any

import pytest
from pydantic import ValidationError

from agent.destinations.mqtt.config import Config


def config(**keys: Any) -> Config:
    return Config.model_validate({"id": "p", "kind": "mqtt", "url": "mqtts://mq.example.com"} | keys)


def test_ports_are_those_of_mqtt_unless_given() -> None:
    assert (config().host, config().port, config().is_tls) == ("mq.example.com", 8883, True)
    assert config(url="mqtt://10.0.0.1").port == 1883
    assert config(url="mqtt://[::1]:1884").port == 1884
    assert config(url="mqtt://[::1]:1884").host == "::1"


@pytest.mark.parametrize("protocol", ["auto", 5, "5"])
def test_protocol_5_may_be_written_as_a_number(protocol: object) -> None:
    assert config(protocol=protocol).protocol in ("auto", "5")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"url": "http://mq"}, "expected mqtt://host"),
        ({"url": "mqtt://"}, "expected mqtt://host"),
        ({"url": "mqtt://user:secret@mq"}, "user and password have their own keys"),
        ({"url": "mqtt://mq:99999"}, "Port out of range"),
        ({"protocol": "3.1.1"}, "not there yet"),
        ({"confirm": "platform"}, "transport"),
        ({"catch_up": "live_first"}, "in_order"),
        ({"certificate": "c.pem"}, "belong together"),
        ({"url": "mqtt://mq", "ca": "ca.pem"}, "only with mqtts"),
        ({"password": "x"}, "password without user"),
        ({"keep_alive": "1500ms"}, "whole seconds"),
        ({"timeout": "1ms"}, "at least 200ms"),
        ({"heartbeat": 60}, "a bare number has no unit"),
        ({"commands": ["shelve"]}, "receipt"),
        ({"compres": "zstd"}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_said(keys: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        config(**keys)


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(config(user="u", password="hunter2"))
