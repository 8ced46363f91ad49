"""The store that is shown: thirty days of a hundred models, the last 48 hours by the minute and what lies before by the hour."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.dashboard.fleet import CANARY, MODELS, PAIRS, Kind, draw_panes, kind_at, version_of
from benchmarks.dashboard.judged import START, controls, findings, verdicts
from rich.progress import Progress

from birdwatch.alerts.lifecycle import advance
from birdwatch.detect.budget import Budget, Watch
from birdwatch.detect.spending import create_table as create_ledger
from birdwatch.detect.spending import put_spending, write_looks
from birdwatch.detect.verdict import create_table, put_verdicts
from birdwatch.streams import Partition
from birdwatch.windows.pane import Pane
from birdwatch.windows.store import Extreme, Source, Store

__all__ = ["Traffic", "build", "put_sources"]

_DAY: Final = 86_400
_HOUR: Final = 3_600
_MINUTE: Final = 60
_BY_MINUTE: Final = 2 * _DAY
_SEED: Final = 20_260_007


class Traffic:
    """The panes of the fleet, by the time at which they start; the same seed gives the same ones."""

    def __init__(self, days: int) -> None:
        self._rng = np.random.default_rng(_SEED)
        self._days = days
        self._minutes = draw_panes(self._rng, _MINUTE)

    def hours(self) -> Iterator[tuple[int, Pane]]:
        """Give the panes of an hour, up to where those of a minute begin."""
        drawn = draw_panes(self._rng, _HOUR)
        for second in range(0, self._days * _DAY - _BY_MINUTE, _HOUR):
            yield START + second, self._one(drawn, second)

    def minute(self, second: int) -> tuple[int, Pane]:
        """Give the pane of a minute, so many seconds after the beginning."""
        return START + second, self._one(self._minutes, second)

    def _one(self, drawn: dict[Kind, list[Pane]], second: int) -> Pane:
        of_kind = drawn[kind_at(second, self._days)]
        return of_kind[int(self._rng.integers(len(of_kind)))]

    def extremes(self, second: int) -> list[Extreme]:
        """Give the largest disagreements of each pair in a pane."""
        kind = kind_at(second, self._days)
        sizes = self._rng.uniform(0.1, 0.5, len(PAIRS))
        return [
            Extreme(model, version_of(model, kind), partner, f"r{second}-{i}", 0.2 + size - i / 50, 0.2)
            for (model, partner), size in zip(PAIRS, sizes.tolist(), strict=True)
            for i in range(5)
        ]


def build(path: Path, days: int, progress: Progress) -> Store:
    """Build the store, and leave it open for writing."""
    store = Store(path, pane_seconds=_MINUTE)
    # Nobody mourns it if the machine goes down.
    store.connection.pragma("synchronous", "off")
    store.connection.pragma("cache_size", -1_000_000)
    create_table(store)
    create_ledger(store)
    end = days * _DAY
    hours, minutes = (end - _BY_MINUTE) // _HOUR, _BY_MINUTE // _MINUTE
    task = progress.add_task("drawing", total=hours + minutes + days)
    traffic = Traffic(days)
    progress.update(task, description="panes")
    with store.transaction():
        for start, pane in traffic.hours():
            store.put(start, pane)
            progress.advance(task)
    for hour in range(end - _BY_MINUTE, end, _HOUR):
        with store.transaction():
            for second in range(hour, hour + _HOUR, _MINUTE):
                store.put(*traffic.minute(second))
                store.put_extremes(START + second, traffic.extremes(second))
                progress.advance(task)
    progress.update(task, description="verdicts")
    rng = np.random.default_rng(_SEED + 1)
    for day in range(days):
        with store.transaction():
            put_verdicts(store, verdicts(rng, START + day * _DAY, START + (day + 1) * _DAY, days))
        progress.advance(task)
    advance(store, findings(rng, days), sinks=("log",))
    with store.transaction():
        for offset, control in enumerate(controls(days)):
            store.put_control(Partition("control"), offset, control)
        _account(store, days)
        put_sources(store, START + end)
    return store


def _account(store: Store, days: int) -> None:
    watches = [
        Watch("pairs", len(PAIRS), _HOUR),
        Watch("disagreement", len(PAIRS), _HOUR),
        Watch("sla-misses", 1, _DAY // 2),
    ]
    spending = Budget().spend(watches)
    put_spending(store, {"page": spending})
    for day in range(days):
        for rule, looks in (("pairs", 24 * len(PAIRS)), ("disagreement", 24 * len(PAIRS)), ("sla-misses", 2)):
            write_looks(store, START + (day + 1) * _DAY, "page", rule, looks=looks, level=spending.rules[rule].level)


def put_sources(store: Store, end: int) -> None:
    """Say that every model is there."""
    sources = [
        Source("canary" if model == CANARY else "scores", 0, model, end - 1.0 - place % 7, idle=False)
        for place, model in enumerate(MODELS)
    ]
    store.put_sources([*sources, Source("requests", 0, "", end - 0.5, idle=False)])


