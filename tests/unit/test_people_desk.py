"""People on site: users with passwords, roles, second persons (spec/wire.md, last of "Commands")."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli import main as davy
from agent.commands.desk import ACTIONS
from agent.commands.model import BODIES, CommandError
from agent.commands.people import FAILURES_MAX, Login, LoginError, Reception, peer_role
from agent.commands.roles import HIDING, NEEDED, Deed, Role, needed_role, refusal
from agent.core.clock import VirtualClock
from agent.core.events import Priority
from agent.users import Users, UsersError, changes
from tests.support.desk import ROOT_UID, STRANGER_UID, place

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
GOOD = "correct horse"


# ---- roles


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (Role.VIEWER, set()),
        (Role.OPERATOR, {"acknowledge", "silence", "comment", "confirm", "shelve", "unshelve", "done"}),
        (Role.ENGINEER, set(NEEDED)),
    ],
)
def test_roles_on_site(role, may):
    assert {kind for kind in NEEDED if refusal(role, Deed(kind, (Priority.LOW,))) is None} == may


@pytest.mark.parametrize(
    ("priority", "duration", "role"),
    [
        (Priority.LOW, HOUR, Role.OPERATOR),
        (Priority.MEDIUM, HOUR, Role.OPERATOR),
        (Priority.MEDIUM, HOUR + 1, Role.ENGINEER),
        (Priority.HIGH, 1, Role.ENGINEER),
        (Priority.CRITICAL, 1, Role.ENGINEER),
    ],
)
def test_an_operator_shelves_medium_and_low_up_to_an_hour(priority, duration, role):
    assert needed_role(Deed("shelve", (priority,), duration)) is role


@given(st.sampled_from(sorted(NEEDED)), st.lists(st.sampled_from(list(Priority))), st.booleans())
def test_hiding_a_critical_alarm_and_force_need_a_second_person(kind, priorities, forced):
    deed = Deed(kind, tuple(priorities), is_forced=forced)
    assert deed.needs_second == (forced or (kind in HIDING and Priority.CRITICAL in priorities))


def test_every_action_of_the_wire_has_a_role():
    assert set(ACTIONS) == set(BODIES) - {"receipt"}


def test_accounts_of_the_operating_system_are_what_their_groups_make_of_them():
    assert peer_role(0, ()) is Role.ENGINEER
    assert peer_role(STRANGER_UID, ("davy", "davy-engineer")) is Role.ENGINEER
    assert peer_role(STRANGER_UID, ("users", "davy")) is Role.OPERATOR
    assert peer_role(STRANGER_UID, ("users",)) is Role.VIEWER


# ---- users


def test_a_user_logs_in_with_the_password_and_with_nothing_else(tmp_path: Path):
    users = Users(tmp_path)
    users.put("李伟", Role.OPERATOR, GOOD)
    assert users.login("李伟", GOOD) is Role.OPERATOR
    assert users.login("李伟", GOOD + " ") is None
    assert users.login("nobody", GOOD) is None
    assert users.login("李伟", "x" * 10_000) is None
    users.remove("李伟")
    assert users.login("李伟", GOOD) is None


def test_the_file_is_for_its_owner_only_and_holds_no_password(tmp_path: Path):
    Users(tmp_path).put("li", Role.VIEWER, GOOD)
    file = tmp_path / "users.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert GOOD not in file.read_text()
    assert list(tmp_path.iterdir()) == [file]


def test_what_does_not_fit_is_said_and_changes_nothing(tmp_path: Path):
    users = Users(tmp_path)
    with pytest.raises(UsersError, match="at least 10"):
        users.put("li", Role.VIEWER, "short")
    with pytest.raises(UsersError, match="letters"):
        users.put("a/b", Role.VIEWER, GOOD)
    with pytest.raises(UsersError, match="no user"):
        users.remove("li")
    assert users.load() == {}
    (tmp_path / "users.json").write_text("{nonsense")
    with pytest.raises(UsersError, match=r"users\.json"):
        users.login("li", GOOD)


def test_changes_name_people_and_roles_only(tmp_path: Path):
    users = Users(tmp_path)
    users.put("a", Role.VIEWER, GOOD)
    users.put("b", Role.VIEWER, GOOD)
    before = users.digest()
    users.put("a", Role.ENGINEER, GOOD)
    users.remove("b")
    users.put("c", Role.OPERATOR, GOOD)
    found = changes(before, users.digest())
    assert (found.added, found.removed, found.changed) == ({"c": "operator"}, ["b"], {"a": "engineer"})
    assert not changes(before, before)


async def test_five_wrong_passwords_lock_a_name_for_five_minutes(tmp_path: Path):
    users, clock = Users(tmp_path), VirtualClock()
    users.put("li", Role.OPERATOR, GOOD)
    reception = Reception(users, clock)
    for _ in range(FAILURES_MAX):
        with pytest.raises(LoginError, match="wrong password"):
            await reception.login(Login(user="li", password="guess"))
    with pytest.raises(LoginError, match="locked"):
        await reception.login(Login(user="li", password=GOOD))
    clock.advance(301 * SECOND)
    assert (await reception.login(Login(user="li", password=GOOD))).role is Role.OPERATOR


# ---- at the desk


async def test_the_actor_is_the_peer_or_who_logs_in_never_a_field(tmp_path: Path):
    async with place(tmp_path) as site:
        site.users.put("li", Role.OPERATOR, GOOD)
        await site.read(11, 0)
        with pytest.raises(CommandError, match="actor"):
            await site.ask("acknowledge", alarm="T1-h", actor="boss")
        answer = await site.ask("acknowledge", STRANGER_UID, alarm="T1-h", login={"user": "li", "password": GOOD})
        assert answer["outcome"] == "done"
        (record,) = site.records("acknowledge")
        assert (record["actor"], record["role"], record["via"]) == ("li", "operator", "cli")
        assert GOOD not in json.dumps(site.records())
        assert site.records("acknowledged")[0]["actor"] == "li"


async def test_what_a_role_may_not_do_is_rejected_and_recorded(tmp_path: Path):
    async with place(tmp_path) as site:
        site.users.put("li", Role.OPERATOR, GOOD)
        await site.read(13)
        login = {"login": {"user": "li", "password": GOOD}}
        answer = await site.ask("acknowledge", STRANGER_UID, alarm="T1-h")
        assert answer["reason"].startswith("needs_operator")
        answer = await site.ask("reset", STRANGER_UID, alarm="T1-hh", **login)
        assert answer["reason"].startswith("needs_engineer")
        until = site.clock.now_ns() + 600 * SECOND
        answer = await site.ask("shelve", STRANGER_UID, alarm="T1-hh", until=until, reason="x", **login)
        assert answer["reason"].startswith("needs_engineer")
        assert [each["outcome"] for each in site.records("reset")] == ["rejected"]
        assert site.records("acknowledged") == []


async def test_a_wrong_password_is_rejected_recorded_and_counted(tmp_path: Path):
    async with place(tmp_path) as site:
        site.users.put("li", Role.OPERATOR, GOOD)
        await site.read(11)
        for _ in range(5):
            answer = await site.ask("acknowledge", alarm="T1-h", login={"user": "li", "password": "guess"})
            assert answer["reason"].startswith("login: li")
        assert len(site.records("login_failed")) == 5
        assert site.records("condition")[0]["alarm"] == "davy:commands"
        assert "guess" not in json.dumps(site.records())


async def test_hiding_a_critical_alarm_needs_two_people_who_both_log_in(tmp_path: Path):
    async with place(tmp_path) as site:
        for name, role in [("li", Role.ENGINEER), ("wang", Role.OPERATOR), ("guest", Role.VIEWER)]:
            site.users.put(name, role, GOOD)
        li, wang, guest = ({"user": name, "password": GOOD} for name in ("li", "wang", "guest"))
        request = {"alarm": "G1-hh", "until": site.clock.now_ns() + 600 * SECOND, "reason": "gauge is cleaned"}

        async def reason(**logins: object) -> str:
            return str((await site.ask("shelve", ROOT_UID, **request, **logins))["reason"])

        assert (await reason()).startswith("needs_second_person")
        assert (await reason(login=li)).startswith("needs_second_person")
        assert (await reason(second=wang)).startswith("needs_second_person")
        assert "is the first one" in await reason(login=li, second=li)
        assert (await reason(login=wang, second=li)).startswith("needs_engineer")
        assert (await reason(login=li, second=guest)).startswith("needs_operator")
        assert "needs" not in await reason(login=li, second=wang)
        last = site.records("shelve")[-1]
        assert (last["actor"], last["second"], last["reason"]) == ("li", "wang", "gauge is cleaned")


async def test_the_command_line_is_told_which_logins_are_wanted(tmp_path: Path):
    async with place(tmp_path) as site:
        hide = {"kind": "shelve", "until": site.clock.now_ns() + 60 * SECOND, "reason": "x"}
        assert await site.desk.needs({**hide, "alarm": "T1-h"}, 0) == {
            "role": "operator", "login": False, "second": False,
        }  # fmt: skip
        assert (await site.desk.needs({**hide, "alarm": "T1-h"}, STRANGER_UID))["login"]
        assert (await site.desk.needs({**hide, "alarm": "G1-hh"}, 0))["second"]
        assert (await site.desk.needs({"kind": "reload", "force": "why"}, 0))["second"]


# ---- davy users


def test_davy_users_adds_lists_and_removes(tmp_path: Path, monkeypatch, capsys):
    words = iter([GOOD, GOOD, GOOD, "another one"])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(words))

    def run(*arguments: str) -> int:
        return davy.main(["users", *arguments, "--state-dir", str(tmp_path), "--json"])

    assert run("add", "li", "--role", "engineer") == 0
    assert run("add", "wang", "--role", "viewer") == 2  # the two inputs differ
    assert run("add", "wang") == 2
    capsys.readouterr()
    assert run("list") == 0
    assert json.loads(capsys.readouterr().out) == [{"name": "li", "role": "engineer"}]
    assert Users(tmp_path).login("li", GOOD) is Role.ENGINEER
    assert run("remove", "li") == 0
    assert run("remove", "li") == 2
