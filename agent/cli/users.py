"""``davy users``: who may log in. Works on the file, with or without a running agent; passwords from the terminal."""

import argparse
import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.options import Commands, add_config, add_json, command
from agent.cli.text import INVALID, OK, fail, pick, print_json, say, table

if TYPE_CHECKING:
    from agent.users import Users


def add(commands: Commands) -> None:
    """Register the commands of this group."""
    users = command(
        commands,
        "users",
        "add, list and remove people who may log in",
        "添加、列出、删除可登录人员",
        "davy users add li.wei --role engineer",
    )
    users.add_argument("what", choices=["add", "list", "remove"])
    users.add_argument("name", nargs="?")
    users.add_argument(
        "--role", choices=["viewer", "operator", "engineer"], help=pick("what they may do", "权限:查看、操作、工程师")
    )
    users.add_argument("--state-dir", type=Path, help=pick("instead of the configuration's", "代替配置中的目录"))
    add_config(users)
    add_json(users)
    users.set_defaults(run=_users)


def ask_password(name: str, *, twice: bool = False) -> str | None:
    """A password from the terminal, never shown; None where two inputs differ."""
    password = getpass.getpass(pick(f"password of {name}: ", f"{name} 的密码:"))
    if twice and getpass.getpass(pick("once more: ", "再次输入:")) != password:
        return None
    return password


def _users(options: argparse.Namespace) -> int:
    from agent.config.load import state_dir
    from agent.users import Users, UsersError

    directory = options.state_dir or state_dir(options.config)
    if not directory.is_dir():
        return fail(f"{directory}: no such directory", f"{directory}:目录不存在")
    users = Users(directory)
    try:
        if options.what == "list":
            return _list(users, options)
        if not options.name:
            return fail(f"davy users {options.what} NAME: name the person", f"davy users {options.what} 需要姓名")
        return _add(users, options) if options.what == "add" else _remove(users, options)
    except UsersError as error:
        return fail(str(error), str(error), INVALID)


def _list(users: "Users", options: argparse.Namespace) -> int:
    roles = {name: user.role.value for name, user in users.load().items()}
    if options.json:
        print_json([{"name": name, "role": role} for name, role in roles.items()])
    elif roles:
        table([pick("name", "姓名"), pick("role", "角色")], list(roles.items()))
    else:
        say("no users: davy users add NAME --role ROLE", "没有用户:davy users add 姓名 --role 角色")
    return OK


def _add(users: "Users", options: argparse.Namespace) -> int:
    from agent.commands.roles import Role

    known = users.load().get(options.name)
    if options.role is None and known is None:
        return fail("--role viewer, operator or engineer", "--role:viewer、operator 或 engineer")
    password = ask_password(options.name, twice=True)
    if password is None:
        return fail("the two passwords differ; nothing was changed", "两次输入不同;未作更改")
    role = Role(options.role) if options.role is not None else known.role if known is not None else Role.VIEWER
    users.put(options.name, role, password)
    if options.json:
        print_json({"name": options.name, "role": role.value})
    else:
        say(f"{options.name} may log in as {role.value}", f"{options.name} 可以 {role.value} 登录")
    return OK


def _remove(users: "Users", options: argparse.Namespace) -> int:
    users.remove(options.name)
    if options.json:
        print_json({"name": options.name, "role": None})
    else:
        say(f"{options.name} may not log in any more", f"{options.name} 不能再登录")
    return OK
