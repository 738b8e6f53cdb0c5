"""Talking to the running agent over its local socket."""

import argparse
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from agent.cli.options import add_config, add_json
from agent.cli.text import OK, REJECTED, UNREACHABLE, fail, pick

SYSTEM_SOCKET: Final = Path("/run/davy/davy.sock")


class UnreachableError(Exception):
    """No agent answers on the socket; the text names it."""


def add_socket(parser: argparse.ArgumentParser) -> None:
    """``--socket``, ``-c``, ``--json``."""
    add_json(parser)
    add_config(parser)
    parser.add_argument("--socket", type=Path, help=pick("the agent's socket", "代理的套接字"))


def socket_path(options: argparse.Namespace) -> Path:
    """Where the agent listens: as told, else as configured, else where systemd has it."""
    if options.socket:
        return options.socket
    if os.environ.get("DAVY_SOCKET"):
        return Path(os.environ["DAVY_SOCKET"])
    if not options.config.exists():
        return SYSTEM_SOCKET
    from agent.config.load import state_dir

    beside = state_dir(options.config) / "davy.sock"
    return SYSTEM_SOCKET if SYSTEM_SOCKET.exists() and not beside.exists() else beside


def ask(path: Path, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Send one request and yield the answers; UnreachableError when nobody listens."""
    with socket.socket(socket.AF_UNIX) as channel:
        try:
            channel.connect(str(path))
            channel.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise UnreachableError(f"{path}: {error.strerror or error}") from error
        with channel.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)


def ask_one(options: argparse.Namespace, request: Mapping[str, Any]) -> tuple[int, Any]:
    """One request, one answer: the exit code, and the result or None where there is none."""
    try:
        answer = next(ask(socket_path(options), request), None)
    except UnreachableError as error:
        return fail(f"no agent answers at {error}", f"代理无响应:{error}", UNREACHABLE), None
    if answer is None:
        return fail("the agent closed the connection", "代理关闭了连接", UNREACHABLE), None
    if not answer["ok"]:
        return fail(answer["error"], answer["error"], REJECTED), None
    return OK, answer["result"]
