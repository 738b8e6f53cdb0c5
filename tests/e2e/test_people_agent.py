"""People and platforms against a whole agent: signed commands over a real broker, reload, users, reports."""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import jsonschema
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.app import App
from agent.cli import main as davy
from agent.cli.link import ask
from agent.commands.roles import Role
from agent.commands.signature import signed_bytes
from agent.destinations.schemas import ANSWER, COMMAND
from agent.prepare import prepare
from agent.users import Users
from tests.support.agent_process import eventually
from tests.support.counting_device import CountingDevice
from tests.support.mosquitto import Mosquitto

pytestmark = [pytest.mark.broker, pytest.mark.slow]

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
BASE = "davy/v1/s1/gw1"
GOOD = "correct horse"
SECOND = 1_000_000_000


def config(directory: Path, device: int, broker: int) -> str:
    return f"""\
site: {{id: s1}}
agent: {{name: gw1, state_dir: "{directory}/state"}}
devices:
  - {{id: d1, driver: modbus, link: {{kind: tcp, host: 127.0.0.1, port: {device}}}, unit_id: 1, poll: 100ms,
     tags: [{{id: d1.r10, table: holding, address: 10, type: uint16}}]}}
rules:
  - {{id: wave, tag: d1.r10, condition: high, limit: 50, priority: medium}}
  - {{id: never, tag: d1.r10, condition: high, limit: 500, priority: medium}}
  - {{id: worst, tag: d1.r10, condition: high_high, limit: 900, priority: critical, shelvable: true}}
destinations:
  - {{id: platform, kind: mqtt, url: "mqtt://127.0.0.1:{broker}", operator: true, command_key: "{PUBLIC}",
     commands: [receipt, acknowledge, comment, shelve, unshelve, maintenance, end_maintenance]}}
journal: {{commit_every: 100ms}}
console: {{listen: "127.0.0.1:0"}}
"""


