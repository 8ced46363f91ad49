"""Tables that account for what came: which request has its scores, how far each source is, what nobody has read or could."""

from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from birdwatch.windows.pane import PROPENSITY_PARTS, Counts, total
from birdwatch.windows.posteriors import read_posteriors
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, count_table, timestamp

__all__ = [
    "arm_table",
    "arrival_table",
    "audit_table",
    "extreme_table",
    "lag_table",
    "posterior_table",
    "source_table",
    "unreadable_table",
]

_SUMS: Final = ["events", "errors", "nulls", "orphans"]


def audit_table(store: Store, span: Span, counts: pd.DataFrame | None = None) -> pd.DataFrame:
    """Account for each request by model: in = scored + failed + pending.

    A model is asked to account for the steps from its first score to its last in this time: before and after it was not there.
    ``counts`` is `count_table` of the same time, where that is at hand.

    Returns
    -------
    DataFrame
        ``time, model, requests, scored, failed, pending, orphans``. ``failed`` are scores that are an error or no number;
        ``pending`` are requests without any score by the time their pane closed: late, or lost. ``orphans`` are scores
        whose request was not seen, and answer for none.
    """
    counts = count_table(store, span) if counts is None else counts
    if not (counts["events"] > 0).any():
        return pd.DataFrame(columns=["time", "model", "requests", "scored", "failed", "pending", "orphans"])
    requests = counts[counts["model"] == ""].set_index("time")["requests"].fillna(0.0)
    table = counts[counts["model"] != ""].groupby(["model", "time"], as_index=False)[_SUMS].sum()
    seen = table[table["events"] > 0].groupby("model")["time"].agg(["min", "max"])
    table = table[table["model"].isin(seen.index)]
    first, last = (table["model"].map(seen[end]) for end in ("min", "max"))
    table = table[(table["time"] >= first) & (table["time"] <= last)]
    failed = table["errors"] + table["nulls"]
    asked = table["time"].map(requests).fillna(0.0)
    return pd.DataFrame(
        {
            "time": table["time"],
            "model": table["model"],
            "requests": asked,
            "scored": table["events"] - failed - table["orphans"],
            "failed": failed,
            "pending": asked - (table["events"] - table["orphans"]),
            "orphans": table["orphans"],
        }
    ).reset_index(drop=True)


def source_table(store: Store) -> pd.DataFrame:
    """Say how far each source has come.

    Returns
    -------
    DataFrame
        ``stream, partition, model, latest`` (the latest event time seen, UTC), ``behind`` (seconds by which the furthest
        source of all is ahead of it) and ``idle``; the furthest behind first.
    """
    sources = store.sources()
    newest = max((source.latest for source in sources), default=0.0)
    rows = [(s.stream, s.partition, s.model, timestamp(s.latest), newest - s.latest, s.idle) for s in sources]
    table = pd.DataFrame(rows, columns=["stream", "partition", "model", "latest", "behind", "idle"])
    return table.sort_values("behind", ascending=False, kind="stable", ignore_index=True)


def arrival_table(store: Store, span: Span) -> pd.DataFrame:
    """Count by stream what came after its pane was closed, and what came twice: ``stream, late, duplicates``."""
    rows = [(stream, *arrivals) for stream, arrivals in sorted(store.arrivals(span.since, span.until).items())]
    return pd.DataFrame(rows, columns=["stream", "late", "duplicates"])


