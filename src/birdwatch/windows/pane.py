"""A pane: all that is known of one stretch of event time, as sums of integers.

A pane maps each `Series` (what is measured, of which model) to `Counts` (how many fell in which bin). Panes merge by
addition. Every sum is an integer, a count or fixed point, because floating-point addition depends on order and integers
do not: the same records in any order, on any number of machines, give the same panes bit for bit.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COUNTERS",
    "FIXED_POINT",
    "JOINT_SHIFT",
    "LATENCIES",
    "MISSING",
    "OTHER",
    "PAIR_CLIP",
    "PAIR_COUNTERS",
    "PRESENCE",
    "PROPENSITY_PARTS",
    "REASONS",
    "Counts",
    "Pane",
    "Series",
    "counters",
    "label",
    "merge",
    "selection_bin",
    "selection_of",
    "starts_of",
    "total",
]

COUNTERS: Final = (
    "requests",
    "events",
    "errors",
    "nulls",
    "decisions",
    "sla_misses",
    "outcomes",
    "positives",
    "orphans",
)
"""What the measure ``counts`` counts, by bin: bin 0 is requests, and so on. New names go to the end."""

PAIR_COUNTERS: Final = ("n", "sum", "sum_of_squares", "clipped")
"""What the measure ``pair`` sums, by bin: how many requests both models scored, Σd and Σd² in fixed point."""

LATENCIES: Final = ("latency.queue", "latency.model", "latency.answer")
"""The stages of latency: waiting for the model, inside it, and from the gateway's receipt to the answer."""

REASONS: Final = ("first choice", "timed out", "explored", "override", "all failed", "default")
"""Why a model was selected, in the order of their codes in `selection_bin`."""

FIXED_POINT: Final = 2**20
"""Parts of a score's unit: a difference d is summed as round(d / unit * 2**20)."""

PAIR_CLIP: Final = 2**8
"""Differences beyond so many units are clipped and counted: one wild score must not drown a sum."""

JOINT_SHIFT: Final = 4
"""The joint histogram drops this many bits of the grid: bins 12 % wide are enough for a picture."""


PRESENCE: Final = ("missing", "wrong type", "present")
"""What the measure ``missing.NAME`` counts of requests, by bin."""

PROPENSITY_PARTS: Final = 2**10
"""A propensity θ is counted in the bin 2 * round(θ * 1024), or in the next one where that arm was drawn."""

OTHER: Final = "(other)"
"""The categories beyond the most frequent of a pane; a category whose own text begins so is written as `label` says."""

MISSING: Final = "(missing)"
"""The part of a segment's dimension where a request did not say, said something else, or is not known itself."""

_DENSE: Final = 4  # places for each number, at the most


class Series(NamedTuple):
    """What is measured, of whom.

    ==================  ==============================================================================================
    ``counts``          `COUNTERS`, of a model or of the fleet
    ``score``           scores on the grid
    ``latency.*``       seconds on the grid, see `LATENCIES`
    ``selection``       which tier answered and why, see `selection_bin`
    ``propensity``      of ``model`` as an arm: how likely it was and whether it was drawn, see `PROPENSITY_PARTS`
    ``pair``            `PAIR_COUNTERS` of ``model`` minus ``partner``, by request
    ``difference``      that difference on the grid
    ``apart``           how many bins lie between two probabilities: where one has twice the odds, about a hundred
    ``joint``           both scores on a coarse grid
    ``feature.NAME``    a watched number of the requests, on the real grid
    ``category.NAME``   how many requests have the category ``segment``, in bin 0
    ``missing.NAME``    `PRESENCE` of a watched input
    ==================  ==============================================================================================

    An empty model is the fleet, an empty segment everything. Beside everything, ``counts``, ``score``, ``pair``,
    ``difference`` and ``apart`` may be there by parts of it, one for each ``segment``, ``NAME=VALUE``: whoever adds up
    must leave those out.
    """

    measure: str
    model: str = ""
    version: str = ""
    partner: str = ""
    segment: str = ""


class Counts(NamedTuple):
    """A sparse histogram: ``counts[i]`` events in bin ``bins[i]``; bins rise strictly, no count is 0."""

    bins: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, bins: ArrayLike, counts: ArrayLike | None = None) -> "Counts":
        """Add up counts by bin; without ``counts``, one for each bin given.

        Examples
        --------
        >>> Counts.of([3, 1, 3])
        Counts(bins=array([1, 3]), counts=array([1, 2]))
        """
        each = np.asarray(bins, dtype=np.int64).ravel()
        return cls(*_sums(each, None if counts is None else np.asarray(counts, dtype=np.int64).ravel()))


