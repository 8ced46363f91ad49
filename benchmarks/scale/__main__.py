"""How the cost of observing grows: with tails that share the work, models, events, segments and days; and what a start costs.

Eight minutes, and a Kafka broker, which needs Java and Maven: .venv/bin/python -m benchmarks.scale [--quick | --full] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import machine
from benchmarks.scale import report, shared, started
from benchmarks.serving.processes import broker
from rich.console import Console
from rich.progress import Progress

ROUNDS: Final = 5
SHARED_ROUNDS: Final = 3
SHORT: Final = 5.0
"""What takes longer, in seconds, is measured once."""

PROCESSES: Final = (1, 2, 4)
GROWN: Final = {
    "quick": {"events": (100_000, 1_000_000), "models": (1, 100, 1_000), "segments": (1, 10)},
    "usual": {
        "events": (100_000, 1_000_000, 10_000_000),
        "models": (1, 100, 1_000, 10_000),
        "segments": (1, 10, 50),
    },
    "full": {
        "events": (100_000, 1_000_000, 10_000_000, 100_000_000),
        "models": (1, 100, 1_000, 10_000),
        "segments": (1, 10, 50),
    },
}
"""What grows, by how thorough it is; all else stays as `USUAL` says."""

USUAL: Final = {"events": 300_000, "models": 10, "segments": 1}
JUDGED: Final = {"quick": (100,), "usual": (100, 1_000), "full": (100, 1_000, 10_000)}
DAYS: Final = {"quick": (1,), "usual": (1, 4), "full": (1, 4, 16)}
KEPT_MODELS: Final = 10


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.scale")
    options.add_argument("--quick", action="store_true", help="The small sizes, and no tails that share: two minutes.")
    options.add_argument("--full", action="store_true", help="The large sizes as well: an hour, and 12 GB of disk.")
    options.add_argument("--without-kafka", action="store_true", help="Start no broker.")
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    given = options.parse_args()
    how = "quick" if given.quick else "full" if given.full else "usual"
    noise = Console(stderr=True)
    figures: dict[str, Any] = {"machine": machine(report.PACKAGES), "a_pane": 100_000, "usual": USUAL}
    with Progress(console=noise, disable=not noise.is_terminal) as progress:
        task = progress.add_task("starts", total=None)
        figures["started"] = {name: [started.start(name) for _ in range(ROUNDS)] for name in started.STARTS}
        figures["installed"] = started.installed()
        figures["grown"] = {}
        for what, sizes in GROWN[how].items():
            for size in sizes:
                progress.update(task, description=f"{size:,} {what}")
                of = [str(number) for number in (USUAL | {what: size}).values()]
                found = _rounds(lambda of=of: run("benchmarks.scale.grown", *of), "wall")
                figures["grown"].setdefault(what, {})[str(size)] = found
        progress.update(task, description="days")
        figures["kept"] = {str(days): [run("benchmarks.scale.days", str(KEPT_MODELS), str(days))] for days in DAYS[how]}
        progress.update(task, description="the judge")
        figures["judged"] = {str(n): run("benchmarks.scale.judged", str(n), "1m") for n in JUDGED[how]}
        if not (given.quick or given.without_kafka):
            progress.update(task, description="tails that share")
            figures["shared"] = _shared()
    Console(width=160).print(report.markdown(figures), soft_wrap=True, markup=False, highlight=False)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _rounds(measure: Callable[[], dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """Measure five times; once where it takes long."""
    found = [measure()]
    while len(found) < ROUNDS and found[0][by] < SHORT:
        found.append(measure())
    return found


def _shared() -> dict[str, dict[str, list[dict[str, float]]]]:
    """Count two streams by one, two and four tails, each by a new group."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    with broker() as address:
        for count in shared.SIZES:
            shared.write(address, count)
        for _ in range(SHARED_ROUNDS):
            for processes in PROCESSES:
                for count in shared.SIZES:
                    took = run("benchmarks.scale.shared", address, uuid.uuid4().hex[:8], str(processes), str(count))
                    found.setdefault(str(processes), {}).setdefault(str(count), []).append(took)
    return found


def run(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module in a process of its own; give the figures that it prints."""
    command = [sys.executable, "-m", module, *arguments]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    found: dict[str, Any] = json.loads(said)
    return found


if __name__ == "__main__":
    main()
