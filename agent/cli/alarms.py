"""``davy alarms``, ``tags``, ``exercise``, ``planned-stop`` and ``reload``: what people do to the running agent."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any, Final

from agent.cli.link import add_socket, ask_one
from agent.cli.options import Commands, command
from agent.cli.text import OK, REJECTED, fail, local_time, pick, print_json, say, table
from agent.cli.users import ask_password

VERBS: Final[Mapping[str, str]] = {
    "ack": "acknowledge",
    "reset": "reset",
    "confirm": "confirm",
    "silence": "silence",
    "comment": "comment",
    "shelve": "shelve",
    "unshelve": "unshelve",
    "remove": "remove_from_service",
    "return": "return_to_service",
}
TAG_VERBS: Final[Mapping[str, str]] = {
    "maintenance": "maintenance",
    "end-maintenance": "end_maintenance",
    "done": "done",
}
_BODY: Final = ("event", "note", "reason", "finding", "measure", "rule", "result")

_HIDING: Final = {"--for": "duration", "--reason": "reason"}
_REQUIRED: Final[Mapping[str, Mapping[str, str]]] = {
    "shelve": _HIDING,
    "remove_from_service": _HIDING,
    "exercise": _HIDING,
    "planned_stop": _HIDING,
    "maintenance": {"--reason": "reason"},
    "confirm": {"--finding": "finding", "--measure": "measure"},
    "comment": {"--note": "note"},
    "done": {"--result": "result"},
}
"""What the agent would miss, in the words of the command line."""


def add(commands: Commands) -> None:
    """Register the commands of this group."""
    alarms = command(
        commands,
        "alarms",
        "list alarms, and act on them",
        "查看报警并操作:确认、复位、搁置等",
        "davy alarms shelve T101-level-h --for 30min --reason 'gauge is cleaned'",
    )
    alarms.add_argument("what", nargs="?", default="list", choices=["list", *VERBS])
    alarms.add_argument("alarm", nargs="?")
    alarms.add_argument(
        "--event", help=pick("id of the occurrence (default: the current one)", "报警事件编号(默认当前)")
    )
    alarms.add_argument("--note", help=pick("remark", "备注"))
    alarms.add_argument("--finding", help=pick("confirm: what was found", "处置完毕:原因"))
    alarms.add_argument("--measure", help=pick("confirm: what was done", "处置完毕:措施"))
    alarms.add_argument("--all", action="store_true", help=pick("normal alarms too", "也列出正常的"))
    _add_hiding(alarms)
    alarms.set_defaults(run=_alarms)
    tags = command(
        commands,
        "tags",
        "put a tag into maintenance, tell that a test was done",
        "测点检修、校验完成",
        "davy tags maintenance G12.lel --for 30min --reason 'bump test'",
    )
    tags.add_argument("what", choices=list(TAG_VERBS))
    tags.add_argument("tag")
    tags.add_argument("--result", help=pick("done: passed, or what was found", "校验结果"))
    tags.add_argument("--rule", help=pick("done: the overdue rule that is meant", "对应的到期规则"))
    _add_hiding(tags)
    tags.set_defaults(run=_tags)
    exercise = command(
        commands,
        "exercise",
        "start and end an exercise",
        "开始、结束演练",
        "davy exercise start --for 1h --reason 'drill of shift B'",
    )
    exercise.add_argument("what", choices=["start", "end"])
    _add_hiding(exercise)
    exercise.set_defaults(run=_exercise)
    stop = command(
        commands,
        "planned-stop",
        "tell that an area stands still for a time",
        "区域计划停车",
        "davy planned-stop unit-2 --for 8h --reason 'catalyst change'",
    )
    stop.add_argument("area")
    _add_hiding(stop)
    stop.set_defaults(run=_planned_stop)
    reload = command(
        commands,
        "reload",
        "take over changed rules",
        "重新加载规则",
        "davy reload --force 'limit agreed in MOC 17'",
    )
    reload.add_argument(
        "--force", metavar="REASON", help=pick("apply what weakens a standing alarm now", "立即应用会减弱报警的更改")
    )
    _add_logins(reload)
    add_socket(reload)
    reload.set_defaults(run=_reload)


def _add_hiding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--for", dest="duration", metavar="30min", help=pick("how long", "时长"))
    parser.add_argument("--reason", help=pick("why; kept for good", "原因(永久保存)"))
    _add_logins(parser)
    add_socket(parser)


def _add_logins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="NAME", help=pick("log in under this name", "以此姓名登录"))
    parser.add_argument("--second", metavar="NAME", help=pick("the second person", "第二人姓名"))


def _alarms(options: argparse.Namespace) -> int:
    if options.what == "list":
        code, alarms = ask_one(options, {"do": "alarms", "all": options.all})
        if alarms is not None:
            _list(alarms, as_json=options.json)
        return code
    if not options.alarm and options.what != "silence":
        return fail(f"davy alarms {options.what} ALARM: name the alarm", f"davy alarms {options.what} 需要报警编号")
    return _act(options, VERBS[options.what], alarm=options.alarm)


def _tags(options: argparse.Namespace) -> int:
    return _act(options, TAG_VERBS[options.what], tag=options.tag)


def _exercise(options: argparse.Namespace) -> int:
    return _act(options, "exercise" if options.what == "start" else "end_exercise")


def _planned_stop(options: argparse.Namespace) -> int:
    from agent.core.clock import SystemClock

    return _act(options, "planned_stop", **{"area": options.area, "from": SystemClock().now_ns()})


def _act(options: argparse.Namespace, kind: str, **what: Any) -> int:
    request = {key: getattr(options, key, None) for key in _BODY} | what
    missing = [name for name, key in _REQUIRED.get(kind, {}).items() if not getattr(options, key, None)]
    if missing:
        return fail(f"required here: {', '.join(missing)}", f"缺少参数:{'、'.join(missing)}")
    if options.duration is not None:
        from agent.config.fields import Duration
        from agent.core.clock import SystemClock

        try:
            request["until"] = SystemClock().now_ns() + Duration(options.duration).ns
        except ValueError as error:
            return fail(f"--for {options.duration}: {error}", f"--for {options.duration}:{error}")
    code, acted = _carry_out(options, kind, request)
    if acted is None:
        return code
    if options.json:
        print_json(acted)
    elif acted["outcome"] == "rejected":
        return fail(f"rejected: {acted['reason']}", f"被拒绝:{acted['reason']}", REJECTED)
    else:
        _tell(acted, str(next(iter(what.values()), kind)))
    return REJECTED if acted["outcome"] == "rejected" else OK


def _tell(acted: Mapping[str, Any], subject: str) -> None:
    name = acted["alarm"] or subject
    state = acted["state"] or pick("done", "完成")
    if acted.get("until") is not None:
        until = local_time(acted["until"])
        say(f"{name}: now {state}, until {until}", f"{name}:现为 {state},至 {until}")
    else:
        say(f"{name}: now {state}", f"{name}:现为 {state}")


def _carry_out(options: argparse.Namespace, kind: str, request: Mapping[str, Any]) -> tuple[int, Any]:
    """Ask for the passwords that it needs, then do it."""
    fields = {key: value for key, value in request.items() if value is not None}
    code, needs = ask_one(options, {**fields, "do": "needs", "kind": kind})
    if needs is None:
        return code, None
    logins: dict[str, Any] = {}
    if options.user or needs["login"]:
        logins["login"] = _login(options.user, pick("your name: ", "您的姓名:"))
    if options.second or needs["second"]:
        logins["second"] = _login(options.second, pick("name of the second person: ", "第二人姓名:"))
    return ask_one(options, {**fields, **logins, "do": kind})


def _login(name: str | None, question: str) -> dict[str, str]:
    user = name or _ask_name(question)
    return {"user": user, "password": ask_password(user) or ""}


def _ask_name(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _reload(options: argparse.Namespace) -> int:
    code, result = _carry_out(options, "reload", {"force": options.force})
    if result is None:
        return code
    if options.json:
        print_json(result)
    elif result["outcome"] == "rejected":
        return fail(f"nothing was changed: {result['reason']}", f"未作更改:{result['reason']}", REJECTED)
    else:
        for each in result["differences"]:
            print(f"{each['path']}: {_short(each['old'])} -> {_short(each['new'])}")
        say(f"in force: rules {result['rules_version']}", f"已生效:规则 {result['rules_version']}")
        for waiting in result["waiting"]:
            say(f"waits until its alarm is normal: {waiting}", f"待报警恢复正常后生效:{waiting}")
    return REJECTED if result["outcome"] == "rejected" else OK


def _short(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _list(alarms: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(alarms)
        return
    if not alarms:
        say("no alarms", "无报警")
        return
    language = pick("en", "zh-CN")
    head = ["alarm", "state", "priority", "since", "value", "message", pick("hidden until, by", "隐藏至,操作人")]
    rows = [
        [
            *(a["alarm"], a["state"], a["priority"], local_time(a["since"]), a["value"]),
            *(a["message"].get(language, ""), _hidden(a)),
        ]
        for a in alarms
    ]
    table(head, rows)


def _hidden(alarm: Mapping[str, Any]) -> str:
    holds: list[dict[str, Any]] = alarm.get("hidden") or []
    return "; ".join(f"{local_time(hold['until'])} {hold['actor'] or hold['by'] or ''}".strip() for hold in holds)
