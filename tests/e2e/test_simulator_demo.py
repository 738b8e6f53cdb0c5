"""``davy demo`` and ``davy simulate`` as a user runs them."""

import json
import os
import signal
import subprocess
import sys

import pytest
import yaml

from simulator.agent_child import AgentChild, AgentFailedError

CONTRACT = {"polled", "journaled", "evaluated", "delivered", "lost", "duplicated", "wrong"} | {
    f"alarms_{word}" for word in ("raised", "received", "acknowledged")
}
EXPECTED = {
    "T101-temp-rate",
    "T101-level-h",
    "T101-level-hh",
    "G11-lel-h",
    "G12-lel-hh",
    "T102-press-bad",
    "T101-level-stale",
    "G12-lel-bad",
}


def davy(*arguments: str, **more) -> subprocess.Popen:
    environment = {**os.environ, "LC_ALL": "en_US.UTF-8"}
    command = [sys.executable, "-m", "agent.cli.main", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **more)


@pytest.mark.process
@pytest.mark.slow
def test_the_demo_loses_nothing_and_says_so_in_one_json_object(tmp_path):
    process = davy("demo", "--for", "20s", "--json", "--keep", str(tmp_path))
    out, narrative = process.communicate(timeout=90)
    assert process.returncode == 0, narrative + out
    balance = json.loads(out)
    assert set(balance) >= CONTRACT
    assert balance["lost"] == balance["wrong"] == balance["unaccounted"] == 0
    assert balance["polled"] == balance["journaled"] == balance["evaluated"] == balance["delivered"] > 300
    assert balance["alarms_raised"] == balance["alarms_received"] >= len(EXPECTED)
    assert balance["alarms_acknowledged"] >= len(EXPECTED) - 2
    messages = {
        rule["id"]: rule["message"]["en"] for rule in yaml.safe_load((tmp_path / "davy.yaml").read_text())["rules"]
    }
    for rule in EXPECTED:
        assert f"] {messages[rule]}" in narrative, f"{rule}\n{narrative}"


@pytest.mark.process
def test_simulate_serves_a_site_until_it_is_interrupted(tmp_path):
    process = davy("simulate", "tank_farm", "--scenario", "demo", "--speed", "600")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert lines[0].startswith("tankfarm: 127.0.0.1:")
    assert lines[1].startswith("dcs: 127.0.0.1:")


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("simulate", "moon_base"), "tank_farm"),
        (("simulate", "tank_farm", "--scenario", "eclipse"), "demo, normal"),
        (("simulate", "tank_farm", "--speed", "0"), "expected a number above 0"),
        (("demo", "--for", "5s"), "at least 20s"),
        (("demo", "--for", "soon"), "soon"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(arguments, text):
    process = davy(*arguments)
    _, complaint = process.communicate(timeout=20)
    assert process.returncode != 0
    assert text in complaint
    assert "Traceback" not in complaint


@pytest.mark.process
async def test_an_agent_that_ends_by_itself_is_shown_with_its_last_words(tmp_path):
    agent = AgentChild(tmp_path, {})
    await agent.start()
    with pytest.raises(AgentFailedError, match="ended by itself, exit code") as caught:
        await agent.watch()
    assert "davy.yaml" in str(caught.value)