@dataclass
class Running:
    """An agent in this process, and a platform's client."""

    app: App
    path: Path
    client: aiomqtt.Client
    text: str
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def on(self, topic: str, **wanted: Any) -> list[dict[str, Any]]:
        found = [message for name, message in self.seen if name == topic]
        return [each for each in found if all(each.get(key) == value for key, value in wanted.items())]

    async def send(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Sign a command, publish it; its answer."""
        epoch, now = self.on("status")[-1]["epoch"], time.time_ns()
        envelope = {"id": str(uuid.uuid4()), "kind": kind, "actor": "李伟", "sent": now, "expires": now + 60 * SECOND}
        command = {**envelope, "epoch": epoch, **fields}
        command["signature"] = base64.b64encode(KEY.sign(signed_bytes(command))).decode()
        jsonschema.validate(command, COMMAND)
        return await self.publish(command)

    async def publish(self, command: dict[str, Any]) -> dict[str, Any]:
        await self.client.publish(f"{BASE}/command", json.dumps(command, ensure_ascii=False), qos=1)
        await eventually(lambda: self.on("answers", id=command["id"]), f"an answer to {command['kind']}")
        answer = self.on("answers", id=command["id"])[-1]
        jsonschema.validate(answer, ANSWER)
        return answer

    async def ask(self, kind: str, **fields: Any) -> Any:
        """As the command line, over the local socket."""
        socket = self.path.parent / "state" / "davy.sock"
        answer = await asyncio.to_thread(lambda: next(ask(socket, {"do": kind, **fields})))
        assert answer["ok"], answer
        return answer["result"]


@asynccontextmanager
async def running(directory: Path, change: tuple[str, str] = ("", "")) -> AsyncIterator[Running]:
    device = CountingDevice()
    await device.start()
    with Mosquitto(directory / "broker") as broker:
        path = directory / "davy.yaml"
        text = config(directory, device.port, broker.port).replace(*change)
        path.write_text(text)
        stop = asyncio.Event()
        app = App(prepare(path), path)
        async with aiomqtt.Client("127.0.0.1", broker.port) as client, asyncio.TaskGroup() as group:
            site = Running(app, path, client, text)

            async def listen() -> None:
                await client.subscribe(f"{BASE}/#", qos=1)
                async for message in client.messages:
                    topic = str(message.topic).removeprefix(f"{BASE}/")
                    if message.payload and topic != "command":
                        site.seen.append((topic, json.loads(bytes(message.payload))))

            listener = group.create_task(listen())
            agent = group.create_task(app.run(stop))
            try:
                await eventually(lambda: site.on("status") and site.on("alarms"), "the agent is up")
                yield site
            finally:
                stop.set()
                await agent
                listener.cancel()
                await device.stop()


async def test_signed_commands_act_and_unsigned_ones_do_not(tmp_path: Path):
    async with running(tmp_path) as site:
        until = time.time_ns() + 600 * SECOND
        answer = await site.send("shelve", alarm="never", until=until, reason="液位计清洗")
        assert (answer["outcome"], answer["state"], answer["until"]) == ("done", "shelved", until), answer
        await eventually(lambda: site.on("alarms", alarm="never", transition="shelved"), "the event arrives")
        record = site.on("audit", kind="shelve")[0]
        assert (record["actor"], record["actor_is_claimed"], record["reason"]) == ("李伟", True, "液位计清洗")
        assert record["seq"] == answer["seq"]
        long = await site.send("unshelve", alarm="never")
        assert long["outcome"] == "done", long
        cut = await site.send("shelve", alarm="never", until=time.time_ns() + 100 * 3_600 * SECOND, reason="x")
        assert (cut["outcome"], cut["reason"]) == ("done", "until_cut")
        assert cut["until"] < time.time_ns() + 13 * 3_600 * SECOND
        refused = await site.send("shelve", alarm="worst", until=until, reason="x")
        assert refused["reason"].startswith("needs_second_person")
        unsigned = {"id": "u1", "kind": "comment", "actor": "x", "sent": time.time_ns(), "epoch": "?", "alarm": "wave"}
        assert (await site.publish({**unsigned, "note": "x"}))["reason"].startswith("signature: required")
        shelve_twice = site.on("audit", kind="shelve")
        assert [each["outcome"] for each in shelve_twice] == ["done", "done", "rejected"]


async def test_five_rejected_commands_raise_an_alarm(tmp_path: Path):
    async with running(tmp_path) as site:
        for i in range(5):
            bad = {"id": f"b{i}", "kind": "rebirth", "actor": "x", "sent": 1, "epoch": "?"}
            assert (await site.publish(bad))["outcome"] == "rejected"
        await eventually(lambda: site.on("alarms", alarm="davy:commands", transition="activated"), "the alarm arrives")


async def test_g3_rules_are_reloaded_and_each_difference_is_told(tmp_path: Path):
    async with running(tmp_path) as site:
        site.path.write_text(site.text.replace("limit: 500", "limit: 400"))
        done = await site.ask("reload")
        assert done["outcome"] == "done", done
        assert done["differences"] == [{"path": "rules/never/limit", "old": 500.0, "new": 400.0}]
        await eventually(lambda: site.on("audit", kind="change"), "the difference arrives")
        change = site.on("audit", kind="change")[0]
        assert (change["path"], change["old"], change["new"], change["actor"]) == (
            "rules/never/limit", 500.0, 400.0, "root",
        )  # fmt: skip
        views = await site.ask("alarms", all=True)
        assert next(view["limit"] for view in views if view["id"] == "never") == 400.0
        site.path.write_text(site.text.replace("limit: 500", "limit: {"))
        assert (await site.ask("reload"))["outcome"] == "rejected"
        site.path.write_text(site.text.replace("poll: 100ms", "poll: 200ms"))
        assert "needs a restart" in (await site.ask("reload"))["reason"]
        site.path.write_text(site.text)
        site.app.people.reload.ask()  # as SIGHUP does
        await eventually(lambda: len(site.on("audit", kind="change")) == 2, "SIGHUP reloads")
        assert site.on("audit", kind="change")[1]["actor"] == "SIGHUP"


async def test_g2_force_needs_two_people_and_ends_the_alarm_by_config(tmp_path: Path):
    async with running(tmp_path) as site:
        users = Users(tmp_path / "state")
        users.put("li", Role.ENGINEER, GOOD)
        users.put("wang", Role.OPERATOR, GOOD)
        li, wang = {"user": "li", "password": GOOD}, {"user": "wang", "password": GOOD}
        await eventually(lambda: site.on("audit", kind="users"), "the new users are told")
        site.path.write_text(site.text.replace("limit: 50,", "limit: 90,"))
        waiting = await site.ask("reload")
        assert waiting["waiting"] == ["wave"], waiting
        assert (await site.ask("reload", force="MOC 17"))["reason"].startswith("needs_second_person")
        forced = await site.ask("reload", force="MOC 17", login=li, second=wang)
        assert (forced["outcome"], forced["waiting"]) == ("done", []), forced
        await eventually(lambda: site.on("alarms", alarm="wave", transition="ended"), "the end arrives")
        ended = site.on("alarms", alarm="wave", transition="ended")[0]
        assert (ended["cause"], ended["actor"]) == ("config", "li")
        record = site.on("audit", kind="configuration")[-1]
        assert (record["force"], record["actor"], record["second"]) == ("MOC 17", "li", "wang")


async def test_g3_a_file_changed_while_the_agent_was_down_is_told_as_offline(tmp_path: Path):
    async with running(tmp_path):
        pass
    async with running(tmp_path, ("limit: 500", "limit: 450")) as site:
        wanted = {"kind": "change", "path": "rules/never/limit"}
        await eventually(lambda: site.on("audit", **wanted), "the difference arrives")
        change = site.on("audit", **wanted)[0]
        assert (change["old"], change["new"], change["actor"]) == (500.0, 450.0, "offline")


async def test_the_command_line_hides_shows_and_asks_two_people_where_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    async with running(tmp_path) as site:
        users = Users(tmp_path / "state")
        users.put("li", Role.ENGINEER, GOOD)
        users.put("wang", Role.OPERATOR, "another one")
        passwords = {"li": GOOD, "wang": "another one"}
        asked: list[str] = []

        def getpass(prompt: str) -> str:
            asked.append(next(name for name in passwords if name in prompt))
            return passwords[asked[-1]]

        monkeypatch.setattr("getpass.getpass", getpass)

        async def run(*words: str) -> tuple[int, Any]:
            code = await asyncio.to_thread(davy.main, [*words, "-c", str(site.path), "--json"])
            out = capsys.readouterr().out
            return code, json.loads(out) if out else None

        hide = ("--for", "10min", "--reason", "gauge")
        assert (await run("alarms", "shelve", "never", *hide))[1]["state"] == "shelved"
        listed = (await run("alarms", "list"))[1]
        assert [view["hidden"][0]["actor"] for view in listed if view["alarm"] == "never"] == ["root"]
        assert (await run("alarms", "unshelve", "never"))[1]["outcome"] == "done"
        assert asked == []
        code, acted = await run("alarms", "shelve", "worst", *hide, "--user", "li", "--second", "wang")
        assert (code, acted["state"], asked) == (0, "shelved", ["li", "wang"]), acted
        assert (await run("tags", "maintenance", "d1.r10", *hide, "--user", "li", "--second", "li"))[0] == 4
        assert (await run("tags", "maintenance", "d1.r10", *hide, "--user", "li", "--second", "wang"))[0] == 0
        assert (await run("tags", "end-maintenance", "d1.r10"))[0] == 0
        assert (await run("tags", "done", "d1.r10", "--result", "passed"))[0] == 0
        assert (await run("exercise", "start", *hide))[0] == 0
        assert (await run("exercise", "end"))[0] == 0
        assert (await run("alarms", "comment", "wave", "--note", "on my way"))[0] == 0
        assert (await run("planned-stop", "nowhere", *hide))[0] == 4
        assert (await run("alarms", "shelve", "wave"))[0] == 2
        assert (await run("reload"))[1]["reason"] == "nothing changed"
