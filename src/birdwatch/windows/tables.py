"""Tables for people: what the panes of a store say, as pandas frames for dashboards, notebooks and reports.

Panes roll up by addition, so a long range costs a reader no more points than a short one, and a rolled-up percentile is
exact to the grid: it comes from the added histograms, never from an average of percentiles.

Times are UTC. A table over time has a row for every step of the range and each series, empty (NaN) where nothing was
counted, so that a line drawn through it breaks where there is no data.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from birdwatch.records import Control
from birdwatch.stats.grid import lower_edges
from birdwatch.stats.quantiles import quantiles
from birdwatch.windows.pane import (
    COUNTERS,
    FIXED_POINT,
    LATENCIES,
    PAIR_COUNTERS,
    Counts,
    Series,
    counters,
    selection_of,
    total,
)
from birdwatch.windows.store import Store

__all__ = [
    "MOST_POINTS",
    "PERCENTILES",
    "Span",
    "control_table",
    "count_table",
    "latency_table",
    "pair_table",
    "selection_table",
    "slower_table",
    "span_of",
    "step_for",
    "timestamp",
    "written",
]

MOST_POINTS: Final = 2000
"""A chart of more points is slow to send and to draw, and nobody sees more."""

PERCENTILES: Final = (0.5, 0.99, 0.999)
"""The percentiles of latency shown unless others are asked for."""

_STEPS: Final = tuple(
    [60 * minutes for minutes in (1, 2, 5, 10, 15, 30)]
    + [3600 * hours for hours in (1, 2, 3, 6, 12)]
    + [86_400 * days for days in (1, 2, 7, 28)]
)


class Span(NamedTuple):
    """The event times [since, until), in Unix seconds, looked at in steps of ``step`` seconds."""

    since: int
    until: int
    step: int

    @property
    def starts(self) -> range:
        """The start of each step."""
        return range(self.since, self.until, self.step)

    @property
    def whole(self) -> "Span":
        """The same in a single step."""
        return self._replace(step=max(self.until - self.since, 1))


def step_for(since: float, until: float, pane_seconds: int, most: int = 250) -> Span:
    """Choose the step at which to look at a range: whole panes, a round length of time, at most ``most`` steps.

    The range widens to whole steps, counted from midnight UTC, so that a range that moves with the clock keeps its
    steps where they were.

    Examples
    --------
    >>> step_for(0, 7 * 86_400, 3_600)
    Span(since=0, until=604800, step=3600)
    >>> step_for(100, 90 * 86_400, 3_600).step // 3600
    12
    """
    steps = [s for s in _STEPS if s % pane_seconds == 0]
    if pane_seconds not in _STEPS:
        steps = [pane_seconds * times * 10**power for power in range(6) for times in (1, 2, 5)]
    step = next((s for s in steps if (until - since) / s <= most), steps[-1])
    return Span(int(since // step) * step, int(-(-until // step)) * step, step)


def span_of(store: Store, since: float, until: float) -> Span:
    """Choose the step at which to look at a store: two lines for each version of a model stay within `MOST_POINTS`."""
    row: Any = store.connection.execute(
        "SELECT count(*) FROM series WHERE measure = 'counts' AND model != '' AND segment = ''"
    ).fetchone()
    most = max(24, min(250, MOST_POINTS // (2 * max(row[0], 1))))
    return step_for(since, until, store.pane_seconds, most)


def timestamp(seconds: float) -> pd.Timestamp:
    """Give a time on the streams as people write it: in UTC.

    Examples
    --------
    >>> timestamp(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return pd.Timestamp(datetime.fromtimestamp(seconds, UTC))


def written(store: Store) -> float:
    """Give the wall time at which the store was last written."""
    beside = (store.path, store.path.with_name(f"{store.path.name}-wal"))
    # A log beside the store that is empty was made by who reads it.
    return max(path.stat().st_mtime for path in beside if path.exists() and path.stat().st_size)


def control_table(store: Store, since: float, until: float) -> pd.DataFrame:
    """Give the operational changes in [since, until).

    Returns
    -------
    DataFrame
        ``time, action, model, version, author, reason`` and ``what``, the change in a few words.
    """
    rows = [
        (timestamp(c.ts), c.action, c.model, c.version, c.author, c.reason, _say_change(c))
        for c in store.controls()
        if since <= c.ts < until
    ]
    return _frame(rows, ["time", "action", "model", "version", "author", "reason", "what"], ["time"])


def _say_change(control: Control) -> str:
    """Say a change in the few words that fit beside a line.

    Examples
    --------
    >>> _say_change(Control(ts=0, action="ramp", author="", reason="", model="m", version="2", params={"percent": 10}))
    'ramp m 2 to 10 %'
    """
    about = " ".join(part for part in (control.model, control.version) if part)
    if control.action == "ramp":
        return f"ramp {about} to {control.params.get('percent')} %"
    if control.action in ("swap", "swapped"):
        return f"{control.action} {control.params.get('component')}"
    return f"{control.action} {about}".strip()


def count_table(store: Store, span: Span, segment: str = "") -> pd.DataFrame:
    """Count what happened, by model and version; the fleet has an empty model. Of a segment, or of everything.

    Returns
    -------
    DataFrame
        ``time, model, version`` and a column for each of `COUNTERS`.
    """
    folded = _folded(store, span, "counts", lambda s: (s.model, s.version), segment)
    rows = [(start, *key, *counters(c).values()) for (start, key), c in folded.items()]
    return _over_time(rows, ["model", "version"], list(COUNTERS), span)


def latency_table(
    store: Store,
    span: Span,
    stage: str = "latency.answer",
    percentiles: Sequence[float] = PERCENTILES,
    *,
    by_model: bool = False,
) -> pd.DataFrame:
    """Give percentiles of the latency of one stage (see `birdwatch.windows.pane.LATENCIES`).

    Returns
    -------
    DataFrame
        ``time, model, version, percentile, seconds, n``; without ``by_model`` the model is empty: all are added up.

    Raises
    ------
    ValueError
        There is no such stage.
    """
    if stage not in LATENCIES:
        raise ValueError(f"no stage {stage!r}: there are {', '.join(LATENCIES)}")
    folded = _folded(store, span, stage, lambda s: (s.model, s.version) if by_model else ("", ""))
    rows = [
        (start, *key, percentile, quantile.value, int(counts.counts.sum()))
        for (start, key), counts in folded.items()
        for percentile, quantile in zip(percentiles, quantiles(counts, percentiles), strict=True)
    ]
    return _over_time(rows, ["model", "version", "percentile"], ["seconds", "n"], span)


def slower_table(store: Store, span: Span, stage: str, seconds: float) -> pd.DataFrame:
    """Count how many took longer than a bound, by version.

    Returns
    -------
    DataFrame
        ``time, model, version, n, slower``; where the grid leaves it open (within a bin, 0.7 % wide), it did not.

    Raises
    ------
    ValueError
        There is no such stage.
    """
    if stage not in LATENCIES:
        raise ValueError(f"no stage {stage!r}: there are {', '.join(LATENCIES)}")
    folded = _folded(store, span, stage, lambda s: (s.model, s.version))
    rows = [
        (start, *key, int(counts.counts.sum()), int(counts.counts[lower_edges(counts.bins) > seconds].sum()))
        for (start, key), counts in folded.items()
    ]
    return _over_time(rows, ["model", "version"], ["n", "slower"], span)


def pair_table(store: Store, span: Span, unit: float = 1.0, segment: str = "") -> pd.DataFrame:
    """Compare each model with its partner, request by request; ``unit`` is the one that the settings give a score.

    Of a segment, or of everything.

    Returns
    -------
    DataFrame
        ``time, model, version, partner, n, mean, sd``: the mean and standard deviation of the model's score minus the
        partner's, over the ``n`` requests that both scored, in the unit of the scores.
    """
    folded = _folded(store, span, "pair", lambda s: (s.model, s.version, s.partner), segment)
    rows = []
    for (start, key), counts in folded.items():
        sums = counters(counts, PAIR_COUNTERS)
        n = sums["n"]
        mean = sums["sum"] / FIXED_POINT / n
        spread = max(0.0, sums["sum_of_squares"] / FIXED_POINT / n - mean * mean) ** 0.5
        rows.append((start, *key, n, mean * unit, spread * unit))
    return _over_time(rows, ["model", "version", "partner"], ["n", "mean", "sd"], span)


def selection_table(store: Store, span: Span) -> pd.DataFrame:
    """Count which model answered, from which tier of the schedule (-1 is the default), and why.

    Returns
    -------
    DataFrame
        ``time, model, version, tier, reason, n, share``: the share of all answers of that step.
    """
    answers: Counter[int] = Counter()
    rows = []
    for (start, key), counts in _folded(store, span, "selection", lambda s: (s.model, s.version)).items():
        answers[start] += int(counts.counts.sum())
        for bin_, n in zip(counts.bins.tolist(), counts.counts.tolist(), strict=True):
            rows.append((start, *key, *selection_of(bin_), n))
    shares = [(*row, row[-1] / answers[row[0]]) for row in rows]
    return _over_time(shares, ["model", "version", "tier", "reason"], ["n", "share"], span)


def _folded(
    store: Store, span: Span, measure: str, key: Callable[[Series], tuple[str, ...]], segment: str = ""
) -> dict[tuple[int, tuple[str, ...]], Counts]:
    """Add up a measure by step and key, of a segment, or over everything (of which segments are parts)."""
    parts: dict[tuple[int, tuple[str, ...]], list[Counts]] = {}
    for start, series, counts in store.rows(span.since, span.until, measure=measure, segment=segment, step=span.step):
        at = span.since + (start - span.since) // span.step * span.step
        parts.setdefault((at, key(series)), []).append(counts)
    return {at: total(found) for at, found in sorted(parts.items())}


def _over_time(rows: list[tuple[Any, ...]], keys: list[str], values: list[str], span: Span) -> pd.DataFrame:
    """Make a table with a row for each step and key, NaN where there was nothing."""
    starts, last = np.array(span.starts, dtype=np.int64), 1 + len(keys)
    names = sorted({row[1:last] for row in rows})
    place = {name: i * starts.size for i, name in enumerate(names)}
    full = np.full((len(names) * starts.size, len(values)), np.nan)
    if rows:
        full[[place[row[1:last]] + (row[0] - span.since) // span.step for row in rows]] = [row[last:] for row in rows]
    times = pd.to_datetime(np.tile(starts, len(names)), unit="s", utc=True)
    named = {key: pd.Index([name[i] for name in names]).repeat(starts.size) for i, key in enumerate(keys)}
    return pd.DataFrame({"time": times, **named, **dict(zip(values, full.T, strict=True))})


def _frame(rows: list[tuple[Any, ...]], columns: list[str], times: list[str]) -> pd.DataFrame:
    """Make a table whose times are times even when it is empty."""
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(times, "datetime64[ns, UTC]"))
