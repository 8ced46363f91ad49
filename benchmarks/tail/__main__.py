"""How fast the tail counts: streams into closed panes of a store, beside a loop that reads the same and discards it.

Under six minutes, and a Kafka broker, which needs Java and Maven: .venv/bin/python -m benchmarks.tail [--quick] [--json FILE]
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.machine import machine
from benchmarks.separate import run
from benchmarks.serving.processes import broker
from benchmarks.tail import events, report
from rich.console import Console
from rich.progress import Progress

from birdwatch.streams import open_streams

MODELS: Final = (10, 1000)
KAFKA, SQLITE, FILES = "kafka", "sqlite", "files"


class Side(NamedTuple):
    """What is measured once in each round."""

    place: str
    models: int
    name: str
    command: list[str]


def main() -> None:
    """Write the streams, measure in turns, print."""
    options = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.tail")
    options.add_argument("--quick", action="store_true", help="A third of the events, three rounds: rough figures.")
    options.add_argument("--events", type=int, default=None, help="In each stream.")
    options.add_argument("--rounds", type=int, default=None)
    options.add_argument("--without-kafka", action="store_true", help="Start no broker.")
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    given = options.parse_args()
    count = given.events or (100_000 if given.quick else 300_000)
    rounds = given.rounds or (3 if given.quick else 5)
    noise = Console(stderr=True)
    figures: dict[str, Any] = {"machine": machine(report.PACKAGES), "events": count, "a_pane": events.A_PANE}
    figures["panes"] = []
    with (
        tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as folder,
        ExitStack() as stack,
        Progress(console=noise, disable=not noise.is_terminal) as progress,
    ):
        kafka = None if given.without_kafka else stack.enter_context(broker())
        sides = written(Path(folder), kafka, count)
        task = progress.add_task("measured", total=rounds * (len(sides) + 1))
        for _ in range(rounds):
            measure(sides, figures, count, lambda: progress.advance(task))
    Console(width=160).print(report.markdown(figures), soft_wrap=True, markup=False, highlight=False)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def written(folder: Path, kafka: str | None, count: int) -> list[Side]:
    """Write the same events to all places; give what is to be measured."""
    found = []
    for models in MODELS:
        rows = events.table(models, count)
        lines, payloads = f"scores-{models}", f"arrow-{models}"
        for place, address in ((KAFKA, kafka), (SQLITE, f"sqlite:{folder}/{models}")):
            if address is None:
                continue
            streams = open_streams(address)
            events.append_json(streams, lines, rows)
            events.append_arrow(streams, payloads, rows)
            streams.close()
            found += [
                Side(place, models, "discard", ["discard", address, lines]),
                Side(place, models, "decode", ["decode", address, lines]),
                Side(place, models, "tail", ["tail", address, lines]),
                Side(place, models, "arrow", ["tail", address, payloads]),
            ]
        events.write_parquet(folder / f"files-{models}", lines, rows)
        found.append(Side(FILES, models, "parquet", ["tail", f"files:{folder}/files-{models}", lines]))
    return found


def measure(sides: list[Side], figures: dict[str, Any], count: int, advance: Callable[[], object]) -> None:
    """Run each side once, so that all of a round share what else the machine does.

    Raises
    ------
    RuntimeError
        A side did not find what is there.
    """
    for side in sides:
        found = run("benchmarks.tail.sides", *side.command, str(count))
        expected = events.different(count) if side.command[0] == "tail" else count
        if found.pop("found") != expected:
            raise RuntimeError(f"{side.name} of {side.place} did not find {expected:,} events")
        found["events"] = count
        figures.setdefault(side.place, {}).setdefault(str(side.models), {}).setdefault(side.name, []).append(found)
        advance()
    figures["panes"].append(run("benchmarks.tail.panework"))
    advance()


if __name__ == "__main__":
    main()
