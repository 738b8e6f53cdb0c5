"""Commands from destinations (spec/wire.md "Commands"): what is rejected, signed, answered and recorded."""

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.commands.model import BODIES, CommandError, parse
from agent.commands.rejections import RECORDED_MAX, Rejections
from agent.commands.signature import CommandKey, signed_bytes
from agent.destinations.mqtt.config import Command as ConfiguredCommand
from agent.destinations.mqtt.config import Config
from agent.destinations.schemas import ANSWER, COMMAND
from tests.support.desk import place

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
ALL = tuple(BODIES)
SECOND = 1_000_000_000
EXAMPLES: dict[str, dict[str, Any]] = {
    "receipt": {"events": ["e1"], "ranges": [{"lane": "readings", "from": 1, "to": 9}]},
    "acknowledge": {"alarm": "T1-h", "event": "e1", "note": None},
    "reset": {"alarm": "T1-h", "event": "e1"},
    "confirm": {"alarm": "T1-h", "event": "e1", "finding": "阀门内漏", "measure": "更换"},
    "silence": {"alarm": "T1-h"},
    "comment": {"alarm": "T1-h", "note": "on my way"},
    "shelve": {"alarm": "T1-h", "until": 5, "reason": "gauge"},
    "unshelve": {"alarm": "T1-h"},
    "remove_from_service": {"alarm": "T1-h", "until": 5, "reason": "gauge"},
    "return_to_service": {"alarm": "T1-h", "reason": "repaired"},
    "maintenance": {"tag": "T1", "until": 5, "reason": "bump test"},
    "end_maintenance": {"tag": "T1"},
    "done": {"tag": "T1", "rule": "T1-cal", "result": "passed"},
    "planned_stop": {"area": "unit-1", "from": 1, "until": 5, "reason": "catalyst"},
    "exercise": {"until": 5, "reason": "drill"},
    "end_exercise": {},
}


def message(kind: str, **fields: Any) -> dict[str, Any]:
    envelope = {"id": "c1", "kind": kind, "actor": "li", "sent": 1, "expires": 2, "epoch": "e"}
    return {**envelope, **EXAMPLES[kind], **fields}


def signed(fields: dict[str, Any], key: Ed25519PrivateKey = KEY) -> dict[str, Any]:
    return {**fields, "signature": base64.b64encode(key.sign(signed_bytes(fields))).decode()}


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_is_read_and_its_schema_agrees(kind):
    command = parse(json.dumps(message(kind)).encode())
    assert command.kind == kind
    expected = {key: value for key, value in EXAMPLES[kind].items() if value is not None}
    assert {key: value for key, value in command.fields().items() if value} == {k: v for k, v in expected.items() if v}
    jsonschema.validate(message(kind), COMMAND)


@pytest.mark.parametrize("kind", ALL)
def test_an_unknown_field_is_refused_by_code_and_schema(kind):
    with pytest.raises(CommandError, match="colour"):
        parse(json.dumps(message(kind, colour="red")).encode())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(message(kind, colour="red"), COMMAND)


def test_the_configuration_the_models_and_the_schema_know_the_same_kinds():
    assert set(ConfiguredCommand.__args__) == set(BODIES)
    assert {one["title"] for one in COMMAND["oneOf"]} == set(BODIES)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"{", "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"id":"a","id":"b"}', "id: key twice"),
        (b'{"sent":1.5}', "whole numbers only"),
        (b'{"sent":NaN}', "whole numbers only"),
        (b'{"kind":"shelve"}', "Field required"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (json.dumps(message("shelve", until="soon")).encode(), "until"),
        (json.dumps(message("shelve", reason="")).encode(), "reason"),
        (json.dumps(message("shelve") | {"kind": "rebirth"}).encode(), "rebirth is not in this version"),
        (json.dumps(message("shelve") | {"kind": "open_valve"}).encode(), "open_valve is none of"),
        (json.dumps(message("shelve", sent=True)).encode(), "sent"),
    ],
)
def test_what_is_no_command_is_refused_with_its_reason(payload, text):
    with pytest.raises(CommandError, match=text):
        parse(payload)


