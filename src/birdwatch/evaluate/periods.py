"""Periods, and what they are compared with: others of the same length, from a store and from frozen references."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from birdwatch.detect.duration import parse_duration, parse_moment, say_moment
from birdwatch.detect.reference import DAY, Reference
from birdwatch.windows.pane import Counts, Pane, Series, merge
from birdwatch.windows.store import Store

__all__ = ["Period", "gather", "like", "read_against", "read_period"]

_BLOCKS: Final = 28
_WHOLE: Final = 0.9
"""The part of a block that must have been counted: at night nothing comes, and nothing is counted."""


class Period(NamedTuple):
    """The event times [since, until)."""

    since: int
    until: int

    @property
    def seconds(self) -> int:
        """How long it is."""
        return self.until - self.since

    @property
    def step(self) -> int:
        """How far from it the next like it begins: whole days, so that the hours of the day are the same."""
        return -(-self.seconds // DAY) * DAY

    def __str__(self) -> str:
        """Say it, in UTC."""
        return f"{say_moment(self.since)} to {say_moment(self.until)}"


def read_period(text: str | None, closed: tuple[int, int], *, starts_at: int = 0, pane_seconds: int = 1) -> Period:
    """Read a period: a date is that day, ``A..B`` from one time to another, ``6h`` the last six hours of what was counted.

    Parameters
    ----------
    text
        None is the last day that was counted whole.
    closed
        From when to when there are panes.
    starts_at
        When a day begins, in seconds after midnight UTC: dates stand for that moment.
    pane_seconds
        The period is widened to whole panes.

    Raises
    ------
    ValueError
        It is none of these, or empty.

    Examples
    --------
    >>> str(read_period("2013-06-07", (0, 10), starts_at=8 * 3600))
    '2013-06-07 08:00 to 2013-06-08 08:00'
    >>> read_period("6h", (0, 86_400))
    Period(since=64800, until=86400)
    """
    if text is None:
        end = (closed[1] - starts_at) // DAY * DAY + starts_at
        return Period(end - DAY, end)
    since, there, until = text.partition("..")
    if there:
        first, last = _moment(since, starts_at), _moment(until, starts_at)
    elif text[:1].isdigit() and text[-1:].isalpha():
        first, last = closed[1] - parse_duration(text), float(closed[1])
    elif len(text) == len("2013-06-07"):
        first = _moment(text, starts_at)
        last = first + DAY
    else:
        raise ValueError(
            f"{text!r} is no period: write a date, such as 2013-06-07, or FROM..TO, or 1d for the last day"
        )
    found = Period(int(first // pane_seconds) * pane_seconds, int(-(-last // pane_seconds)) * pane_seconds)
    if found.seconds <= 0:
        raise ValueError(f"{text!r} is empty: it ends before it begins")
    return found


def read_against(text: str | None, period: Period, *, starts_at: int = 0) -> Period:
    """Read with what a period is compared: ``28d`` is so long before it; else as `read_period`.

    By default 28 periods before it.

    Examples
    --------
    >>> read_against(None, Period(864_000, 950_400)).seconds // 86_400, read_against("7d", Period(864_000, 950_400)).since
    (28, 259200)
    """
    if text is None:
        return Period(period.since - _BLOCKS * period.step, period.since)
    if ".." not in text and text[:1].isdigit() and text[-1:].isalpha():
        return Period(int(period.since - parse_duration(text)), period.since)
    return read_period(text, (0, 0), starts_at=starts_at)


def like(against: Period, period: Period) -> list[int]:
    """Give the starts of the stretches in ``against`` that are like the period, and do not overlap it.

    Examples
    --------
    >>> like(Period(0, 3 * 86_400), Period(86_400, 2 * 86_400))
    [0, 172800]
    """
    first = period.since - (period.since - against.since) // period.step * period.step
    starts = range(first, against.until - period.seconds + 1, period.step)
    return [start for start in starts if abs(start - period.since) >= period.seconds]


def gather(store: Store, period: Period, against: Period, references: Sequence[Reference] = ()) -> dict[int, Pane]:
    """Add up the panes of a period, and of each stretch that it is compared with.

    Parameters
    ----------
    references
        Where the store does not reach: what it has counted itself counts first, then what the first of them has.

    Returns
    -------
    dict
        By start. Stretches of which nine tenths were not counted, or in which nothing was, are left out.
    """
    closed = store.closed_range() or (0, 0)
    found = {period.since: store.pane(period.since, period.until)}
    for start in like(against, period):
        end = start + period.seconds
        counted = min(end, closed[1]) - max(start, closed[0]) >= _WHOLE * period.seconds
        own = store.pane(start, end) if counted else {}
        pane = _first_of([own, *(_sum(reference, start, end) for reference in references)])
        if pane:
            found[start] = pane
    return found


def _sum(reference: Reference, start: int, end: int) -> Pane:
    """Add up the blocks of a reference that lie in a stretch, if it covers all of it; without what it leaves out."""
    if not reference.since <= start < end <= reference.until:
        return {}
    return merge(
        {series: counts for series, counts in block.pane.items() if series.model not in block.left_out}
        for block in reference.blocks
        if start <= block.start and block.start + reference.block_seconds <= end
    )


def _first_of(panes: Iterable[Pane]) -> Pane:
    """Join panes of one stretch: of each measure and model what the first has that has any, so that none counts twice."""
    found: dict[Series, Counts] = {}
    for pane in panes:
        known = {(series.measure, series.model) for series in found}
        found |= {series: counts for series, counts in pane.items() if (series.measure, series.model) not in known}
    return found


def _moment(text: str, starts_at: int) -> float:
    return parse_moment(text) + (starts_at if len(text) == len("2013-06-07") else 0)
