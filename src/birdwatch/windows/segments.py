"""Segments: the models seen in parts, by what the requests have.

A segment is written ``NAME=VALUE``, where ``NAME`` is a dimension of the settings. A category's value is its text (see
`birdwatch.windows.pane.label`), `OTHER` the rare ones, `MISSING` what a request did not say or whose request is not
there. A number falls into a coarse cell of the grid, ``LOW..HIGH``, two to an octave: cells add up over panes like all
else, and a reader folds them into bands of about equal weight. Where the settings name edges, its value is a fixed
band: ``under 500``, ``500 to 1000``, ``from 1000``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats.grid import bins_of, lower_edges
from birdwatch.windows.decode import Columns
from birdwatch.windows.features import categories
from birdwatch.windows.inputs import Input
from birdwatch.windows.pane import MISSING, Counts, Pane, Series, counters, total
from birdwatch.windows.tally import tallies

__all__ = ["CELL_SHIFT", "Partition", "bands", "fold", "limits", "of_dimension", "partitions", "segments"]

CELL_SHIFT: Final = 6
"""A cell drops so many bits of the grid: one bit of the mantissa stays, so that two cells make an octave."""

_LARGEST: Final = 2.0**40
_SMALLEST: Final = 2.0**-20


class Partition(NamedTuple):
    """A dimension's segments, and to which of them each request belongs.

    Attributes
    ----------
    segments
        As series name them.
    missing
        The place of the segment of requests that are not there.
    ids, codes
        The requests' ids, rising, and the place of each one's segment.
    """

    segments: list[str]
    missing: int
    ids: NDArray[np.int64]
    codes: NDArray[np.int64]

    def codes_of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the place of the segment to which each request belongs."""
        if not self.ids.size:
            return np.full(ids.size, self.missing, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.ids, ids), self.ids.size - 1)
        return np.where(self.ids[at] == ids, self.codes[at], self.missing)

    def counts_of(
        self,
        ids: NDArray[np.int64],
        groups: NDArray[np.int64],
        bins: NDArray[np.int64],
        amounts: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[int, str, Counts]]:
        """Count rows, whose requests are ``ids``, for each group and each segment that occurs.

        Parameters
        ----------
        ids, groups, bins, amounts
            As for `birdwatch.windows.tally.tallies`, with the request of each row.
        """
        n = len(self.segments)
        for both, counts in tallies(groups * n + self.codes_of(ids), bins, amounts):
            group, code = divmod(both, n)
            yield group, self.segments[code], counts


def partitions(requests: Columns | None, dimensions: Sequence[Input]) -> list[Partition]:
    """Sort the requests of a pane into the segments of each dimension.

    Parameters
    ----------
    requests
        One row a request; None where there are none.
    """
    found = []
    for one in dimensions:
        ids, codes, values = np.empty(0, np.int64), np.empty(0, np.int64), [MISSING]
        if requests is not None:
            order = np.argsort(requests["id"])
            ids, column = requests["id"][order], requests[one.column][order]
            codes, values = categories(column, one.most) if one.kind == "category" else _parts(column, one.edges)
        if MISSING not in values:
            values = [*values, MISSING]
        found.append(Partition([f"{one.name}={value}" for value in values], values.index(MISSING), ids, codes))
    return found


def _parts(column: NDArray[np.float64], edges: Sequence[float]) -> tuple[NDArray[np.int64], list[str]]:
    """Sort numbers into cells, or into the bands between edges; an edge belongs to the band above it."""
    there = np.isfinite(column)
    parts = np.searchsorted(edges, column, side="right") if edges else _cells(np.where(there, column, 0.0))
    numbers, where = np.unique(parts[there], return_inverse=True)
    codes = np.full(column.size, numbers.size, dtype=np.int64)
    codes[there] = where
    named = [_band(edges, n) if edges else _cell(n) for n in numbers.tolist()]
    return codes, [*named, MISSING]


def _cells(values: NDArray[np.float64]) -> NDArray[np.int64]:
    near = np.where(np.abs(values) < _SMALLEST, 0.0, np.clip(values, -_LARGEST, _LARGEST))
    return bins_of(near) >> CELL_SHIFT


def _cell(number: int) -> str:
    """Name a cell by its edges.

    Examples
    --------
    >>> [_cell(int(number)) for number in _cells(np.array([0.0, 1.2, -700.0, 1e-9, 5e15]))]
    ['0..0', '1..1.5', '-768..-512', '0..0', '1099511627776..inf']
    """
    if number == 0:
        return "0..0"
    low, high = lower_edges([number << CELL_SHIFT, (number + 1) << CELL_SHIFT]).tolist()
    return _between(-math.inf if high <= -_LARGEST else low, math.inf if low >= _LARGEST else high)


def _between(low: float, high: float) -> str:
    return f"{_text(low)}..{_text(high)}"


def _text(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)