# ---- signatures


def test_a_signature_is_made_over_the_documented_bytes():
    fields = {"b": 1, "a": {"z": "é", "y": [2, "\n"]}, "signature": "left out"}
    assert signed_bytes(fields) == b'davy-command-v1\n{"a":{"y":[2,"\\n"],"z":"\xc3\xa9"},"b":1}'


def test_one_changed_byte_breaks_a_signature():
    key, fields = CommandKey(PUBLIC), message("shelve")
    signature = signed(fields)["signature"]
    assert key.proves(fields, signature)
    assert not key.proves({**fields, "until": 6}, signature)
    assert not key.proves(fields, "AAAA")
    assert not key.proves(fields, "no base64!")
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert not key.proves(fields, signed(fields, other)["signature"])


def config(**keys: Any) -> Config:
    return Config.model_validate({"id": "p", "kind": "mqtt", "url": "mqtts://mq"} | keys)


def test_without_a_key_only_receipt_comment_and_acknowledge_can_be_enabled():
    assert config(commands=["receipt", "comment", "acknowledge"]).command_key is None
    with pytest.raises(ValueError, match="shelve only with command_key"):
        config(commands=["receipt", "shelve"])
    assert config(commands=["receipt", "shelve"], command_key=PUBLIC).commands == ("receipt", "shelve")
    with pytest.raises(ValueError, match="32 bytes"):
        config(command_key="AAAA")
    with pytest.raises(ValueError, match="rebirth: not in this version"):
        config(commands=["rebirth"])


async def test_with_a_key_unsigned_commands_are_rejected_and_signed_ones_name_the_key(tmp_path: Path):
    key = CommandKey(PUBLIC)
    async with place(tmp_path, enabled=ALL, key=key) as site:
        await site.read(11)
        command = site.command("comment", alarm="T1-h", note="seen")
        assert (await site.send(command))["reason"].startswith("signature: required")
        assert (await site.send({**signed(command), "note": "x"}))["reason"].startswith("signature: not made over")
        await site.send(signed(command))
        (record,) = site.records("comment")
        assert (record["actor"], record["actor_is_claimed"], record["key"]) == ("li", True, key.fingerprint)
        assert len(site.records("command_rejected")) == 2


# ---- what is rejected


async def test_retained_foreign_late_and_unlisted_commands_are_rejected(tmp_path: Path):
    async with place(tmp_path, enabled=("comment", "acknowledge")) as site:
        good = site.command("comment", alarm="T1-h", note="x")
        assert "retained" in (await site.send(good, retained=True))["reason"]
        assert "epoch" in (await site.send({**good, "epoch": "other"}))["reason"]
        assert "not enabled" in (await site.send(site.command("receipt")))["reason"]
        assert "bytes, at most" in (await site.send(b" " * 300_000))["reason"]
        assert len(site.records("command_rejected")) == 4
        assert site.counters.total("commands_rejected") == 4
        assert site.records("comment") == []


async def test_a_command_lives_at_most_five_minutes(tmp_path: Path):
    async with place(tmp_path) as site:
        good = site.command("comment", alarm="T1-h", note="x")
        sent = good["sent"]
        for change, reason in [
            ({"expires": None}, "expires: required"),
            ({"expires": sent + 301 * SECOND}, "at most 5 min"),
            ({"sent": sent - 100 * SECOND, "expires": sent - SECOND}, "expired"),
            ({"sent": sent + 61 * SECOND, "expires": sent + 70 * SECOND}, "ahead of this gateway"),
        ]:
            answer = await site.send({**good, **change, "id": reason})
            assert reason in answer["reason"], answer
        site.clock.advance(61 * SECOND)
        assert "expired" in (await site.send(good))["reason"]


async def test_an_acknowledgement_is_bound_to_its_event_not_to_a_time(tmp_path: Path):
    async with place(tmp_path) as site:
        await site.read(11)
        command = site.command("acknowledge", alarm="T1-h", event=site.event("T1-h"))
        del command["expires"]
        site.clock.advance(3_600 * SECOND)
        answer = await site.send(command)
        assert (answer["outcome"], answer["state"]) == ("done", "acknowledged")
        jsonschema.validate(answer, ANSWER)


