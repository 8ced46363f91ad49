"""Tables for people: verdicts, and watched inputs, as pandas frames."""

from typing import Any, Final, Literal

import msgspec
import numpy as np
import pandas as pd

from birdwatch.detect.past import CATEGORY, NUMBER
from birdwatch.detect.verdict import Status, Subject, Verdict
from birdwatch.stats.contributions import contributions
from birdwatch.stats.distances import bucket_cuts
from birdwatch.stats.quantiles import size
from birdwatch.windows.pane import Counts, total
from birdwatch.windows.store import Store

__all__ = [
    "WORST_FIRST",
    "input_table",
    "last_judged",
    "last_verdict_table",
    "value_table",
    "verdict_behind",
    "verdict_table",
    "worst_by_step",
]

WORST_FIRST: Final[tuple[Status, ...]] = ("error", "drifting", "ok", "no data")
"""Statuses, the one first that most needs a look."""

_ZERO: Final = 1e-100

_FEW: Final = 20
"""What so few events measure is far from anything: it stands for a step only where nothing else does."""

_SUBJECT: Final = ["rule", "model", "version", "partner", "feature"]


# From one rule to the next, and to the last window of each: to look at every verdict takes a hundred times as long.
_LAST_WINDOWS: Final = """
WITH RECURSIVE rules (rule) AS (
    SELECT min(rule) FROM verdicts
    UNION ALL SELECT (SELECT min(v.rule) FROM verdicts v WHERE v.rule > r.rule) FROM rules r WHERE r.rule IS NOT NULL)
SELECT rule, (SELECT max(v."end") FROM verdicts v WHERE v.rule = r.rule AND v."end" <= ?) FROM rules r
WHERE rule IS NOT NULL ORDER BY rule
"""


class _Row(msgspec.Struct):
    """A verdict without its details, which are most of it and which no table shows."""

    end: int
    start: int
    rule: str
    kind: str
    subject: Subject
    status: Status
    statistic: str
    value: float | None
    tolerance: float | None
    effect: float
    evidence: float | None
    threshold: float | None
    alarmed: bool
    n: int
    reason: str


_decoder: Final = msgspec.json.Decoder(list[_Row])

_COLUMNS: Final = (
    "time",
    "start",
    *("rule", "kind"),
    *("model", "version", "partner", "feature"),
    *("status", "statistic", "value", "tolerance", "effect", "evidence", "threshold", "alarmed", "n", "reason"),
    "level",
)


def verdict_table(store: Store, since: int, until: int, rule: str | None = None) -> pd.DataFrame:
    """Give the verdicts whose window ends in (since, until].

    Returns
    -------
    DataFrame
        A row a verdict, by time: ``time`` is the end of its window and ``start`` the beginning (both UTC), then ``rule,
        kind, model, version, partner, feature, status, statistic, value, tolerance, effect, evidence, threshold,
        alarmed, n, reason``, and ``level``: the evidence as a share of what it must reach, ln R over ln A, at least 0.
        What could not be measured is NaN.
    """
    if not store.connection.table_exists(None, "verdicts"):
        return _table([])
    rows: Any = store.connection.execute(
        'SELECT record FROM verdicts WHERE "end" > ? AND "end" <= ? AND (? IS NULL OR rule = ?)'
        ' ORDER BY "end", rule, model, version, partner, feature',
        (since, until, rule, rule),
    )
    return _table(_decoder.decode(b"[" + b",".join(record for (record,) in rows) + b"]"))


def last_verdict_table(store: Store, since: int, until: int, found: pd.DataFrame | None = None) -> pd.DataFrame:
    """Give the last verdict of each rule on each subject, as of ``until``.

    Those of (since, until], and those of the last window that each rule judged by then, however long ago: a rule that looks
    at a week has its say on every day. ``found`` is `verdict_table` of the same time, where that is at hand.
    """
    parts = [verdict_table(store, since, until) if found is None else found]
    parts += [verdict_table(store, end - 1, end, rule) for rule, end in _last_windows(store, until) if end <= since]
    table = pd.concat(parts).sort_values("time", kind="stable") if len(parts) > 1 else parts[0]
    return table.drop_duplicates(_SUBJECT, keep="last")


