"""The work on panes alone, without streams: counting scores, adding up a day, and the memory that it takes.

.venv/bin/python -m benchmarks.tail.panework
"""

import json
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks.tail.events import SEED

from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts, Pane, Series, merge
from birdwatch.windows.rollups import Keep
from birdwatch.windows.store import Store

__all__ = ["counting", "day", "from_store", "merging"]

NUMBERS: Final = 10_000_000
AT_ONCE: Final = 1_000_000
MODELS: Final = 100
MINUTE: Final = 60
MINUTES: Final = 1440
A_MINUTE: Final = 100
"""Scores of a model in a minute."""


def counting(numbers: int) -> dict[str, float]:
    """Count so many scores, a million at once; give the CPU seconds of `bins_of`, of `Counts.of`, and of both."""
    scores = np.random.default_rng(SEED).beta(2, 5, size=AT_ONCE)
    took = {"bins": 0.0, "counts": 0.0}
    for _ in range(numbers // AT_ONCE):
        began = time.process_time()
        bins = bins_of(scores, "probability")
        between = time.process_time()
        Counts.of(bins)
        took["bins"] += between - began
        took["counts"] += time.process_time() - between
    return took | {"both": sum(took.values())}


def day(models: int = MODELS) -> list[Pane]:
    """Give the minutes of a day: the scores of so many models."""
    rng = np.random.default_rng(SEED)
    drawn = bins_of(rng.beta(2, 5, size=(MINUTES, models, A_MINUTE)).ravel(), "probability")
    each = drawn.reshape(MINUTES, models, A_MINUTE)
    return [
        {Series("score", f"model-{model}", "1"): Counts.of(each[minute, model]) for model in range(models)}
        for minute in range(MINUTES)
    ]


def merging(panes: list[Pane]) -> float:
    """Give the CPU seconds in which panes are added up."""
    began = time.process_time()
    merge(panes)
    return time.process_time() - began


def from_store(panes: list[Pane]) -> dict[str, float]:
    """Give the CPU seconds in which a store gives the sum of a day: of its minutes, and once they were rolled up.

    Raises
    ------
    AssertionError
        The sum is another than that of the panes.
    """
    found = {}
    with tempfile.TemporaryDirectory(prefix="birdwatch-bench-") as folder:
        path = Path(folder, "panes.db")
        store = Store(path, pane_seconds=MINUTE)
        with store.transaction():
            for number, pane in enumerate(panes):
                store.put(number * MINUTE, pane)
        day_seconds = len(panes) * MINUTE
        found["minutes"] = _opened_and_read(path, panes)
        with store.transaction():
            while store.age(day_seconds, Keep(), open_from=day_seconds):
                pass
        found["rolled_up"] = _opened_and_read(path, panes)
        store.close()
    return found


def _opened_and_read(path: Path, panes: list[Pane]) -> float:
    began = time.process_time()
    store = Store(path, readonly=True)
    found = store.pane(0, len(panes) * MINUTE)
    took = time.process_time() - began
    store.close()
    if _plain(found) != _plain(merge(panes)):
        raise AssertionError(f"{path} gives another day than its panes add up to")
    return took


def _plain(pane: Pane) -> dict[Series, tuple[list[int], list[int]]]:
    return {series: (counts.bins.tolist(), counts.counts.tolist()) for series, counts in pane.items()}


def main() -> None:
    """Measure once; print it as JSON."""
    counting(AT_ONCE)  # what is done once for all
    tracemalloc.start()
    one = day(1)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    arrays = sum(counts.bins.nbytes + counts.counts.nbytes for pane in one for counts in pane.values())
    panes = day()
    found: dict[str, Any] = {"numbers": NUMBERS, **counting(NUMBERS), "held": held, "arrays": arrays}
    found |= {"merge": merging(panes), "store": from_store(panes)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