def _sums(bins: NDArray[np.int64], counts: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add up by bin, and sort only where bins lie so far apart that a place for each in between would cost more."""
    low, high = (int(bins.min()), int(bins.max())) if bins.size else (0, 0)
    if low < 0 <= high and high - low > bins.size:
        # Numbers of both signs lie in two clusters, far apart on the grid: one is laid between the other.
        sign = bins >> 63
        folded = bins ^ sign
        folded <<= 1
        folded -= sign
        places, sums = _sums(folded, counts)
        unfolded = (places >> 1) ^ -(places & 1)
        order = np.argsort(unfolded)
        return unfolded[order], sums[order]
    if high - low < _DENSE * bins.size:
        places = bins - low
        if counts is None:
            sums = np.bincount(places)
        else:
            sums = np.zeros(high - low + 1, dtype=np.int64)
            np.add.at(sums, places, counts)
        found = np.flatnonzero(sums)
        return found + low, sums[found]
    if counts is None:
        ordered = np.sort(bins)
        edges = _edges(ordered)
        return ordered[edges[:-1]], np.diff(edges)
    order = np.argsort(bins)
    ordered = bins[order]
    first = _edges(ordered)[:-1]
    sums = np.add.reduceat(counts[order], first) if first.size else counts
    kept = sums != 0
    return ordered[first][kept], sums[kept]


def _edges(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Say where each run of equal numbers begins, and where the last one ends.

    numpy's `unique` does the like, but takes long over the few bins that most panes have.
    """
    changes = np.ones(ordered.size + 1, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=changes[1:-1])
    return np.flatnonzero(changes)


Pane = dict[Series, Counts]


def starts_of(times: NDArray[np.float64], pane_seconds: int) -> NDArray[np.int64]:
    """Give the start of the pane in which each event time lies, in Unix seconds.

    Examples
    --------
    >>> starts_of(np.array([59.9, 60.0, -0.1]), 60).tolist()
    [0, 60, -60]
    """
    return np.floor_divide(times, pane_seconds).astype(np.int64) * pane_seconds


def merge(panes: Iterable[Mapping[Series, Counts]]) -> Pane:
    """Add panes up, in whatever order they come."""
    parts: dict[Series, list[Counts]] = {}
    for pane in panes:
        for series, counts in pane.items():
            parts.setdefault(series, []).append(counts)
    return {series: total(found) for series, found in parts.items()}


def total(parts: Iterable[Counts]) -> Counts:
    """Add histograms up.

    Examples
    --------
    >>> total([Counts.of([1, 2]), Counts.of([2])])
    Counts(bins=array([1, 2]), counts=array([1, 2]))
    """
    found = list(parts)
    if len(found) == 1:
        return found[0]
    if not found:
        return Counts.of([])
    return Counts.of(np.concatenate([p.bins for p in found]), np.concatenate([p.counts for p in found]))


def counters(counts: Counts | None, names: tuple[str, ...] = COUNTERS) -> dict[str, int]:
    """Read counters by name, 0 where nothing was counted.

    Examples
    --------
    >>> counters(Counts.of([0, 3], [10, 2]))["requests"]
    10
    """
    values = dict.fromkeys(names, 0)
    if counts is not None:
        values.update((names[b], int(c)) for b, c in zip(counts.bins.tolist(), counts.counts.tolist(), strict=True))
    return values


def label(text: str) -> str:
    r"""Write a category so that it is never taken for `OTHER` or `MISSING`.

    Examples
    --------
    >>> label("JFK"), label("(other)")
    ('JFK', '\\(other)')
    """
    return "\\" + text if text.startswith(("(", "\\")) else text


def selection_bin(tier: int, reason: str) -> int:
    """Give the bin of the measure ``selection``: the tier that answered (-1 is the default) and why.

    Examples
    --------
    >>> selection_of(selection_bin(1, "timed out"))
    (1, 'timed out')
    """
    return (tier + 1) * 16 + REASONS.index(reason)


def selection_of(bin_: int) -> tuple[int, str]:
    """Read a bin of the measure ``selection`` back as (tier, reason)."""
    return bin_ // 16 - 1, REASONS[bin_ % 16]
