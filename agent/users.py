"""People who may log in: names, roles and password hashes in ``users.json`` (0600) of the state directory."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from agent.commands.roles import Role
from agent.config.fields import Id, Strict

FILE: Final = "users.json"
MODE: Final = 0o600
PASSWORD_MIN: Final = 10
PASSWORD_MAX: Final = 1_024
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32

N: Final = 1 << 15
R: Final = 8
P: Final = 3
"""Costs of scrypt: 32 MiB and about a third of a second on a small gateway (OWASP's second choice)."""
_MEMORY_MAX: Final = 1 << 30


class UsersError(Exception):
    """The users cannot be read or changed; the text names thing and reason."""


class User(Strict):
    """One person. The costs stand with each hash, so that they can be raised later."""

    role: Role
    salt: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    n: Annotated[int, Field(ge=2, le=1 << 20)]
    r: Annotated[int, Field(ge=1, le=32)]
    p: Annotated[int, Field(ge=1, le=16)]

    def knows(self, password: str) -> bool:
        """Tell whether this is the password. Takes a third of a second: not for the event loop."""
        return hmac.compare_digest(_hash(password, bytes.fromhex(self.salt), (self.n, self.r, self.p)), self.hash)


_USERS: Final = TypeAdapter(dict[Id, User])


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two states of the file; names only."""

    added: dict[str, str] = field(default_factory=dict[str, str])
    removed: list[str] = field(default_factory=list[str])
    changed: dict[str, str] = field(default_factory=dict[str, str])
    """Role or password is another one; the role now."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


class Users:
    """The file; read anew each time, so that a change needs no restart. Any thread."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE

    def load(self) -> dict[str, User]:
        """All users by name; none where there is no file. UsersError where it is damaged."""
        try:
            return _USERS.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            raise UsersError(f"{self._path}: {error.errors(include_url=False)[0]['msg']}") from error
        except OSError as error:
            raise UsersError(f"{self._path}: {error.strerror or error}") from error

    def login(self, name: str, password: str) -> Role | None:
        """The role of who knows the password; None for an unknown name or a wrong one, after the same time."""
        users = self.load()
        user = users.get(name)
        if user is None:
            _hash(password[:PASSWORD_MAX], bytes(SALT_BYTES), (N, R, P))
            return None
        return user.role if len(password) <= PASSWORD_MAX and user.knows(password) else None

    def put(self, name: str, role: Role, password: str) -> None:
        """Add a user or change one; UsersError where name or password do not fit or the file cannot be written."""
        if len(password) < PASSWORD_MIN:
            raise UsersError(f"the password needs at least {PASSWORD_MIN} characters, found {len(password)}")
        if len(password) > PASSWORD_MAX:
            raise UsersError(f"the password may have at most {PASSWORD_MAX} characters")
        salt = secrets.token_bytes(SALT_BYTES)
        user = User(role=role, salt=salt.hex(), hash=_hash(password, salt, (N, R, P)), n=N, r=R, p=P)
        try:
            users = _USERS.validate_python({**self.load(), name: user})
        except ValidationError as error:
            raise UsersError(f"{name!r}: 1-64 letters, digits, . _ -") from error
        self._save(users)

    def remove(self, name: str) -> None:
        """Take a user away; UsersError for one who is not there."""
        users = self.load()
        if name not in users:
            raise UsersError(f"no user {name}")
        self._save({other: user for other, user in users.items() if other != name})

    def stamp(self) -> int:
        """Changes whenever the file does; 0 where there is none."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0

    def digest(self) -> dict[str, str]:
        """Of each user the role and a trace of the password hash: what is remembered to tell changes."""
        return {
            name: f"{user.role.value} {hashlib.sha256((user.salt + user.hash).encode()).hexdigest()[:16]}"
            for name, user in self.load().items()
        }

    def _save(self, users: Mapping[str, User]) -> None:
        """Written beside and renamed: a power cut leaves the old file or the new one."""
        fields = {name: users[name].model_dump(mode="json") for name in sorted(users)}
        beside = self._path.with_suffix(".new")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE), "w") as file:
                os.fchmod(file.fileno(), MODE)
                json.dump(fields, file, ensure_ascii=False, indent=1)
                file.flush()
                os.fsync(file.fileno())
            _keep_owner(beside, self._path.parent)
            beside.replace(self._path)
        except OSError as error:
            raise UsersError(f"{self._path}: {error.strerror or error}") from error


def changes(before: Mapping[str, Any], now: Mapping[str, str]) -> Changes:
    """What differs between two digests."""
    role = {name: text.split()[0] for name, text in now.items()}
    return Changes(
        {name: role[name] for name in now if name not in before},
        [name for name in before if name not in now],
        {name: role[name] for name in now if name in before and before[name] != now[name]},
    )


def _keep_owner(file: Path, directory: Path) -> None:
    """Root adds users for an agent that runs under its own name: the file belongs to whom the directory belongs."""
    owner = directory.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(file, owner.st_uid, owner.st_gid)


def _hash(password: str, salt: bytes, costs: tuple[int, int, int]) -> str:
    n, r, p = costs
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_MAX, dklen=HASH_BYTES).hex()
