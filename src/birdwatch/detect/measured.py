"""What one rule measured of one subject, window by window, upon what was in order of it."""

import math
from typing import Any, Final, NamedTuple

import msgspec
import pandas as pd

from birdwatch.detect.tables import verdict_behind
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.windows.store import Store

__all__ = ["Order", "in_order", "measured_table", "verdict_of"]

_COLUMNS: Final = ("time", "start", "version", "value", "low", "high", "beyond", "alarmed", "n", "reason")

_OF_SUBJECT: Final = "rule = ?1 AND model = ?2 AND partner = ?4 AND feature = ?5"


class Order(NamedTuple):
    """What is in order of a value: from ``low`` to ``high``; None where there is no such end, or it is not known."""

    low: float | None
    high: float | None


def in_order(verdict: Verdict) -> Order:
    """Say what would have been in order of what a verdict measured.

    A tolerance is the most that is in order, but where less is what alarms: requests that do not come, scores that are
    not given. What traffic tells of a window that came out too high is as much too low by the same factor.
    """
    tolerance = verdict.tolerance
    if tolerance is None or verdict.value is None:
        return Order(None, None)
    if verdict.kind == "silence":
        return Order(tolerance, 1.0 if verdict.statistic == "share scored" else None)
    if verdict.kind == "traffic":
        return _expected(verdict, tolerance)
    too_low = verdict.effect > 0 and verdict.value < tolerance
    return Order(tolerance, None) if too_low else Order(0.0, tolerance)


def _expected(verdict: Verdict, tolerance: float) -> Order:
    """Give what a traffic rule would have taken: what it expected, less and more by its factor."""
    least, most = (verdict.details.get(end) for end in ("least", "most"))
    if least is None or most is None or verdict.value is None:
        return Order(None, None)
    usual = min(max(verdict.value, least), most)
    ends = (tolerance, usual) if verdict.value > usual else (usual, tolerance)
    factor = ends[0] / ends[1] if ends[1] > 0 else math.inf
    return Order(least / factor, most * factor if math.isfinite(factor) else None)


def measured_table(
    store: Store, rule: str, subject: Subject, since: float, until: float, statistic: str = ""
) -> pd.DataFrame:
    """Give what a rule measured of a subject, and of other versions of it, in the windows that end in (since, until].

    Parameters
    ----------
    statistic
        What it measured; everything by default.

    Returns
    -------
    DataFrame
        By time: ``time`` is the end of the window and ``start`` its beginning (both UTC), ``version`` that it is of; ``value``, and what was in
        order of it, ``low`` to ``high`` (NaN: no such end); ``beyond`` is whether it told that it was not, and
        ``alarmed`` whether that was enough to say so. Windows in which nothing could be measured are left out.
    """
    if not store.connection.table_exists(None, "verdicts"):
        return _table([])
    rows: Any = store.connection.execute(
        f'SELECT record FROM verdicts WHERE {_OF_SUBJECT} AND "end" > ?6 AND "end" <= ?7 ORDER BY "end", version = ?3',  # noqa: S608 - no value
        (rule, *msgspec.structs.astuple(subject), since, until),
    )
    found = (msgspec.json.decode(record, type=Verdict) for (record,) in rows)
    return _table([_row(v) for v in found if v.value is not None and statistic in ("", v.statistic)])


def verdict_of(store: Store, rule: str, subject: Subject, since: float, until: float) -> Verdict | None:
    """Give the verdict that an alert rests on, of those whose window ends in [since, until]; None where there is none.

    The last that drifts (see `birdwatch.detect.tables.verdict_behind`), or else says that too little has come: a silence
    is no data and a finding. An alert that a rule could not judge rests on nothing that was measured.
    """
    found = verdict_behind(store, rule, subject, math.floor(until))
    if found is not None and found.end >= since:
        return found
    if not store.connection.table_exists(None, "verdicts"):
        return None
    rows: Any = store.connection.execute(
        f'SELECT record FROM verdicts WHERE {_OF_SUBJECT} AND version = ?3 AND "end" >= ?6 AND "end" <= ?7 ORDER BY "end" DESC',  # noqa: S608 - no value
        (rule, *msgspec.structs.astuple(subject), since, until),
    )
    judged = (msgspec.json.decode(record, type=Verdict) for (record,) in rows)
    return next((verdict for verdict in judged if verdict.effect > 0), None)


def _row(verdict: Verdict) -> tuple[Any, ...]:
    low, high = in_order(verdict)
    return (
        verdict.end,
        verdict.start,
        verdict.subject.version,
        verdict.value,
        low,
        high,
        # A silence is no data and a finding all the same.
        verdict.status == "drifting" or (verdict.status == "no data" and verdict.effect > 0),
        verdict.alarmed,
        verdict.n,
        verdict.reason,
    )


def _table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    for time in ("time", "start"):
        frame[time] = pd.to_datetime(frame[time], unit="s", utc=True)
    return frame.astype({"value": float, "low": float, "high": float, "beyond": bool, "alarmed": bool, "n": int})
