"""``davy run``, ``check``, ``schema`` and ``config show``."""

import argparse
import json

from agent.cli.options import Commands, add_config, add_json, command
from agent.cli.text import INVALID, OK, WARNINGS, pick, print_json, say


def add(commands: Commands) -> None:
    """Register the commands of this group."""
    run = command(commands, "run", "run the agent in the foreground", "在前台运行代理", "davy run -c davy.yaml")
    add_config(run)
    run.add_argument(
        "--require-tested",
        action="store_true",
        help=pick(
            "refuse rules without a passing test in tests/ beside the configuration",
            "拒绝在配置旁 tests/ 中没有通过测试的规则",
        ),
    )
    run.set_defaults(run=_run)
    check = command(commands, "check", "check the configuration", "检查配置", "davy check -c davy.yaml --json")
    add_config(check)
    add_json(check)
    check.set_defaults(run=_check)
    schema = command(commands, "schema", "print a JSON Schema", "输出 JSON Schema", "davy schema config")
    schema.add_argument("what", nargs="?", default="config")
    schema.set_defaults(run=_schema)
    config = command(commands, "config", "show the configuration", "显示配置", "davy config show -c davy.yaml")
    config.add_argument("what", choices=["show"])
    add_config(config)
    config.set_defaults(run=_show)


def _run(options: argparse.Namespace) -> int:
    if options.require_tested:
        from agent.cli.tested import require_tested

        if (code := require_tested(options.config)) != OK:
            return code
    from agent.app import main

    return main(options.config)


def _check(options: argparse.Namespace) -> int:
    from agent.config.errors import ConfigError
    from agent.config.load import load

    try:
        loaded = load(options.config)
    except ConfigError as error:
        if options.json:
            print_json({"valid": False, "problems": [problem.to_fields() for problem in error.problems]})
        else:
            print(error.to_text(pick("en", "zh-CN")))
        return INVALID
    if options.json:
        print_json({"valid": True, "problems": [problem.to_fields() for problem in loaded.warnings]})
    else:
        for problem in loaded.warnings:
            print(problem.to_text(pick("en", "zh-CN")))
        config = loaded.config
        counts = (len(config.devices), len(loaded.tags), len(config.rules), len(config.destinations))
        say(
            "valid: {} devices, {} tags, {} rules, {} destinations".format(*counts),
            "有效:{} 台设备,{} 个测点,{} 条规则,{} 个目的地".format(*counts),
        )
    return WARNINGS if loaded.warnings else OK


def _schema(options: argparse.Namespace) -> int:
    from agent.config.schema import config_schema
    from agent.destinations.schemas import SCHEMAS

    schemas = {"config": config_schema, **{name: (lambda schema=schema: schema) for name, schema in SCHEMAS.items()}}
    if options.what not in schemas:
        names = ", ".join(schemas)
        print(f"davy: {pick(f'no schema {options.what!r}; there are {names}', f'没有 {options.what!r};可用:{names}')}")
        return INVALID
    print(json.dumps(schemas[options.what](), ensure_ascii=False, indent=2))
    return OK


def _show(options: argparse.Namespace) -> int:
    from agent.config.load import load

    loaded = load(options.config)
    print(json.dumps(loaded.shown(), ensure_ascii=False, indent=2))
    return OK
