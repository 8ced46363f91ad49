"""From columns to a pane: duplicates dropped, models joined by request, everything counted.

A pure function of what arrived, in whatever order: the live tail, the check and a replay all come through here.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats.grid import Scale, bins_of
from birdwatch.windows.arms import arm_counts
from birdwatch.windows.decode import Columns
from birdwatch.windows.features import feature_counts
from birdwatch.windows.inputs import NOTHING, Inputs
from birdwatch.windows.names import Names
from birdwatch.windows.pane import (
    COUNTERS,
    FIXED_POINT,
    JOINT_SHIFT,
    PAIR_CLIP,
    REASONS,
    Counts,
    Pane,
    Series,
    total,
)
from birdwatch.windows.segments import Partition, partitions
from birdwatch.windows.store import Extreme

__all__ = ["EXTREMES", "JOINT_SPAN", "Built", "Grid", "build", "join_columns", "joint_bins"]

Ints = NDArray[np.int64]

EXTREMES: Final = 5
"""How many of the largest disagreements of a pair are kept, by pane."""

JOINT_SPAN: Final = 2**20
"""A joint bin is (coarse bin of the model) * JOINT_SPAN + (coarse bin of the partner), both moved to be positive."""


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
        work.add_whole_and_parts(Series("counts"), asked, np.full(asked.size, COUNTERS.index("requests")))
        work.add_all(feature_counts(once["requests"], inputs.features))
    for stream in ("scores", "canary"):
        if stream in once:
            work.add_scores(once[stream], stream, known)
    if "metrics" in once:
        work.add_decisions(once["metrics"])
    if "outcomes" in once:
        work.add_outcomes(once["outcomes"])
    extremes = [extreme for model, partner in work.pairs(champion) for extreme in work.add_pair(model, partner)]
    return Built(work.pane(), extremes, duplicates)


class _Construction:
    """A pane in the making: histograms as they come, and the finite scores of each model for the join."""

    def __init__(self, names: Names, grid: Grid, canary: str, partitions: list[Partition]) -> None:
        self._names = names
        self._grid = grid
        self._parts: dict[Series, list[Counts]] = {}
        self._by_model: dict[str, Columns] = {}
        self._ids: dict[str, NDArray[np.bytes_]] = {}
        self._canaries: set[str] = {canary}
        self._partitions = partitions

    def pane(self) -> Pane:
        return {series: total(parts) for series, parts in self._parts.items()}

    def add(self, series: Series, counts: Counts) -> None:
        if counts.bins.size:
            self._parts.setdefault(series, []).append(counts)

    def add_parts(self, name: Series, ids: Ints, bins: Ints, amounts: Ints | None = None) -> None:
        """Count rows, whose requests are ``ids``, by the segments of every dimension."""
        for partition in self._partitions:
            for segment, counts in partition.counts_of(ids, bins, amounts):
                self.add(name._replace(segment=segment), counts)

    def add_whole_and_parts(self, name: Series, ids: Ints, bins: Ints) -> None:
        self.add(name, Counts.of(bins))
        self.add_parts(name, ids, bins)

    def add_all(self, found: Iterable[tuple[Series, Counts]]) -> None:
        for series, counts in found:
            self.add(series, counts)

    def count(self, series: Series, **n: int) -> None:
        self.add(series, Counts.of([COUNTERS.index(name) for name in n], list(n.values())))

    def pairs(self, champion: str) -> list[tuple[str, str]]:
        """Name who is compared with whom: each challenger with the champion, the champion with each canary."""
        if champion not in self._by_model:
            return []
        others = [model for model in sorted(self._by_model) if model != champion]
        challengers = [(model, champion) for model in others if model not in self._canaries]
        return challengers + [(champion, model) for model in others if model in self._canaries]

    def add_scores(self, columns: Columns, stream: str, requests: Ints | None) -> None:
        finite = np.isfinite(columns["score"])
        known = np.isin(columns["id"], requests) if requests is not None else np.ones_like(finite)
        finite_of: dict[str, list[Ints]] = {}
        for code, mine in _rows_of_each(columns["who"]):
            who = self._names.pairs[code]
            ids, score = columns["id"][mine], columns["score"][mine]
            sound, failed = finite[mine], columns["error"][mine]
            counted = {"events": np.ones_like(sound), "errors": failed, "nulls": ~sound & ~failed}
            self.count(
                Series("counts", *who),
                **{name: int(rows.sum()) for name, rows in counted.items()},
                orphans=int((~known[mine]).sum()),
            )
            if self._partitions:
                self.add_parts(
                    Series("counts", *who),
                    np.concatenate([ids[rows] for rows in counted.values()]),
                    np.repeat([COUNTERS.index(name) for name in counted], [rows.sum() for rows in counted.values()]),
                )
            self.add_whole_and_parts(Series("score", *who), ids[sound], bins_of(score[sound], self._grid.scale))
            self._add_seconds(Series("latency.queue", *who), columns["queue_seconds"][mine])
            self._add_seconds(Series("latency.model", *who), columns["elapsed_seconds"][mine])
            finite_of.setdefault(who[0], []).append(mine[sound])
        for model, versions in finite_of.items():
            rows = np.concatenate(versions)
            rows = rows[np.argsort(columns["id"][rows])]
            self._by_model[model] = {name: columns[name][rows] for name in ("id", "who", "score")} | {"row": rows}
            self._ids[model] = columns["name"]
            if stream == "canary":
                self._canaries.add(model)

    def add_decisions(self, columns: Columns) -> None:
        self.count(Series("counts"), decisions=columns["id"].size, sla_misses=int((~columns["within_sla"]).sum()))
        reasons = np.array([REASONS.index(reason) for reason in columns["reason"].tolist()], dtype=np.int64)
        selection = (columns["tier"] + 1) * 16 + reasons  # as `selection_bin` says, for many
        for code in _codes(columns["who"]):
            who = self._names.pairs[code]
            mine = columns["who"] == code
            self.add(Series("selection", *who), Counts.of(selection[mine]))
            self._add_seconds(Series("latency.answer", *who), columns["latency_seconds"][mine])
        self.add_all(arm_counts(columns, self._names))

    def add_outcomes(self, columns: Columns) -> None:
        truth = np.where(np.isnan(columns["label"]), columns["reward"], columns["label"])
        self.count(Series("counts"), outcomes=truth.size, positives=int((truth > 0).sum()))

    def add_pair(self, model_name: str, partner_name: str) -> list[Extreme]:
        """Join two models by request, add up their differences, and give the largest."""
        model, partner = self._by_model[model_name], self._by_model[partner_name]
        if not partner["id"].size:
            return []
        at = np.minimum(np.searchsorted(partner["id"], model["id"]), partner["id"].size - 1)
        met = partner["id"][at] == model["id"]
        extremes = []
        for code in _codes(model["who"][met]):
            name, version = self._names.pairs[code]
            where = (name, version, partner_name)
            mine = met & (model["who"] == code)
            ours, theirs = model["score"][mine], partner["score"][at[mine]]
            with np.errstate(over="ignore"):  # the difference of two that are near the largest there are is infinite
                difference = ours - theirs
            self._add_difference(where, model["id"][mine], difference)
            if self._grid.scale == "probability":
                apart = bins_of(ours, "probability") - bins_of(theirs, "probability")
                self.add_whole_and_parts(Series("apart", *where), model["id"][mine], apart)
            self.add(Series("joint", *where), Counts.of(joint_bins(ours, theirs, self._grid.scale)))
            rows = model["row"][mine]
            for i, name in _largest(difference, rows, self._ids[model_name]):
                extremes.append(Extreme(*where, name, float(ours[i]), float(theirs[i])))
        return extremes

    def _add_difference(self, where: tuple[str, str, str], ids: Ints, difference: NDArray[np.float64]) -> None:
        self.add_whole_and_parts(Series("difference", *where), ids, bins_of(difference))
        terms = self._pair_terms(difference)
        self.add(Series("pair", *where), Counts.of(range(len(terms)), [_integer_sum(term) for term in terms]))
        if self._partitions:
            every, which = np.tile(ids, len(terms)), np.repeat(range(len(terms)), ids.size)
            self.add_parts(Series("pair", *where), every, which, np.concatenate(terms))

    def _add_seconds(self, series: Series, seconds: NDArray[np.float64]) -> None:
        known = seconds[np.isfinite(seconds)]
        if known.size:
            self.add(series, Counts.of(bins_of(known)))

    def _pair_terms(self, difference: NDArray[np.float64]) -> list[Ints]:
        """Give what each request adds to each of `PAIR_COUNTERS`."""
        units = difference / self._grid.unit
        clipped = np.clip(units, -PAIR_CLIP, PAIR_CLIP)
        terms = (
            np.ones_like(units),
            np.rint(clipped * FIXED_POINT),
            np.ceil(clipped * clipped * FIXED_POINT),
            clipped != units,
        )
        return [term.astype(np.int64) for term in terms]


def _codes(who: Ints) -> list[int]:
    """Name the numbers of models that are there, in order: they are small."""
    found: list[int] = np.flatnonzero(np.bincount(who)).tolist()
    return found


def _rows_of_each(who: Ints) -> Iterator[tuple[int, Ints]]:
    """Give each number of a model that is there, in order, with its rows: sorted once, not looked for by each of a thousand."""
    order = np.argsort(who, kind="stable")
    ends = np.cumsum(np.bincount(who)).tolist()
    for code, (begin, end) in enumerate(pairwise([0, *ends])):
        if begin < end:
            yield code, order[begin:end]


def _largest(difference: NDArray[np.float64], rows: Ints, ids: NDArray[np.bytes_]) -> list[tuple[int, str]]:
    """Say where the largest differences are and of which request, the largest first, of equals the first by name."""
    size = np.abs(difference)
    # Names are compared of those alone that can be among them: texts sort slowly.
    least = np.partition(size, -EXTREMES)[-EXTREMES] if size.size > EXTREMES else 0.0
    near = np.flatnonzero(size >= least)
    names = ids[rows[near]]
    first = np.lexsort([names, -size[near]])[:EXTREMES]
    return [(int(near[i]), names[i].decode()) for i in first]


def joint_bins(model: NDArray[np.float64], partner: NDArray[np.float64], scale: Scale) -> NDArray[np.int64]:
    """Give the bin of the coarse joint histogram for each pair of scores."""
    ours, theirs = ((bins_of(scores, scale) >> JOINT_SHIFT) + JOINT_SPAN // 2 for scores in (model, partner))
    return ours * JOINT_SPAN + theirs


def _integer_sum(whole: Ints) -> int:
    """Add whole numbers exactly; numpy's int64 would wrap around in silence."""
    if whole.size and whole.size * int(np.abs(whole).max()) >= 2**62:
        raise OverflowError(f"a sum of {whole.size} differences exceeds 63 bits: set a larger unit or shorter panes")
    return int(whole.sum())


def _once(columns: Columns, names: Names) -> Columns:
    """Keep one row of each request (and model): the earliest, and of equals the same one in whatever order they came."""
    identity = columns["id"]
    if "who" in columns and "score" in columns:
        place = {model: number for number, model in enumerate(sorted({model for model, _ in names.pairs}))}
        rank = np.array([place[model] for model, _ in names.pairs], dtype=np.int64)
        # Mixing the model's rank into the hash keeps one key a row, which sorts fast.
        identity = identity ^ (rank[columns["who"]] * np.int64(0x1E3779B97F4A7C15 >> 1))
    ordered = np.sort(identity)
    if not (ordered[1:] == ordered[:-1]).any():
        return columns
    unique, first, times = np.unique(identity, return_index=True, return_counts=True)
    repeated = np.isin(identity, unique[times > 1])
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
    kept = np.sort(np.concatenate([first[times == 1], ranked[heads]]))
    return {name: values[kept] for name, values in columns.items()}


def _ranks(known: Sequence[Any]) -> NDArray[np.int64]:
    """Give the place of each of several different things in their order."""
    return np.argsort(np.array(sorted(range(len(known)), key=known.__getitem__)))