def _band(edges: Sequence[float], number: int) -> str:
    """Name a band between edges.

    Examples
    --------
    >>> [_band([500.0, 1000.0], number) for number in range(3)]
    ['under 500', '500 to 1000', 'from 1000']
    """
    if number == 0:
        return f"under {_text(edges[0])}"
    if number == len(edges):
        return f"from {_text(edges[-1])}"
    return f"{_text(edges[number - 1])} to {_text(edges[number])}"


def segments(pane: Mapping[Series, Counts]) -> dict[str, list[str]]:
    """Name the dimensions of a pane, each with its segments: numbers in their order, the rest by name.

    Examples
    --------
    >>> segments({Series("counts", segment=f"size={part}"): Counts.of([0]) for part in ("12..16", "2..3", "(missing)")})
    {'size': ['size=2..3', 'size=12..16', 'size=(missing)']}
    """
    found: dict[str, set[str]] = {}
    for series in pane:
        name, is_one, _ = series.segment.partition("=")
        if is_one and series.measure == "counts":
            found.setdefault(name, set()).add(series.segment)
    return {name: sorted(found[name], key=_order) for name in sorted(found)}


def _order(segment: str) -> tuple[float, str]:
    low, _ = limits(segment) or (math.inf, math.inf)
    return low, segment


def limits(segment: str) -> tuple[float, float] | None:
    """Give the edges of a number's cell or folded band; None for every other segment.

    Examples
    --------
    >>> limits("distance=512..768"), limits("origin=JFK"), limits("distance=(missing)")
    ((512.0, 768.0), None, None)
    """
    low, is_cell, high = segment.partition("=")[2].partition("..")
    try:
        return (float(low), float(high)) if is_cell else None
    except ValueError:
        return None


def of_dimension(pane: Mapping[Series, Counts], name: str) -> Pane:
    """Give what was counted by the segments of one dimension."""
    return {series: counts for series, counts in pane.items() if series.segment.startswith(f"{name}=")}


def bands(reference: Mapping[Series, Counts], name: str, k: int = 4) -> list[float]:
    """Give the edges of the bands into which a number's cells fold: each has about a k-th of the reference's requests.

    Parameters
    ----------
    reference
        The pane that decides; where it has no requests by segment, the models' events decide.
    k
        How many bands at most; there are fewer where single cells are heavier.

    Returns
    -------
    list of float
        From -inf to inf, rising; without any cell of this dimension, nothing.

    Examples
    --------
    >>> cells = {"0..0": 1, "1..1.5": 10, "1.5..2": 10, "2..3": 10, "3..4": 9}
    >>> bands({Series("counts", segment=f"x={cell}"): Counts.of([0], [n]) for cell, n in cells.items()}, "x", 2)
    [-inf, 2.0, inf]
    """
    if k < 1:
        raise ValueError(f"there is at least one band, not {k}")
    requests: dict[tuple[float, float], int] = {}
    events: dict[tuple[float, float], int] = {}
    for series, counts in of_dimension(reference, name).items():
        cell = limits(series.segment)
        if series.measure == "counts" and cell is not None:
            counted = counters(counts)
            tally, n = (events, counted["events"]) if series.model else (requests, counted["requests"])
            tally[cell] = tally.get(cell, 0) + n
    weights = requests or events
    if not weights:
        return []
    cells = sorted(weights)
    below = np.cumsum([weights[cell] for cell in cells])
    # An edge before the cell that follows the one whose end is nearest to the quantile.
    wanted = [below[-1] * part / k for part in range(1, k)]
    ends = {int(np.abs(below - target).argmin()) for target in wanted} - {len(cells) - 1}
    return [-math.inf, *(cells[end + 1][0] for end in sorted(ends)), math.inf]


def fold(pane: Mapping[Series, Counts], name: str, edges: Sequence[float]) -> Pane:
    """Give what was counted by the segments of one dimension, its cells added up into the bands between ``edges``.

    A cell belongs to the band in which it begins. What is no cell (missing, or a band that the settings fix) stays.

    Examples
    --------
    >>> cells = {Series("score", "m", segment=f"x={cell}"): Counts.of([5]) for cell in ("1..1.5", "3..4", "4..6")}
    >>> {s.segment: int(c.counts.sum()) for s, c in fold(cells, "x", [-math.inf, 2.0, math.inf]).items()}
    {'x=-inf..2': 1, 'x=2..inf': 2}
    """
    parts: dict[Series, list[Counts]] = {}
    for series, counts in of_dimension(pane, name).items():
        cell = limits(series.segment)
        segment = series.segment
        if cell is not None and len(edges) > 1:
            at = min(max(int(np.searchsorted(edges, cell[0], side="right")), 1), len(edges) - 1)
            segment = f"{name}={_between(edges[at - 1], edges[at])}"
        parts.setdefault(series._replace(segment=segment), []).append(counts)
    return {series: total(found) for series, found in sorted(parts.items())}
