"""How the cost of observing grows: with tails that share the work, models, events, segments and days; and what a start costs.

Ten minutes, and a Kafka broker, which needs Java and Maven: .venv/bin/python -m benchmarks.scale [--quick | --full] [--json FILE]
"""

import argparse
import json
import uuid
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import machine
from benchmarks.scale import report, shared, started
from benchmarks.separate import run
from benchmarks.serving.processes import broker
from rich.console import Console
from rich.progress import Progress

ROUNDS: Final = 5
SHARED_ROUNDS: Final = 3
SHORT: Final = 5.0
"""What takes longer, in seconds, is measured once."""

PROCESSES: Final = (1, 2, 4)
SIZES: Final = {
    "events": (100_000, 1_000_000, 10_000_000, 100_000_000),
    "models": (1, 100, 1_000, 10_000),
    "segments": (1, 10, 50),
    "days": (1, 4, 16),
    "judged": (100, 1_000, 10_000),
}
"""How far each thing grows."""

LAST: Final = {
    "quick": {"events": 1_000_000, "models": 1_000, "segments": 10, "days": 1, "judged": 100},
    "usual": {"events": 10_000_000, "models": 10_000, "segments": 50, "days": 4, "judged": 1_000},
    "full": {what: sizes[-1] for what, sizes in SIZES.items()},
}
"""Up to where it is measured, by how thorough it is."""

USUAL: Final = {"events": 300_000, "models": 10, "segments": 1}
"""What stays as it is while another thing grows."""

KEPT_MODELS: Final = 10


def main() -> None:
    """Measure, print."""
    options = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.scale")
    options.add_argument("--quick", action="store_true", help="The small sizes, and no tails that share: two minutes.")
    options.add_argument("--full", action="store_true", help="The large sizes as well: much time, and disk.")
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    given = options.parse_args()
    how = "quick" if given.quick else "full" if given.full else "usual"
    noise = Console(stderr=True)
    figures: dict[str, Any] = {"machine": machine(report.PACKAGES), "usual": USUAL}
    with Progress(console=noise, disable=not noise.is_terminal) as progress:
        task = progress.add_task("starts", total=None)
        figures["started"] = {name: [started.start(name) for _ in range(ROUNDS)] for name in started.STARTS}
        figures["installed"] = started.installed()
        sizes = {what: [size for size in grows if size <= LAST[how][what]] for what, grows in SIZES.items()}
        figures["grown"] = {}
        for what in USUAL:
            for size in sizes[what]:
                progress.update(task, description=f"{size:,} {what}")
                figures["grown"].setdefault(what, {})[str(size)] = _grown(USUAL | {what: size})
        progress.update(task, description="days")
        figures["kept"] = {
            str(days): [run("benchmarks.scale.days", str(KEPT_MODELS), str(days))] for days in sizes["days"]
        }
        progress.update(task, description="the judge")
        figures["judged"] = {str(n): run("benchmarks.scale.judged", str(n)) for n in sizes["judged"]}
        if not given.quick:
            progress.update(task, description="tails that share")
            figures["shared"] = _shared()
    Console(width=160).print(report.markdown(figures), soft_wrap=True, markup=False, highlight=False)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _grown(of: dict[str, int]) -> list[dict[str, float]]:
    """Count a stream five times; once where it takes long."""
    found: list[dict[str, float]] = []
    while len(found) < ROUNDS and (not found or found[0]["wall"] < SHORT):
        found.append(run("benchmarks.scale.grown", *map(str, of.values())))
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


if __name__ == "__main__":
    main()
