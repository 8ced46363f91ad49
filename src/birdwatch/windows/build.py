"""From columns to a pane: duplicates dropped, models joined by request, everything counted.

A pure function of what arrived, in whatever order: the live tail, the check and a replay all come through here.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats.grid import Scale, bins_of
from birdwatch.windows.arms import arm_counts
from birdwatch.windows.decode import Columns
from birdwatch.windows.features import feature_counts
from birdwatch.windows.inputs import NOTHING, Inputs
from birdwatch.windows.joint import joint_bins, largest, meeting, pair_terms
from birdwatch.windows.names import Names
from birdwatch.windows.pane import (
    COUNTERS,
    REASONS,
    Counts,
    Pane,
    Series,
    total,
)
from birdwatch.windows.segments import Partition, partitions
from birdwatch.windows.store import Extreme
from birdwatch.windows.tally import tallies

__all__ = ["Built", "Grid", "build", "join_columns"]

Ints = NDArray[np.int64]

_of_whom: Final = attrgetter("model", "version")


class Grid(NamedTuple):
    """How scores are counted: where they may lie, and the unit of a large difference."""

    scale: Scale
    unit: float


class Built(NamedTuple):
    """A pane, its largest disagreements, and how many rows of each stream were there twice."""

    pane: Pane
    extremes: list[Extreme]
    duplicates: dict[str, int]


def join_columns(parts: list[Columns]) -> Columns:
    """Put columns of the same fields one after the other."""
    return parts[0] if len(parts) == 1 else {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def build(
    streams: dict[str, Columns],
    names: Names,
    grid: Grid,
    champion: str = "",
    canary: str = "",
    inputs: Inputs = NOTHING,
    *,
    whole: bool = True,
) -> Built:
    """Count all that arrived for one pane.

    Parameters
    ----------
    streams
        Columns by stream (see `birdwatch.windows.decode.COUNTED`); streams without rows may be left out.
    names
        The numbers that stand for (model, version).
    grid
        How scores are counted.
    champion
        The model with which the others are compared, and which is compared with the canary; may be empty.
    canary
        The canary, where it writes to ``scores``; all that is on the stream ``canary`` is one in any case.
    inputs
        What is watched of the requests, which were decoded for it.
    whole
        Whether these are all rows of the pane. A part of them leaves to `birdwatch.windows.whole.whole` what depends on
        the others: which categories are rare, and whether the requests are on a stream at all.

    Raises
    ------
    OverflowError
        A sum exceeds 63 bits.
    """
    once = {stream: _once(columns, names) for stream, columns in streams.items() if columns["id"].size}
    duplicates = {stream: streams[stream]["id"].size - columns["id"].size for stream, columns in once.items()}
    inputs = inputs if whole else inputs.uncut()
    work = _Construction(names, grid, canary, partitions(once.get("requests"), inputs.dimensions))
    known = once["requests"]["id"] if "requests" in once else None if whole else np.empty(0, np.int64)
    if "requests" in once:
        asked = once["requests"]["id"]
        work.add_requests(asked)
        work.add_all(feature_counts(once["requests"], inputs.features))
    for stream in ("scores", "canary"):
        if stream in once:
            work.add_scores(once[stream], stream, known)
    if "metrics" in once:
        work.add_decisions(once["metrics"])
    if "outcomes" in once:
        work.add_outcomes(once["outcomes"])
    extremes = work.add_pairs(champion)
    return Built(work.pane(), extremes, duplicates)


class _Construction:
    """A pane in the making: histograms as they come, and the finite scores of each model for the join."""

    def __init__(self, names: Names, grid: Grid, canary: str, partitions: list[Partition]) -> None:
        self._names = names
        self._grid = grid
        self._parts: dict[Series, list[Counts]] = {}
        self._scores: dict[str, Columns] = {}
        self._stream_of: dict[str, str] = {}
        self._canaries: set[str] = {canary}
        self._partitions = partitions

    def pane(self) -> Pane:
        return {series: total(parts) for series, parts in self._parts.items()}

    def add(self, series: Series, counts: Counts) -> None:
        if counts.bins.size:
            self._parts.setdefault(series, []).append(counts)

    def add_models(
        self,
        measure: str,
        who: Ints,
        bins: Ints,
        partner: str = "",
        amounts: Ints | None = None,
        ids: Ints | None = None,
    ) -> None:
        """Count rows of many models; where the ids of their requests are given, by the segments of every dimension too."""
        pairs = self._names.pairs
        for code, counts in tallies(who, bins, amounts):
            self.add(Series(measure, *pairs[code], partner), counts)
        if ids is None:
            return
        for partition in self._partitions:
            for code, segment, counts in partition.counts_of(ids, who, bins, amounts):
                self.add(Series(measure, *pairs[code], partner, segment), counts)

    def add_all(self, found: Iterable[tuple[Series, Counts]]) -> None:
        for series, counts in found:
            self.add(series, counts)

    def add_requests(self, ids: Ints) -> None:
        bin_ = COUNTERS.index("requests")
        self.count(Series("counts"), requests=ids.size)
        for partition in self._partitions:
            for _, segment, counts in partition.counts_of(ids, np.zeros_like(ids), np.full(ids.size, bin_)):
                self.add(Series("counts", segment=segment), counts)

    def count(self, series: Series, **n: int) -> None:
        self.add(series, Counts.of([COUNTERS.index(name) for name in n], list(n.values())))

    def add_scores(self, columns: Columns, stream: str, requests: Ints | None) -> None:
        ids, who, score, failed = (columns[name] for name in ("id", "who", "score", "error"))
        finite = np.isfinite(score)
        counted = {"events": np.ones_like(finite), "errors": failed, "nulls": ~finite & ~failed}
        rows = np.concatenate([np.flatnonzero(there) for there in counted.values()])
        bins = np.repeat([COUNTERS.index(name) for name in counted], [there.sum() for there in counted.values()])
        self.add_models("counts", who[rows], bins, ids=ids[rows])
        if requests is not None:
            strange = who[~np.isin(ids, requests)]
            self.add_models("counts", strange, np.full(strange.size, COUNTERS.index("orphans")))
        self.add_models("score", who[finite], bins_of(score[finite], self._grid.scale), ids=ids[finite])
        self._add_seconds("latency.queue", who, columns["queue_seconds"])
        self._add_seconds("latency.model", who, columns["elapsed_seconds"])
        self._scores[stream] = columns
        seen = {self._names.pairs[code][0] for code in np.flatnonzero(np.bincount(who)).tolist()}
        self._stream_of |= dict.fromkeys(seen, stream)
        if stream == "canary":
            self._canaries |= seen

    def add_decisions(self, columns: Columns) -> None:
        self.count(Series("counts"), decisions=columns["id"].size, sla_misses=int((~columns["within_sla"]).sum()))
        reasons = np.array([REASONS.index(reason) for reason in columns["reason"].tolist()], dtype=np.int64)
        selection = (columns["tier"] + 1) * 16 + reasons  # as `selection_bin` says, for many
        self.add_models("selection", columns["who"], selection)
        self._add_seconds("latency.answer", columns["who"], columns["latency_seconds"])
        self.add_all(arm_counts(columns, self._names))

    def add_outcomes(self, columns: Columns) -> None:
        truth = np.where(np.isnan(columns["label"]), columns["reward"], columns["label"])
        self.count(Series("counts"), outcomes=truth.size, positives=int((truth > 0).sum()))

    def add_pairs(self, champion: str) -> list[Extreme]:
        """Join each challenger with the champion, and the champion with each canary; give the largest differences."""
        if champion not in self._stream_of:
            return []
        others = self._stream_of.keys() - {champion}
        found = self._add_pairs_with(champion, others - self._canaries)
        for canary in sorted(others & self._canaries):
            found += self._add_pairs_with(canary, {champion})
        return sorted(found, key=_of_whom)

    def _add_pairs_with(self, partner: str, models: AbstractSet[str]) -> list[Extreme]:
        """Join models of one stream with one partner by request, and add up their differences."""
        if not models:
            return []
        (columns, ours), (others, theirs) = self._rows_of(models), self._rows_of({partner})
        met, at = meeting(columns["id"][ours], others["id"][theirs])
        rows = ours[met]
        ids, who, score = (columns[name][rows] for name in ("id", "who", "score"))
        other = others["score"][theirs[at]]
        with np.errstate(over="ignore"):  # the difference of two that are near the largest there are is infinite
            difference = score - other
        self.add_models("difference", who, bins_of(difference), partner, ids=ids)
        terms = pair_terms(who, difference, self._grid.unit)
        which = np.repeat(np.arange(len(terms)), met.size)
        self.add_models("pair", np.tile(who, len(terms)), which, partner, terms.ravel(), np.tile(ids, len(terms)))
        if self._grid.scale == "probability":
            apart = bins_of(score, "probability") - bins_of(other, "probability")
            self.add_models("apart", who, apart, partner, ids=ids)
        self.add_models("joint", who, joint_bins(score, other, self._grid.scale), partner)
        names = columns["name"]
        extremes = []
        for i in largest(who, difference, names, rows).tolist():
            model, version = self._names.pairs[who[i]]
            extremes.append(Extreme(model, version, partner, names[rows[i]].decode(), float(score[i]), float(other[i])))
        return extremes

    def _rows_of(self, models: AbstractSet[str]) -> tuple[Columns, Ints]:
        """Give the columns in which models are, all in the same, and the rows in which their scores are finite."""
        columns = self._scores[self._stream_of[next(iter(models))]]
        wanted = np.array([model in models for model, _ in self._names.pairs], dtype=np.bool_)
        return columns, np.flatnonzero(wanted[columns["who"]] & np.isfinite(columns["score"]))

    def _add_seconds(self, measure: str, who: Ints, seconds: NDArray[np.float64]) -> None:
        known = np.isfinite(seconds)
        self.add_models(measure, who[known], bins_of(seconds[known]))


def _once(columns: Columns, names: Names) -> Columns:
    """Keep one row of each request (and model): the earliest, and of equals the same one in whatever order they came."""
    identity = columns["id"]
    if "who" in columns and "score" in columns:
        place = {model: number for number, model in enumerate(sorted({model for model, _ in names.pairs}))}
        rank = np.array([place[model] for model, _ in names.pairs], dtype=np.int64)
        # Mixing the model's rank into the hash keeps one key a row, which sorts fast.
        identity = identity ^ (rank[columns["who"]] * np.int64(0x1E3779B97F4A7C15 >> 1))
    ordered = np.sort(identity)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not twice.size:
        return columns
    repeated = twice[np.minimum(np.searchsorted(twice, identity), twice.size - 1)] == identity
    rows = np.flatnonzero(repeated)
    # Sorted by what they say, not by when they came: that would differ from run to run.
    rest = sorted(set(columns) - {"id", "name", "who", "ts", "arms"})
    keys = [
        np.nan_to_num(c, nan=np.inf) if c.dtype == np.float64 else c for c in (columns[name][rows] for name in rest)
    ]
    # Numbers that stand for names are given as they come: their names have the order.
    for numbers, known in (("arms", names.arms), ("who", names.pairs)):
        if numbers in columns:
            keys.append(_ranks(known)[columns[numbers][rows]])
    if "ts" in columns:
        keys.append(columns["ts"][rows])
    keys.append(identity[rows])
    ranked = rows[np.lexsort(keys)]
    heads = np.ones(ranked.size, dtype=np.bool_)
    heads[1:] = identity[ranked][1:] != identity[ranked][:-1]
    kept = ~repeated
    kept[ranked[heads]] = True
    return {name: values[kept] for name, values in columns.items()}


def _ranks(known: Sequence[Any]) -> NDArray[np.int64]:
    """Give the place of each of several different things in their order."""
    return np.argsort(np.array(sorted(range(len(known)), key=known.__getitem__)))
