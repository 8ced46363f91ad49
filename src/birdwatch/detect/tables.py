"""Tables for people: verdicts, watched inputs, and the fleet with its last verdicts, as pandas frames."""

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
from birdwatch.windows.roles import roles
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, count_table, latency_table, pair_table, selection_table

__all__ = [
    "fleet_table",
    "health_table",
    "input_table",
    "last_judged",
    "last_verdict_table",
    "value_table",
    "verdict_behind",
    "verdict_table",
    "worst_by_step",
    "worst_status",
]

_WORST_FIRST: Final[tuple[Status, ...]] = ("error", "drifting", "ok", "no data")

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
        step=-(-end // step), multiple=_multiple(verdicts), worst=verdicts["status"].map(_WORST_FIRST.index)
    )
    table["rank"] = table[by]
    table["tells"] = (table["n"] >= _FEW) | (by == "level")
    of = [*_SUBJECT, "step"] + (["statistic"] if by == "multiple" else [])
    groups = table.groupby(of, sort=False)
    table["alarmed"] = groups["alarmed"].transform("max").astype(bool)
    table["level"] = groups["level"].transform("max")
    table["status"] = groups["worst"].transform("min").map(dict(enumerate(_WORST_FIRST)))
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


def worst_status(statuses: pd.Series) -> Status:
    """Give the status that most needs a look; "no data" when no rule could judge.

    Examples
    --------
    >>> worst_status(pd.Series(["ok", "drifting", "no data"]))
    'drifting'
    """
    return next((status for status in _WORST_FIRST if (statuses == status).any()), "no data")


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


def fleet_table(
    store: Store, span: Span, verdicts: pd.DataFrame | None = None, counts: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Sum up each version of each model over a span.

    Parameters
    ----------
    verdicts, counts
        `verdict_table` and `count_table` of the span, where they are at hand.

    Returns
    -------
    DataFrame
        By role, model and version: ``role, model, version``; ``status`` (the worst of the last verdicts, one a rule,
        among those that could judge), ``judged`` (when the last was given) and ``unjudged`` (the rules that could not); ``events, errors`` (scores given, and how many failed), ``seen`` (the
        last step with any), ``gone`` (others were seen later), ``share`` (of all answers), ``p50, p99`` (seconds inside the model); ``distance,
        distance_tolerance`` (of the scores from their reference) and ``disagreement, disagreement_tolerance`` (with the
        partner), of the last such verdict; ``partner, mean, sd`` (of
        the difference by request); ``traffic`` and ``drift`` (events by step, and distance over tolerance by verdict, as
        lists for sparklines).
    """
    counts = count_table(store, span) if counts is None else counts
    counts = counts[counts["model"] != ""]
    identity = ["model", "version"]
    groups = counts.groupby(identity, sort=True)
    fleet = _present(counts)
    fleet["traffic"] = groups["events"].agg(lambda events: events.fillna(0).tolist())
    latency = latency_table(store, span.whole, "latency.model", [0.5, 0.99], by_model=True).set_index(identity)
    for name, percentile in (("p50", 0.5), ("p99", 0.99)):
        fleet[name] = latency.loc[latency["percentile"] == percentile, "seconds"]
    answers = selection_table(store, span.whole).groupby(identity)["n"].sum()
    fleet["share"] = answers / max(answers.sum(), 1)
    fleet["share"] = fleet["share"].fillna(0.0)
    fleet = fleet.join(
        pair_table(store, span.whole).drop_duplicates(identity).set_index(identity)[["partner", "mean", "sd"]]
    )
    fleet = fleet.join(_judged(store, span, fleet.index, verdicts))
    fleet = fleet.reset_index()
    fleet.insert(0, "role", fleet["model"].map(roles(store, span.until)))
    order = {role: place for place, role in enumerate(("champion", "challenger", "fallback", "canary"))}
    return fleet.sort_values(
        ["role", *identity], key=lambda c: c.map(order) if c.name == "role" else c, ignore_index=True
    )


def health_table(counts: pd.DataFrame, last: pd.DataFrame) -> pd.DataFrame:
    """Say who is there, and how each was judged last: what of `fleet_table` tells how the fleet is.

    Parameters
    ----------
    counts
        From `birdwatch.windows.tables.count_table`.
    last
        From `last_verdict_table`.

    Returns
    -------
    DataFrame
        ``model, version, events, gone, status``, as `fleet_table` has them.
    """
    found = _present(counts[counts["model"] != ""])
    found["status"] = _statuses(last[last["model"] != ""].set_index(["model", "version"]))
    return found.fillna({"status": "no data"}).reset_index()[["model", "version", "events", "gone", "status"]]


def _present(counts: pd.DataFrame) -> pd.DataFrame:
    """Tell of each version that gave scores how many, when the last, and whether others went on after it."""
    identity = ["model", "version"]
    found = counts.groupby(identity, sort=True)[["events", "errors"]].sum()
    found = found[found["events"] > 0]
    found["seen"] = counts[counts["events"] > 0].groupby(identity)["time"].max()
    found["gone"] = found["seen"] < found["seen"].max()
    return found


def _statuses(last: pd.DataFrame) -> "pd.Series[str]":
    """Give the worst status of each version of a model, by which the last verdicts are indexed."""
    worst = last["status"].map(_WORST_FIRST.index).groupby(level=[0, 1]).min()
    return worst.map(dict(enumerate(_WORST_FIRST)))


def _judged(store: Store, span: Span, subjects: pd.Index, verdicts: pd.DataFrame | None) -> pd.DataFrame:
    """Give the part of the fleet table that comes from verdicts."""
    found = pd.DataFrame(index=subjects)
    if verdicts is None:
        verdicts = verdict_table(store, span.since, span.until)
    last = last_verdict_table(store, span.since, span.until, verdicts)
    last = last[last["model"] != ""].set_index(["model", "version"])
    found["status"] = _statuses(last)
    found["status"] = found["status"].fillna("no data")
    waiting = last[last["status"] == "no data"]
    found["unjudged"] = waiting.groupby(level=[0, 1])["rule"].agg(lambda rules: ", ".join(sorted(set(rules))))
    found["unjudged"] = found["unjudged"].fillna("")
    found["judged"] = last.groupby(level=[0, 1])["time"].max()
    for kind, name in (("distribution", "distance"), ("disagreement", "disagreement")):
        of_kind = last[last["kind"] == kind].groupby(level=[0, 1]).last()
        found[name], found[f"{name}_tolerance"] = of_kind["value"], of_kind["tolerance"]
    over_time = verdicts[(verdicts["kind"] == "distribution") & (verdicts["model"] != "") & (verdicts["tolerance"] > 0)]
    multiples = over_time["value"] / over_time["tolerance"]
    found["drift"] = multiples.groupby([over_time["model"], over_time["version"]]).agg(list)
    return found
