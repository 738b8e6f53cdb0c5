"""``davy status`` and ``tail``: what the running agent says of itself and of its records."""

import argparse
import json
from typing import Any

from agent.cli.link import UnreachableError, add_socket, ask, ask_one, socket_path
from agent.cli.options import Commands, command
from agent.cli.text import OK, UNREACHABLE, fail, local_time, pick, print_json, say, table


def add(commands: Commands) -> None:
    """Register the commands of this group."""
    status = command(commands, "status", "show how the agent is", "显示代理状态", "davy status --json")
    add_socket(status)
    status.set_defaults(run=_status)
    tail = command(commands, "tail", "print records as they come", "实时输出记录", "davy tail --readings --json")
    tail.add_argument("--readings", action="store_true", help=pick("readings too", "也输出读数"))
    tail.add_argument("--after", type=int, metavar="SEQ", help=pick("from this record on", "从此序号之后"))
    add_socket(tail)
    tail.set_defaults(run=_tail)


def _status(options: argparse.Namespace) -> int:
    code, status = ask_one(options, {"do": "status"})
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


def _tail(options: argparse.Namespace) -> int:
    request = {"do": "tail", "readings": options.readings, "after": options.after}
    try:
        for record in ask(socket_path(options), request):
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
