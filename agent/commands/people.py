"""Who stands at the other end of the local socket, and what login makes of them."""

import asyncio
import grp
import os
import pwd
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import StringConstraints

from agent.commands.roles import Role
from agent.config.fields import Strict
from agent.core.clock import Clock
from agent.users import PASSWORD_MAX, Users, UsersError

OPERATORS: Final = "davy"
ENGINEERS: Final = "davy-engineer"
"""Groups of the operating system whose members are operators and engineers without a login of their own."""

FAILURES_MAX: Final = 5
LOCKED_NS: Final = 300_000_000_000
"""After so many wrong passwords within this time a name is locked for as long."""
NAMES_MAX: Final = 1_000
"""Names whose wrong passwords are remembered; beyond it the oldest is forgotten."""


class LoginError(Exception):
    """Name or password are wrong, or locked; the text is for the person."""


class Login(Strict):
    """A person's own login, as it comes over the local socket."""

    user: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    password: Annotated[str, StringConstraints(max_length=PASSWORD_MAX)]


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts. ``has_login``: they proved it with a password of their own, not by the account they use."""

    name: str
    role: Role
    has_login: bool = False


class Reception:
    """Turns socket peers and logins into persons."""

    def __init__(self, users: Users, clock: Clock) -> None:
        self._users = users
        self._clock = clock
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()  # each check of a password takes 32 MiB, and guesses must not overlap

    async def peer(self, uid: int) -> Person:
        """The user of the operating system behind the socket."""
        return await asyncio.to_thread(_peer, uid)

    async def login(self, login: Login) -> Person:
        """The person who knows the password; LoginError for anybody else."""
        async with self._one_at_a_time:
            return await self._login(login)

    async def _login(self, login: Login) -> Person:
        failures = self._failures_of(login.user)
        if len(failures) >= FAILURES_MAX:
            wait_s = (failures[0] + LOCKED_NS - self._clock.monotonic_ns()) / 1e9
            raise LoginError(f"{login.user}: {FAILURES_MAX} wrong passwords; locked for another {wait_s:.0f} s")
        try:
            role = await asyncio.to_thread(self._users.login, login.user, login.password)
        except UsersError as error:
            raise LoginError(str(error)) from error
        if role is None:
            self._remember(login.user, failures)
            raise LoginError(f"{login.user}: unknown name or wrong password")
        self._failures.pop(login.user, None)
        return Person(login.user, role, has_login=True)

    def _failures_of(self, name: str) -> deque[int]:
        failures = self._failures.get(name, deque())
        while failures and failures[0] <= self._clock.monotonic_ns() - LOCKED_NS:
            failures.popleft()
        return failures

    def _remember(self, name: str, failures: deque[int]) -> None:
        failures.append(self._clock.monotonic_ns())
        self._failures[name] = failures
        self._failures.move_to_end(name)
        if len(self._failures) > NAMES_MAX:
            self._failures.popitem(last=False)


def _peer(uid: int) -> Person:
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        return Person(f"uid {uid}", peer_role(uid, ()))
    groups: set[str] = set()
    for group in os.getgrouplist(account.pw_name, account.pw_gid):
        try:
            groups.add(grp.getgrgid(group).gr_name)
        except KeyError:
            continue  # a number without a name is none of our groups
    return Person(account.pw_name, peer_role(uid, groups))


def peer_role(uid: int, groups: Iterable[str]) -> Role:
    """Root and the agent's own account own the files anyway; the others are what their groups make of them."""
    names = set(groups)
    if uid in (0, os.geteuid()) or ENGINEERS in names:
        return Role.ENGINEER
    return Role.OPERATOR if OPERATORS in names else Role.VIEWER
