"""The store that is shown: thirty days of a hundred models, the last 48 hours by the minute and what lies before by the hour."""

from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.dashboard.fleet import CANARY, MODELS, PAIRS, draw_panes, kind_at, version_of
from benchmarks.dashboard.judged import START, controls, findings, verdicts
from rich.progress import Progress

from birdwatch.alerts.lifecycle import advance
from birdwatch.detect.budget import Budget, Watch
from birdwatch.detect.spending import create_table as create_ledger
from birdwatch.detect.spending import put_spending, write_looks
from birdwatch.detect.verdict import create_table, put_verdicts
from birdwatch.streams import Partition
from birdwatch.windows.joint import EXTREMES
from birdwatch.windows.packed import pack
from birdwatch.windows.pane import Counts, Pane, total
from birdwatch.windows.rollups import Held, levels
from birdwatch.windows.store import Extreme, Source, Store

__all__ = ["DAYS", "Traffic", "build", "put_sources"]

DAYS: Final = 30

_DAY: Final = 86_400
_HOUR: Final = 3_600
_MINUTE: Final = 60
_BY_MINUTE: Final = 2 * _DAY
_SEED: Final = 20_260_007


class Traffic:
    """The panes of the fleet: which of those that were drawn stands at which time; the same seed gives the same ones."""

    def __init__(self, days: int) -> None:
        self._rng = np.random.default_rng(_SEED)
        self._days = days
        self._drawn = {seconds: draw_panes(self._rng, seconds) for seconds in (_MINUTE, _HOUR)}

    def pane(self, second: int, seconds: int = _MINUTE) -> Pane:
        """Give a pane of a minute, or of an hour, that starts so many seconds after the beginning."""
        of_kind = self._drawn[seconds][kind_at(second, self._days)]
        return of_kind[int(self._rng.integers(len(of_kind)))]

    def extremes(self, second: int) -> list[Extreme]:
        """Give the largest disagreements of each pair in a pane."""
        kind = kind_at(second, self._days)
        sizes = self._rng.uniform(0.1, 0.5, len(PAIRS))
        return [
            Extreme(model, version_of(model, kind), partner, f"r{second}-{i}", 0.2 + size - i / 50, 0.2)
            for (model, partner), size in zip(PAIRS, sizes.tolist(), strict=True)
            for i in range(EXTREMES)
        ]


def build(path: Path, days: int, progress: Progress) -> None:
    """Build the store."""
    task = progress.add_task("drawing", total=None)
    traffic = Traffic(days)
    store = Store(path, pane_seconds=_MINUTE)
    # Nobody mourns it if the machine goes down.
    store.connection.pragma("synchronous", "off")
    _write_sums(store, traffic, days, progress)
    progress.update(task, description="verdicts", total=days)
    create_table(store)
    create_ledger(store)
    end = days * _DAY
    with store.transaction():
        for second in range(end - _BY_MINUTE, end, _MINUTE):
            store.put_extremes(START + second, traffic.extremes(second))
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
    store.close()


def _write_sums(store: Store, traffic: Traffic, days: int, progress: Progress) -> None:
    """Write panes and roll-ups as the tail would leave them, but series by series: so they lie on the disk in their order."""
    end, fine = days * _DAY, days * _DAY - _BY_MINUTE
    minutes = {second: traffic.pane(second) for second in range(fine, end, _MINUTE)}
    hours = {second: traffic.pane(second, _HOUR) for second in range(0, fine, _HOUR)}
    names = sorted({series for panes in (minutes, hours) for pane in panes.values() for series in pane})
    task = progress.add_task("panes and roll-ups", total=len(names))
    connection = store.connection
    with store.transaction():
        connection.execute("DROP INDEX panes_by_start; DROP INDEX rollups_by_start")
        numbers = store.numbers(names)
    for number, series in zip(numbers, names, strict=True):
        panes = {second: pane[series] for second, pane in minutes.items() if series in pane}
        by_hour = {second: pane[series] for second, pane in hours.items() if series in pane}
        by_hour |= _rolled_up(panes, _HOUR)
        with store.transaction():
            for level, sums in ((_MINUTE, panes), (_HOUR, by_hour), (_DAY, _rolled_up(by_hour, _DAY))):
                _insert(store, level, number, sums)
        progress.advance(task)
    with store.transaction():
        connection.execute("CREATE INDEX panes_by_start ON panes (start)")
        connection.execute("CREATE INDEX rollups_by_start ON rollups (seconds, start)")
        connection.executemany("INSERT INTO closed VALUES (?)", [(START + second,) for second in (*hours, *minutes)])
        done, kept = {_HOUR: START + end, _DAY: START + end}, {_MINUTE: START + fine}
        store.note("rollups", Held(levels(_MINUTE), done, kept).to_note())


def _rolled_up(sums: dict[int, Counts], seconds: int) -> dict[int, Counts]:
    parts: dict[int, list[Counts]] = {}
    for second, counts in sums.items():
        parts.setdefault(second // seconds * seconds, []).append(counts)
    return {second: total(found) for second, found in parts.items()}


def _insert(store: Store, level: int, number: int, sums: dict[int, Counts]) -> None:
    table, columns, own = ("panes", "", []) if level == _MINUTE else ("rollups", "seconds, ", [level])
    store.connection.executemany(
        f"INSERT INTO {table} ({columns}series, start, bins, counts, sum) VALUES ({'?, ' * len(own)}?, ?, ?, ?, ?)",  # noqa: S608
        [
            # Summed as the store itself sums its rows.
            (*own, number, START + second, b"", packed, store._sum(level, number, START + second, b"", packed))  # noqa: SLF001
            for second, packed in zip(sums, pack(list(sums.values())), strict=True)
        ],
    )


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
