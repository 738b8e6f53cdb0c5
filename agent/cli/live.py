"""``davy status``, ``alarms`` and ``tail``: talk to the running agent over its local socket."""

import argparse
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from agent.cli.options import Commands, add_config, add_json, command
from agent.cli.text import OK, REJECTED, UNREACHABLE, fail, local_time, pick, print_json, say, table

SYSTEM_SOCKET: Final = Path("/run/davy/davy.sock")


class UnreachableError(Exception):
    """No agent answers on the socket; the text names it."""


def add(commands: Commands) -> None:
    """Register the commands of this group."""
    status = command(commands, "status", "show how the agent is", "显示代理状态", "davy status --json")
    _add_socket(status)
    status.set_defaults(run=_status)
    alarms = command(
        commands,
        "alarms",
        "list, acknowledge and reset alarms",
        "查看、确认、复位报警",
        "davy alarms ack T101-level-h --note 'on my way'",
    )
    alarms.add_argument("what", nargs="?", default="list", choices=["list", "ack", "reset"])
    alarms.add_argument("alarm", nargs="?")
    alarms.add_argument(
        "--event", help=pick("id of the occurrence (default: the current one)", "报警事件编号(默认当前)")
    )
    alarms.add_argument("--note")
    alarms.add_argument("--all", action="store_true", help=pick("normal alarms too", "也列出正常的"))
    _add_socket(alarms)
    alarms.set_defaults(run=_alarms)
    tail = command(commands, "tail", "print records as they come", "实时输出记录", "davy tail --readings --json")
    tail.add_argument("--readings", action="store_true", help=pick("readings too", "也输出读数"))
    tail.add_argument("--after", type=int, metavar="SEQ", help=pick("from this record on", "从此序号之后"))
    _add_socket(tail)
    tail.set_defaults(run=_tail)


def _add_socket(parser: argparse.ArgumentParser) -> None:
    add_json(parser)
    add_config(parser)
    parser.add_argument("--socket", type=Path, help=pick("the agent's socket", "代理的套接字"))


def _socket_path(options: argparse.Namespace) -> Path:
    if options.socket:
        return options.socket
    if os.environ.get("DAVY_SOCKET"):
        return Path(os.environ["DAVY_SOCKET"])
    if not options.config.exists():
        return SYSTEM_SOCKET
    from agent.config.load import state_dir

    beside = state_dir(options.config) / "davy.sock"
    return beside if beside.exists() else SYSTEM_SOCKET


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


def _ask_one(options: argparse.Namespace, request: Mapping[str, Any]) -> tuple[int, Any]:
    try:
        answer = next(ask(_socket_path(options), request), None)
    except UnreachableError as error:
        return fail(f"no agent answers at {error}", f"代理无响应:{error}", UNREACHABLE), None
    if answer is None:
        return fail("the agent closed the connection", "代理关闭了连接", UNREACHABLE), None
    if not answer["ok"]:
        return fail(answer["error"], answer["error"], REJECTED), None
    return OK, answer["result"]


def _status(options: argparse.Namespace) -> int:
    code, status = _ask_one(options, {"do": "status"})
    if status is None or options.json:
        if status is not None:
            print_json(status)
        return code
    counts, journal = status["counts"], status["journal"]
    say(
        f"davy {status['version']}  site {status['site']}  agent {status['agent']}  health {status['health']}",
        f"davy {status['version']}  站点 {status['site']}  代理 {status['agent']}  健康 {status['health']}",
    )
    active, unacknowledged = counts["active"], counts["unacknowledged"]
    say(
        f"alarms: {active} active, {unacknowledged} unacknowledged; clock: {status['clock']}",
        f"报警:{active} 条激活,{unacknowledged} 条未确认;时钟:{status['clock']}",
    )
    megabytes = journal["bytes"] / 1e6
    say(
        f"journal: seq {journal['last_seq']}, {megabytes:.1f} MB",
        f"日志:序号 {journal['last_seq']},{megabytes:.1f} MB",
    )
    table(
        [pick("device", "设备"), pick("state", "状态"), pick("last error", "最近错误")],
        [[name, device.get("state"), device.get("last_error")] for name, device in status["devices"].items()],
    )
    table(
        [pick("destination", "目的地"), pick("state", "状态"), pick("waiting", "待发"), pick("last error", "最近错误")],
        [
            [name, there.get("state"), there.get("waiting"), there.get("last_error")]
            for name, there in status["destinations"].items()
        ],
    )
    return code


def _alarms(options: argparse.Namespace) -> int:
    if options.what == "list":
        code, alarms = _ask_one(options, {"do": "alarms", "all": options.all})
        if alarms is not None:
            _list(alarms, as_json=options.json)
        return code
    if not options.alarm:
        return fail(f"davy alarms {options.what} ALARM: name the alarm", f"davy alarms {options.what} 需要报警编号")
    kind = {"ack": "acknowledge", "reset": "reset"}[options.what]
    request = {"do": kind, "alarm": options.alarm, "event": options.event, "note": options.note}
    code, acted = _ask_one(options, request)
    if acted is None:
        return code
    if options.json:
        print_json(acted)
    elif acted["outcome"] == "rejected":
        return fail(f"rejected: {acted['reason']}", f"被拒绝:{acted['reason']}", REJECTED)
    else:
        say(f"{acted['alarm']}: now {acted['state']}", f"{acted['alarm']}:现为 {acted['state']}")
    return REJECTED if acted["outcome"] == "rejected" else OK


def _list(alarms: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(alarms)
        return
    head = ["alarm", "state", "priority", "since", "value", "message"]
    if not alarms:
        say("no alarms", "无报警")
        return
    language = pick("en", "zh-CN")
    rows = [
        [a["alarm"], a["state"], a["priority"], local_time(a["since"]), a["value"], a["message"].get(language, "")]
        for a in alarms
    ]
    table(head, rows)


def _tail(options: argparse.Namespace) -> int:
    request = {"do": "tail", "readings": options.readings, "after": options.after}
    try:
        for record in ask(_socket_path(options), request):
            if options.json:
                print(json.dumps(record, ensure_ascii=False), flush=True)
            else:
                print(_human(record), flush=True)
    except UnreachableError as error:
        return fail(f"no agent answers at {error}", f"代理无响应:{error}", UNREACHABLE)
    return OK


def _human(record: dict[str, Any]) -> str:
    time = local_time(record.get("time"))
    if record["kind"] == "readings" and "values" in record:
        values = "  ".join(
            f"{t}={v:g}" if v is not None else f"{t}=?" for t, v in zip(record["tags"], record["values"], strict=True)
        )
        return f"{time}  {record['device']}  {values}"
    if "transition" in record:
        text = record["message"].get(pick("en", "zh-CN"), "")
        return (
            f"{time}  {record['priority']:<10} {record['alarm']}  {record['transition']} -> {record['state']}  {text}"
        )
    return f"{time}  {record['kind']}  {record.get('actor') or ''} {record.get('reason') or ''}".rstrip()
