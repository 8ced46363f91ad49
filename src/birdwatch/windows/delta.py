"""Panes on their way from a lane to the judge: what a lane has counted, as records that add up."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
import numpy as np

from birdwatch.deltas import ExtremeDelta, PaneDelta, SeriesDelta
from birdwatch.windows.lane import Counted
from birdwatch.windows.pane import Counts, Pane, Series, merge
from birdwatch.windows.store import Extreme

__all__ = ["LARGEST_BINS", "as_deltas", "extremes_of", "pane_of", "subtract"]

LARGEST_BINS = 15_000
"""Bins in a message: of 20 digits and a count each they stay below what Kafka takes."""


def as_deltas(said: PaneDelta, counted: Counted, most: int = LARGEST_BINS) -> list[PaneDelta]:
    """Say what a lane has counted into a pane since it last spoke of it, in as many messages as it takes.

    Parameters
    ----------
    said
        Of which lane; nothing else is in it.
    counted
        What it has counted.
    most
        How many bins there are in a message.
    """
    built, before = counted.built, counted.before
    pane = built.pane if before is None else subtract(built.pane, before.pane)
    seen = {} if before is None else before.duplicates
    duplicates = {stream: n - seen.get(stream, 0) for stream, n in built.duplicates.items()}
    batches: list[list[SeriesDelta]] = [[]]
    room = most
    for series in _in_pieces(pane, most):
        if len(series.bins) > room:
            batches.append([])
            room = most
        batches[-1].append(series)
        room -= len(series.bins)
    first = msgspec.structs.replace(
        said,
        start=counted.start,
        series=batches[0],
        extremes=None if counted.added else [ExtremeDelta(**extreme._asdict()) for extreme in built.extremes],
        rows=counted.rows,
        late=counted.late,
        duplicates={} if counted.added else {stream: n for stream, n in duplicates.items() if n},
    )
    return [first, *(msgspec.structs.replace(said, start=counted.start, series=batch) for batch in batches[1:])]


def _in_pieces(pane: Mapping[Series, Counts], most: int) -> Iterator[SeriesDelta]:
    for series, counts in sorted(pane.items()):
        for begin in range(0, counts.bins.size, most):
            piece = slice(begin, begin + most)
            yield SeriesDelta(
                **series._asdict(), bins=counts.bins[piece].tolist(), counts=counts.counts[piece].tolist()
            )


def subtract(after: Mapping[Series, Counts], before: Mapping[Series, Counts]) -> Pane:
    """Give what must be added to ``before`` to have ``after``; series that stay as they are are left out.

    Examples
    --------
    >>> one, two = {Series("score", "m"): Counts.of([1, 2])}, {Series("score", "m"): Counts.of([2, 2, 3])}
    >>> subtract(two, one)[Series("score", "m")]
    Counts(bins=array([1, 2, 3]), counts=array([-1,  1,  1]))
    """
    negative = {series: Counts(counts.bins, -counts.counts) for series, counts in before.items()}
    changed = merge([after, negative])
    return {series: counts for series, counts in changed.items() if counts.bins.size}


def pane_of(deltas: Iterable[PaneDelta]) -> Pane:
    """Add up what was said of a pane; series that came to nothing are left out."""
    summed = merge(
        {
            Series(one.measure, one.model, one.version, one.partner, one.segment): Counts(
                np.array(one.bins, dtype=np.int64), np.array(one.counts, dtype=np.int64)
            )
        }
        for delta in deltas
        for one in delta.series
    )
    return {series: counts for series, counts in summed.items() if counts.bins.size}


def extremes_of(deltas: Iterable[PaneDelta], most: int) -> list[Extreme]:
    """Give the largest disagreements of each pair among those that the lanes named last."""
    latest = {delta.lane: delta.extremes for delta in deltas if delta.extremes is not None}
    named = sorted(
        (Extreme(*msgspec.structs.astuple(one)) for of_lane in latest.values() for one in of_lane),
        key=lambda e: (e[:3], -abs(e.score - e.partner_score), e.request_id),
    )
    taken: dict[tuple[str, ...], int] = {}
    found = []
    for extreme in named:
        pair = extreme[:3]
        taken[pair] = taken.get(pair, 0) + 1
        if taken[pair] <= most:
            found.append(extreme)
    return found
