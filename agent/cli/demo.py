"""``davy demo`` and ``davy simulate``."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from agent.cli.options import Commands, command
from agent.cli.text import INVALID, fail, pick

SHORTEST_S = 20.0


def add(commands: Commands) -> None:
    """Register the commands of this group."""
    demo = command(
        commands,
        "demo",
        "simulator, broker, platform and agent in one go",
        "一键演示:模拟器、消息服务器、平台与代理",
        "davy demo --for 30s --json",
    )
    demo.add_argument(
        "--for", dest="duration", default="60s", metavar="30s", help=pick("how long (20s at least)", "时长(至少 20s)")
    )
    demo.add_argument("--json", action="store_true", help=pick("the balance as one JSON object", "以 JSON 输出结算"))
    demo.add_argument("--keep", type=Path, metavar="DIR", help=pick("keep the files there", "保留文件的目录"))
    demo.set_defaults(run=_demo)
    simulate = command(
        commands,
        "simulate",
        "run the sensor simulator",
        "运行传感器模拟器",
        "davy simulate tank_farm --scenario demo --speed 20 --port 5020",
    )
    simulate.add_argument("site", type=Path, help=pick("a bundled site or a SITE.yaml", "自带站点名或 SITE.yaml 文件"))
    simulate.add_argument("--scenario", help=pick("what is to happen (default: nothing special)", "剧情(默认无事发生)"))
    simulate.add_argument("--speed", type=float, default=1.0, help=pick("times real time (1)", "相对真实时间的倍数(1)"))
    simulate.add_argument("--seed", type=int, help=pick("of the noise", "噪声的随机种子"))
    simulate.add_argument(
        "--port",
        type=int,
        help=pick(
            "port of the first device; the next ones follow (default: free ports)",
            "首台设备的端口,其余依次递增(默认任意空闲端口)",
        ),
    )
    simulate.set_defaults(run=_simulate)


def _demo(options: argparse.Namespace) -> int:
    from agent.config.fields import Duration

    try:
        duration_s = Duration(options.duration).s
    except ValueError as error:
        return fail(f"--for {options.duration}: {error}", f"--for {options.duration}:{error}")
    if duration_s < SHORTEST_S:
        return fail(f"--for {options.duration}: at least 20s", f"--for {options.duration}:至少 20s")
    try:
        from simulator.demo import run_demo
    except ModuleNotFoundError as error:
        return fail(
            f"{error.name} is missing: pip install 'davy-agent[demo]'",
            f"缺少 {error.name}:pip install 'davy-agent[demo]'",
            INVALID,
        )
    out = sys.stderr if options.json else sys.stdout
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        return asyncio.run(run_demo(duration_s, options.json, options.keep.resolve(), out))
    with tempfile.TemporaryDirectory(prefix="davy-demo-") as directory:
        return asyncio.run(run_demo(duration_s, options.json, Path(directory), out))


def _simulate(options: argparse.Namespace) -> int:
    from simulator.run import main

    return main(options.site, options.scenario, options.speed, options.seed, options.port)