async def test_an_id_seen_before_gets_its_first_answer_and_does_nothing(tmp_path: Path):
    async with place(tmp_path) as site:
        await site.read(11)
        command = site.command("acknowledge", alarm="T1-h", event=site.event("T1-h"))
        first = await site.send(command)
        records = len(site.records())
        site.clock.advance(6 * 86_400 * SECOND)
        assert await site.send(command) == first
        assert len(site.records()) == records


async def test_an_id_in_the_journal_is_known_though_a_crash_kept_its_answer_from_being_remembered(tmp_path: Path):
    async with place(tmp_path) as site:
        command = site.command("comment", alarm="T1-h", note="x")
        first = await site.send(command)
        site.state._database.execute("DELETE FROM commands")
        site.commands.reader = site.writer  # as after a start
        again = await site.send(command)
        assert (again["outcome"], again["seq"]) == (first["outcome"], first["seq"])
        assert len(site.records("comment")) == 1


async def test_a_superseded_event_is_rejected(tmp_path: Path):
    async with place(tmp_path) as site:
        await site.read(11)
        old = site.event("T1-h")
        await site.read(9)
        await site.read(11)
        answer = await site.send(site.command("acknowledge", alarm="T1-h", event=old))
        assert (answer["outcome"], answer["reason"]) == ("rejected", "superseded")


async def test_without_operator_an_acknowledgement_answers_the_call_only(tmp_path: Path):
    async with place(tmp_path) as site:
        await site.read(11)
        command = site.command("acknowledge", alarm="T1-h", event=site.event("T1-h"))
        answer = await site.send(command, operator=False)
        assert answer["outcome"] == "done"
        assert site.records("call")[0]["step"] == "acknowledged"
        assert site.records("acknowledged") == []


async def test_hiding_a_critical_alarm_is_done_on_site_only(tmp_path: Path):
    async with place(tmp_path, enabled=ALL, key=CommandKey(PUBLIC)) as site:
        until = site.clock.now_ns() + 600 * SECOND
        for kind, fields in [
            ("shelve", {"alarm": "G1-hh", "until": until}),
            ("remove_from_service", {"alarm": "G1-hh", "until": until}),
            ("maintenance", {"tag": "G1", "until": until}),
        ]:
            answer = await site.send(signed(site.command(kind, reason="gauge", **fields)))
            assert answer["reason"].startswith("needs_second_person"), answer
            assert site.records(kind)[0]["outcome"] == "rejected"
            assert site.records(kind)[0]["reason"] == "gauge"


# ---- many of them


async def test_five_rejections_a_minute_are_an_alarm_until_they_are_few_again(tmp_path: Path):
    async with place(tmp_path) as site:
        for _ in range(4):
            await site.send(b"x")
        assert site.records("condition") == []
        await site.send(b"x")
        (raised,) = site.records("condition")
        assert (raised["alarm"], raised["is_true"], raised["priority"]) == ("davy:commands", True, "high")
        site.clock.advance(61 * SECOND)
        await site.commands.tell_rejections()
        assert [each["is_true"] for each in site.records("condition")] == [True, False]


async def test_a_flood_of_rejections_is_counted_in_one_record(tmp_path: Path):
    async with place(tmp_path) as site:
        for _ in range(RECORDED_MAX + 15):
            await site.send(b"x")
        assert len(site.records("command_rejected")) == RECORDED_MAX
        site.clock.advance(61 * SECOND)
        await site.commands.tell_rejections()
        assert [each["count"] for each in site.records("rejections")] == [15]


def test_an_unending_flood_still_gets_sixty_records_a_minute():
    rejections, recorded = Rejections(), 0
    for second in range(600):
        for _ in range(10):
            recorded += rejections.add(second * SECOND)
        rejections.look(second * SECOND)
    assert recorded == 10 * RECORDED_MAX
