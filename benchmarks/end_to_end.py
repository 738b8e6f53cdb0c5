"""Modbus TCP → journal synced → one limit rule per tag → MQTT QoS 1 to mosquitto: CPU per reading, loss, latency.

One JSON object per case. The device runs in a process of its own; the receiver is this process; the agent's CPU time
and memory are read from /proc. Latency is from the event's time (the reply that shows the change was taken in) to the
arrival at a subscriber, which is later than the PUBACK would be.
"""

import asyncio
import contextlib
import json
import multiprocessing
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.agent_process import AgentProcess
from tests.support.counting_device import REGISTERS, CountingDevice
from tests.support.mosquitto import Mosquitto
from tests.support.receiver import Receiver

WARM_UP_S = 5.0
MEASURED_S = 20.0


@dataclass(frozen=True)
class Case:
    name: str
    devices: int
    poll_ms: int

    @property
    def readings_per_s(self) -> int:
        return self.devices * REGISTERS * 1000 // self.poll_ms


CASES = (Case("1,000/s", 10, 1000), Case("10,000/s", 10, 100), Case("40,000/s", 80, 200))


def serve_device(channel: Connection) -> None:
    """The device process: answers until the pipe closes."""

    async def serve() -> None:
        devices = CountingDevice(), CountingDevice()
        for device in devices:
            await device.start()
        channel.send([device.port for device in devices])
        await asyncio.get_running_loop().run_in_executor(None, channel.recv)

    try:
        import uvloop

        uvloop.run(serve())
    except EOFError:
        return


def configuration(case: Case, state: Path, ports: list[int], broker_port: int) -> str:
    lines = ["site: {id: bench}", f'agent: {{name: gw1, state_dir: "{state}"}}', "devices:"]
    rules = ["rules:"]
    for number in range(case.devices):
        name = f"d{number}"
        lines += [
            f"  - id: {name}",
            "    driver: modbus",
            # The first device has a server of its own, so that its wave goes by its own polls.
            f"    link: {{kind: tcp, host: 127.0.0.1, port: {ports[min(number, 1)]}}}",
            "    unit_id: 1",
            f"    poll: {case.poll_ms}ms",
            "    tags:",
        ]
        for i in range(REGISTERS):
            tag = f"{name}.r{i}"
            limit = 50 if i == 10 and number == 0 else 70_000
            lines.append(f"      - {{id: {tag}, table: holding, address: {i}, type: uint16}}")
            rules.append(f"  - {{id: {tag}, tag: {tag}, condition: high, limit: {limit}, deadband: 1, priority: high}}")
    rules.append(f'destinations: [{{id: platform, kind: mqtt, url: "mqtt://127.0.0.1:{broker_port}"}}]')
    return "\n".join(lines + rules)


def percentile(values: list[float], share: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1) if ordered else None


def wait_until_ready(agent: AgentProcess) -> None:
    """Until the first device answers."""
    while True:
        with contextlib.suppress(OSError):
            if agent.metrics().get("davy_device_connected"):
                return
        time.sleep(0.1)


def measure(case: Case, directory: Path, ports: list[int]) -> dict[str, object]:
    arrivals: list[float] = []
    with Mosquitto(directory / "broker") as broker:
        receiver = Receiver(broker.port, keep=False)
        receiver.on_alarm = lambda fields: arrivals.append((time.time_ns() - fields["time"]) / 1e6)
        config = configuration(case, directory / "state", ports, broker.port)
        with AgentProcess(directory, config) as agent:
            agent.start()
            assert agent.process is not None
            process = psutil.Process(agent.process.pid)
            wait_until_ready(agent)
            time.sleep(WARM_UP_S)
            arrivals.clear()
            before, before_readings = process.cpu_times(), agent.metrics()["davy_journal_readings_total"]
            started = time.monotonic()
            time.sleep(MEASURED_S)
            after, after_readings = process.cpu_times(), agent.metrics()["davy_journal_readings_total"]
            wall_s = time.monotonic() - started
            rss = process.memory_info().rss
            metrics = agent.metrics()
            stopped_s = agent.stop()
            stats = agent.davy("journal", "stats")
        deadline = time.monotonic() + 20
        while stats["last_seq"] not in receiver.seqs and time.monotonic() < deadline:
            time.sleep(0.1)
        lost = stats["last_seq"] - stats["first_seq"] + 1 - stats["records"].get("tick", 0) - len(receiver.seqs)
        receiver.close()
    readings = after_readings - before_readings
    cpu_s = after.user + after.system - before.user - before.system
    return {
        "bench": "end_to_end",
        "case": case.name,
        "readings_per_s": round(readings / wall_s),
        "cpu_us_per_reading": round(cpu_s / readings * 1e6, 2),
        "cpu_share_of_core": round(cpu_s / wall_s, 3),
        "records_lost": lost,
        "polls_missed": int(metrics.get("davy_polls_missed_total", 0)),
        "rss_mib": round(rss / 2**20, 1),
        "alarms": len(arrivals),
        "alarm_latency_ms_p50": percentile(arrivals, 0.5),
        "alarm_latency_ms_p99": percentile(arrivals, 0.99),
        "stop_s": round(stopped_s, 2),
    }


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    device = multiprocessing.get_context("spawn").Process(target=serve_device, args=(theirs,), daemon=True)
    device.start()
    theirs.close()
    ports: list[int] = ours.recv()
    wanted = sys.argv[1:]
    for case in CASES:
        if not wanted or case.name in wanted:
            with tempfile.TemporaryDirectory() as directory:
                print(json.dumps(measure(case, Path(directory), ports)), flush=True)
    ours.close()
    device.terminate()


if __name__ == "__main__":
    main()