def arm_table(store: Store, span: Span) -> pd.DataFrame:
    """Compare how often each arm was drawn with how often it should have been.

    Returns
    -------
    DataFrame
        ``model, version, n, expected, drawn``: of the ``n`` decisions in which it could be drawn, the mean probability that
        it would be, and the share in which it was.
    """
    parts: dict[tuple[str, str], list[Counts]] = {}
    for _, series, counts in store.rows(span.since, span.until, measure="propensity", segment="", step=span.whole.step):
        parts.setdefault((series.model, series.version), []).append(counts)
    rows: list[tuple[Any, ...]] = []
    for arm, found in sorted(parts.items()):
        bins, n = total(found)
        shares = n / n.sum()
        rows.append((*arm, int(n.sum()), float(bins // 2 / PROPENSITY_PARTS @ shares), float(bins % 2 @ shares)))
    return pd.DataFrame(rows, columns=["model", "version", "n", "expected", "drawn"])


def posterior_table(store: Store, span: Span) -> pd.DataFrame:
    """Say what the bandit believed each arm to earn, an hour at a time: Beta distributions, as its learner had them.

    Returns
    -------
    DataFrame
        ``time`` (the end of the hour up to which the learner had read, or that of the time), ``arm, alpha, beta``, the
        ``mean``, and ``low, high``, between which the rate lies nine times of ten, by that belief.
    """
    # Of a time in which the learner was silent, what it had said before still is what it believes.
    found = read_posteriors(store, 0, span.until)
    before = {arm: (start, arm, alpha, beta) for start, arm, alpha, beta in found if start < span.since}
    rows = [*before.values(), *(row for row in found if row[0] >= span.since)]
    table = pd.DataFrame(rows, columns=["time", "arm", "alpha", "beta"])
    table = table.astype({"time": np.int64, "alpha": np.float64, "beta": np.float64})
    ends = (table["time"] + 3600).clip(span.since, span.until)
    low, high = (betaincinv(table["alpha"], table["beta"], level) for level in (0.05, 0.95))
    mean = table["alpha"] / (table["alpha"] + table["beta"])
    return table.assign(time=pd.to_datetime(ends, unit="s", utc=True), mean=mean, low=low, high=high)


def extreme_table(store: Store, span: Span, model: str, partner: str, most: int = 20) -> pd.DataFrame:
    """Name the requests on which a model and its partner differ most.

    Returns
    -------
    DataFrame
        ``time`` (the pane it is in), ``version, request_id, score, partner_score, difference``, the largest first.
    """
    rows = [
        (timestamp(start), e.version, e.request_id, e.score, e.partner_score, e.score - e.partner_score)
        for start, e in store.extremes(span.since, span.until, model, partner, most)
    ]
    columns = ["time", "version", "request_id", "score", "partner_score", "difference"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[3:], np.float64))


def lag_table(store: Store, span: Span) -> pd.DataFrame:
    """Give the most messages that were not yet read, by stream, while event time stood in each step.

    Returns
    -------
    DataFrame
        ``time, stream, behind``: NaN where nothing was noted.
    """
    first = (store.closed_range() or (span.since, 0))[0]
    rows: Any = []
    if store.connection.table_exists(None, "lag_peaks"):
        # What was noted before any pane had closed stands with the first.
        rows = store.connection.execute(
            "SELECT ?1 + (max(start, ?2) - ?1) / ?4 * ?4 AS step, stream, max(behind) FROM lag_peaks"
            " WHERE max(start, ?2) >= ?1 AND max(start, ?2) < ?3 GROUP BY step, stream ORDER BY step, stream",
            (span.since, first, span.until, span.step),
        )
    found = pd.DataFrame(list(rows), columns=["time", "stream", "behind"]).set_index(["time", "stream"])
    streams = found.index.unique("stream")
    table = found.reindex(pd.MultiIndex.from_product([span.starts, streams], names=["time", "stream"])).reset_index()
    table["time"] = pd.to_datetime(table["time"], unit="s", utc=True)
    return table.astype({"behind": "float64"})


def unreadable_table(store: Store, span: Span) -> pd.DataFrame:
    """Count dead letters by stream, kind and step.

    Returns
    -------
    DataFrame
        ``time, to`` (the step; only those in which there were any), ``stream, kind`` (``unreadable`` or ``out of
        range``), ``n, reason, first``: why the first of them could not be read, and where it lies.
    """
    first = (store.closed_range() or (span.since, 0))[0]
    rows: Any = []
    if store.connection.table_exists(None, "unreadable"):
        # Of several rows SQLite gives the other columns of the one that has the least. What came before any pane had
        # closed stands with the first.
        rows = store.connection.execute(
            "SELECT ?1 + (max(start, ?2) - ?1) / ?4 * ?4 AS step, stream, kind, sum(n), reason, first, min(start)"
            " FROM unreadable WHERE max(start, ?2) >= ?1 AND max(start, ?2) < ?3"
            " GROUP BY step, stream, kind ORDER BY step, stream, kind",
            (span.since, first, span.until, span.step),
        )
    found = [(timestamp(step), timestamp(step + span.step), *rest) for step, *rest, _ in rows]
    table = pd.DataFrame(found, columns=["time", "to", "stream", "kind", "n", "reason", "first"])
    return table.astype({"time": "datetime64[ns, UTC]", "to": "datetime64[ns, UTC]", "n": "int64"})
