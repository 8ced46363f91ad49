"""A small version of the benchmarks, for CI: each of a few ratios of CPU time must not fall by a quarter.

What is compared runs in turns in one process, and of each side the quickest round counts: so what else the machine does
touches both, and little. Half a minute; after a change for the better: .venv/bin/python -m benchmarks.ratios --keep
Interpreters differ: .venv/bin/python -m benchmarks.ratios --lower, of another one, keeps what is lower of the two.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.scale import judged
from benchmarks.tail import events, panework, sides

from birdwatch.stats.grid import bins_of
from birdwatch.streams import open_streams
from birdwatch.windows.pane import Counts, merge

__all__ = ["KEPT", "LEAST", "measure", "worse"]

KEPT: Final = Path(__file__).with_name("ratios.json")
LEAST: Final = 0.75
"""A ratio may be this share of the one that is kept, not less."""

_ROUNDS: Final = 7
_EVENTS: Final = 60_000
_MODELS: Final = 10
_NUMBERS: Final = 300_000
_FEW, _MANY = 10, 200

Work = Callable[[], object]


def measure() -> dict[str, float]:
    """Give by name how many times the CPU time of what is done the other takes: more is better."""
    with tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as folder:
        return {name: round(_ratio(*sides), 4) for name, sides in _sides(Path(folder)).items()}


def worse(found: dict[str, float], kept: dict[str, float]) -> list[str]:
    """Say which ratios have fallen by more than a quarter, or were left out."""
    return [
        f"{name}: {found.get(name, 0.0):.3g}, it was {before:.3g}"
        for name, before in kept.items()
        if found.get(name, 0.0) < LEAST * before
    ]


def _ratio(ours: Work, theirs: Work) -> float:
    took: list[tuple[float, float]] = [(_cpu(ours), _cpu(theirs)) for _ in range(_ROUNDS)]
    mine, other = (min(side) for side in zip(*took, strict=True))
    return other / mine


def _cpu(work: Work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _sides(folder: Path) -> dict[str, tuple[Work, Work]]:
    """Give by name what is measured, and what it is measured against."""
    address = f"sqlite:{folder}"
    rows = events.table(_MODELS, _EVENTS)
    streams = open_streams(address)
    events.append_json(streams, "lines", rows)
    events.append_arrow(streams, "payloads", rows)
    streams.close()
    numbers = np.random.default_rng(events.SEED).beta(2, 5, size=_NUMBERS)
    day = panework.day(5)
    few, many = (_judging(folder / str(models), models) for models in (_FEW, _MANY))
    return {
        "the tail, beside decoding plain structs": (
            lambda: sides.tail(address, "lines", _EVENTS),
            lambda: sides.decode(address, "lines", _EVENTS),
        ),
        "the tail of Arrow payloads, beside that of JSON": (
            lambda: sides.tail(address, "payloads", _EVENTS),
            lambda: sides.tail(address, "lines", _EVENTS),
        ),
        "counting numbers, beside sorting them": (
            lambda: [Counts.of(bins_of(numbers, "probability")) for _ in range(10)],
            lambda: [np.sort(numbers) for _ in range(10)],
        ),
        "adding a day up, beside going through it": (
            lambda: merge(day),
            lambda: [counts.bins.sum() for pane in day for counts in pane.values()],
        ),
        "a model among few, beside one among many, to the judge": (
            many,
            lambda: [few() for _ in range(_MANY // _FEW)],
        ),
    }


def _judging(folder: Path, models: int) -> Work:
    """Give what closes the next minute of a fleet and judges it."""
    folder.mkdir()
    store, judge = judged.opened(folder)
    panes = judged.fleet(models)
    ends = iter(range(judged.BEGIN, judged.BEGIN + judged.DAY, judged.A_MINUTE))
    return lambda: judged.a_minute(store, judge, next(ends), panes[0])


def main() -> None:
    """Measure and print; if asked to, keep the lowest of five times, or lower what is kept to it."""
    keep, lower = ("--keep" in sys.argv[1:], "--lower" in sys.argv[1:])
    each = [measure() for _ in range(5 if keep or lower else 1)]
    if lower:
        each.append(json.loads(KEPT.read_text(encoding="utf-8")))
    found = {name: min(one[name] for one in each) for name in each[0]}
    sys.stdout.write("".join(f"{ratio:8.3f}  {name}\n" for name, ratio in found.items()))
    if keep or lower:
        KEPT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
