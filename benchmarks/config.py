"""Load 10,000 tags (YAML or CSV) and 5,000 rules; aim < 5 s: python -m benchmarks.config [small] [csv] [yaml]."""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from agent.config.load import load

HEAD = "site: {id: s1}\nagent: {name: gw1}\n"
DEVICE = "  - id: plc{}\n    driver: modbus\n    link: {{kind: tcp, host: 10.0.0.5}}\n    unit_id: 1\n"
TAG = (
    "      - {{id: U{d}.T{i}, name: {i}号罐液位, table: holding, address: {a}, type: float32, order: ABCD, unit: m, "
    "range: [0, 12], kind: level}}\n"
)
ROW = "U{d}.T{i},{i}号罐液位,holding,{a},float32,ABCD,m,0..12,level\n"
RULE = (
    "  - {{id: U{d}.T{i}-h, tag: U{d}.T{i}, condition: high, limit: 10.5, deadband: 0.1, on_delay: 5s, priority: high, "
    "message: {{zh-CN: {i}号罐液位高, en: Tank {i} level high}}}}\n"
)


def write(directory: Path, tags: int, rules: int, *, is_csv: bool) -> Path:
    """A configuration of devices with 100 tags each."""
    text = HEAD + "devices:\n"
    for device in range(tags // 100):
        text += DEVICE.format(device)
        if is_csv:
            text += f"    tags_from: plc{device}.csv\n"
            rows = (ROW.format(d=device, i=i, a=2 * i) for i in range(100))
            table = "id,name,table,address,type,order,unit,range,kind\n" + "".join(rows)
            (directory / f"plc{device}.csv").write_text(table, encoding="gb18030")
        else:
            text += "    tags:\n" + "".join(TAG.format(d=device, i=i, a=2 * i) for i in range(100))
    text += "rules:\n" + "".join(RULE.format(d=i // 100, i=i % 100) for i in range(rules))
    path = directory / "davy.yaml"
    path.write_text(text)
    return path


def case(name: str, tags: int, rules: int, *, is_csv: bool) -> None:
    """Load once and print one JSON object."""
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory), tags, rules, is_csv=is_csv)
        started, cpu = time.perf_counter(), time.process_time()
        loaded = load(path)
        figures = {
            "case": name,
            "tags": len(loaded.tags),
            "rules": len(loaded.config.rules),
            "s": round(time.perf_counter() - started, 2),
            "cpu_s": round(time.process_time() - cpu, 2),
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    which = sys.argv[1:] or ["yaml", "csv", "small"]
    if "small" in which:
        case("config, 1,000 tags, 1,000 rules", 1_000, 1_000, is_csv=False)
    if "csv" in which:
        case("config, tags in CSV", 10_000, 5_000, is_csv=True)
    if "yaml" in which:
        case("config, all in YAML", 10_000, 5_000, is_csv=False)