def worst_by_step(verdicts: pd.DataFrame, step: int, by: Literal["multiple", "level"] = "multiple") -> pd.DataFrame:
    """Keep of each rule and subject one verdict a step, so that a long range has no more points than a short one.

    Parameters
    ----------
    verdicts
        From `verdict_table`.
    step
        Seconds.
    by
        Which one: that which is furthest beyond what is in order, of each statistic; or that with the most evidence. What very
        few events measured is far from anything, and stands for a step only where there is nothing else.

    Returns
    -------
    DataFrame
        The same columns; ``alarmed`` is whether any of them did, ``level`` the largest and ``status`` the worst: no alarm
        is lost. ``shown_from, shown_to`` is what it stands for: the step, or its window where that is longer.
    """
    end = verdicts["time"].astype("datetime64[s, UTC]").astype("int64")
    table = verdicts.assign(
        step=-(-end // step), multiple=_multiple(verdicts), worst=verdicts["status"].map(WORST_FIRST.index)
    )
    table["rank"] = table[by]
    table["tells"] = (table["n"] >= _FEW) | (by == "level")
    of = [*_SUBJECT, "step"] + (["statistic"] if by == "multiple" else [])
    groups = table.groupby(of, sort=False)
    table["alarmed"] = groups["alarmed"].transform("max").astype(bool)
    table["level"] = groups["level"].transform("max")
    table["status"] = groups["worst"].transform("min").map(dict(enumerate(WORST_FIRST)))
    table["shown_to"] = pd.to_datetime(table["step"] * step, unit="s", utc=True)
    length, least = table["time"] - table["start"], pd.Timedelta(seconds=step)
    table["shown_from"] = table["shown_to"] - length.where(length > least, least)
    kept = table.sort_values(["tells", "rank"], kind="stable", na_position="first").drop_duplicates(of, keep="last")
    return kept.sort_index()[[*verdicts.columns, "shown_from", "shown_to"]]


def _multiple(verdicts: pd.DataFrame) -> pd.Series:
    """Give values as multiples of what is in order; NaN where that is nothing, or nothing was measured."""
    return verdicts["value"] / verdicts["tolerance"].where(verdicts["tolerance"] > 0)


def input_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Sum up each watched input: how far it lies from what is in order, the furthest beyond first.

    Parameters
    ----------
    verdicts
        From `verdict_table`.

    Returns
    -------
    DataFrame
        ``feature, rule, statistic, status, value, tolerance, multiple`` (value over tolerance) and ``reason`` of the last
        verdict that could tell (the last one, where none could), its window ``start, time``, and ``drift``: the multiple
        by verdict, as lists for sparklines. An input has a row for its distance, and one for what is missing where
        the last verdict was on that.
    """
    found = verdicts[verdicts["feature"] != ""]
    told = found["status"].isin(["ok", "drifting"])
    never = ~found["feature"].isin(found.loc[told, "feature"])
    found = found.assign(multiple=_multiple(found))[told | never]
    of_distance = found["statistic"] == "ks"
    latest = found["time"] == found.groupby("feature")["time"].transform("max")
    alone = ~found["feature"].isin(found.loc[of_distance, "feature"])
    of = ["feature", "rule", "statistic"]
    last = found[of_distance | (latest & (alone | (found["value"] > 0)))].drop_duplicates(of, keep="last").set_index(of)
    last["drift"] = found.dropna(subset="multiple").groupby(of)["multiple"].agg(list).reindex(last.index)
    wanted = [*of, "status", "value", "tolerance", "multiple", "reason", "start", "time", "drift"]
    return last.reset_index().sort_values("multiple", ascending=False, kind="stable", ignore_index=True)[wanted]


def value_table(
    store: Store, feature: str, now: tuple[int, int], before: tuple[int, int], most: int = 20
) -> pd.DataFrame:
    """Tell by value how a watched input is now and was before.

    Parameters
    ----------
    now, before
        Stretches of event time.
    most
        So many categories are named, those whose share changed most; the others are one.

    Returns
    -------
    DataFrame
        ``place, value, now, before``: numbers in buckets in order of size, categories from the most frequent on, as shares
        of all that had a value. Empty where one of the stretches has none.
    """
    numbers = [_counted(store, NUMBER + feature, *stretch).get("") for stretch in (now, before)]
    if numbers[0] is not None and numbers[1] is not None:
        told = contributions(numbers[0], numbers[1], bucket_cuts(numbers[1]))
        names = [_between(low, high) for low, high in zip(told.lower, told.upper, strict=True)]
        shares = pd.DataFrame({"value": names, "now": told.now, "before": told.before})
        shares = shares[(shares["now"] > 0) | (shares["before"] > 0)]
    else:
        columns = [
            {name: size(counts) for name, counts in _counted(store, CATEGORY + feature, *stretch).items()}
            for stretch in (now, before)
        ]
        if not all(columns):
            return pd.DataFrame(columns=["place", "value", "now", "before"])
        found = pd.DataFrame({"now": columns[0], "before": columns[1]}, dtype=float).fillna(0.0)
        found /= found.sum()
        told_apart = (found["now"] - found["before"]).abs().sort_values(ascending=False, kind="stable").index[:most]
        others = found.drop(told_apart).sum()
        found = found.loc[told_apart].sort_values("before", ascending=False, kind="stable")
        if others.any():
            found.loc["all others"] = others
        shares = found.rename_axis("value").reset_index()
    return shares.reset_index(drop=True).rename_axis("place").reset_index()


def _counted(store: Store, measure: str, since: int, until: int) -> dict[str, Counts]:
    by_segment: dict[str, list[Counts]] = {}
    for series, counts in store.pane(since, until, measure=measure).items():
        by_segment.setdefault(series.segment, []).append(counts)
    return {segment: total(parts) for segment, parts in by_segment.items()}


def _between(low: float, high: float) -> str:
    # The grid's bin of zeros has edges too, which nobody wants to read.
    low, high = (0.0 if abs(edge) < _ZERO else edge for edge in (low, high))
    if not np.isfinite(low):
        return f"up to {high:.3g}"
    return f"{low:.3g} to {high:.3g}" if np.isfinite(high) else f"from {low:.3g}"


def last_judged(store: Store, until: int) -> int:
    """Give the end of the last window that was judged by then; 0 while none was."""
    return max((end for _, end in _last_windows(store, until)), default=0)


def _last_windows(store: Store, until: int) -> list[tuple[str, int]]:
    if not store.connection.table_exists(None, "verdicts"):
        return []
    rows: Any = store.connection.execute(_LAST_WINDOWS, (until,))
    return [(rule, end) for rule, end in rows if end is not None]


def _table(verdicts: list[_Row]) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = [
        (
            v.end,
            v.start,
            v.rule,
            v.kind,
            *msgspec.structs.astuple(v.subject),
            v.status,
            v.statistic,
            v.value,
            v.tolerance,
            v.effect,
            v.evidence,
            v.threshold,
            v.alarmed,
            v.n,
            v.reason,
            max(0.0, v.evidence) / v.threshold if v.evidence is not None and v.threshold else None,
        )
        for v in verdicts
    ]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    for time in ("time", "start"):
        frame[time] = pd.to_datetime(frame[time], unit="s", utc=True)
    numbers = ("value", "tolerance", "effect", "evidence", "threshold", "level")
    return frame.astype({**dict.fromkeys(numbers, float), "alarmed": bool, "n": int})


def verdict_behind(store: Store, rule: str, subject: Subject, until: int) -> Verdict | None:
    """Give the verdict that an alert rests on, with all its details: the last one by ``until`` that drifts.

    That on the whole fleet rests on verdicts on models: then it is the one of them that drifts most.
    """
    if not store.connection.table_exists(None, "verdicts"):
        return None
    whom, values = "", ()
    if subject != Subject():
        whom = " AND model = ? AND version = ? AND partner = ? AND feature = ?"
        values = msgspec.structs.astuple(subject)
    rows: Any = store.connection.execute(
        'SELECT record FROM verdicts WHERE rule = ? AND status = \'drifting\' AND "end" = (SELECT max("end") FROM'  # noqa: S608 - no value
        f" verdicts WHERE rule = ? AND \"end\" <= ? AND status = 'drifting'{whom}){whom}",
        (rule, rule, until, *values, *values),
    )
    found = [msgspec.json.decode(record, type=Verdict) for (record,) in rows]
    return max(found, key=lambda v: v.effect, default=None)
