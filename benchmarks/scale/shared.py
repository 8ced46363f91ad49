"""Tails that share the partitions of a topic: how fast they count together, as they become more.

.venv/bin/python -m benchmarks.scale.shared KAFKA_ADDRESS GROUP PROCESSES EVENTS
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.serving.processes import cpu_seconds
from benchmarks.tail import events

from birdwatch.deltas import PaneDelta
from birdwatch.records import decode
from birdwatch.streams import open_streams

__all__ = ["SIZES", "write"]

LANES: Final = 8
MODELS: Final = 10
SETTINGS: Final = """
streams: {address}
champion: {champion}
idle_seconds: 2
mappings:
  scores:
    topic: scores-{count}
"""
SIZES: Final = (500_000, 2_500_000)
"""Two streams are counted: to start, to join the group and to close the last panes takes both equally long."""

_OPEN: Final = 4 * events.A_PANE
"""The last panes are told when nothing has come for a while, which is not waited for."""


def write(address: str, count: int) -> None:
    """Write so many scores as JSON to a topic of eight partitions."""
    streams = open_streams(f"{address}?partitions={LANES}")
    for part in range(-(-count // events.AT_ONCE)):
        events.append_json(streams, f"scores-{count}", events.table(MODELS, events.AT_ONCE, part))
    streams.append("panes", [])
    streams.close()


def main() -> None:
    """Start the tails and hear what they count; print as JSON how long it took them, by the clock and of CPU time."""
    address, group, processes, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    streams = open_streams(address)
    reader = streams.reader(["panes"], start="latest")
    reader.poll(1, 0.0)
    with tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as folder:
        settings = Path(folder, "birdwatch.yaml")
        settings.write_text(SETTINGS.format(address=address, champion=events.CHAMPION, count=count), encoding="utf-8")
        command = [sys.executable, "-m", "birdwatch", "tail", "--group", group, "--settings", str(settings)]
        began = time.perf_counter()
        running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder) for _ in range(processes)]
        told = 0
        while told < count - _OPEN:
            for message in reader.poll(1000, 0.2):
                delta = decode(message.value, PaneDelta)
                told += delta.rows.get("scores", 0) if delta.group == group else 0
        found = {"wall": time.perf_counter() - began, "cpu": sum(cpu_seconds(process.pid) for process in running)}
        for process in running:
            process.send_signal(signal.SIGKILL)
            process.wait()
    reader.close()
    streams.close()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
