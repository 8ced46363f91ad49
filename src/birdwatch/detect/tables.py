"""Tables for people: verdicts, and the fleet with its last verdicts, as pandas frames."""

from typing import Any, Final

import pandas as pd

from birdwatch.detect.verdict import Status, Verdict, read_verdicts
from birdwatch.windows.roles import roles
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, count_table, latency_table, pair_table, selection_table

__all__ = ["fleet_table", "last_verdict_table", "verdict_table", "worst_status"]

_WORST_FIRST: Final[tuple[Status, ...]] = ("error", "drifting", "ok", "no data")

_COLUMNS: Final = (
    "time",
    "start",
    "rule",
    "kind",
    "model",
    "version",
    "partner",
    "status",
    "statistic",
    "value",
    "tolerance",
    "effect",
    "n",
    "reason",
    "disagreement",
    "disagreement_tolerance",
)


def verdict_table(store: Store, since: int, until: int, rule: str | None = None) -> pd.DataFrame:
    """Give the verdicts whose window ends in (since, until].

    Returns
    -------
    DataFrame
        A row a verdict, by time: ``time`` is the end of its window and ``start`` the beginning (both UTC), then ``rule,
        kind, model, version, partner, status, statistic, value, tolerance, effect, n, reason``, and for a pair
        ``disagreement, disagreement_tolerance``, whichever statistic spoke. What could not be measured is NaN.
    """
    return _table(read_verdicts(store, since, until, rule))


def last_verdict_table(store: Store, since: int, until: int) -> pd.DataFrame:
    """Give the last verdict of each rule on each subject, as of ``until``.

    Those of (since, until], and those of the last window that each rule judged by then, however long ago: a rule that looks
    at a week has its say on every day.
    """
    found = read_verdicts(store, since, until)
    for rule, end in _last_windows(store, until):
        if end <= since:
            found += read_verdicts(store, end - 1, end, rule)
    table = _table(found).sort_values("time", kind="stable")
    return table.drop_duplicates(["rule", "model", "version", "partner"], keep="last")


def _last_windows(store: Store, until: int) -> list[tuple[str, int]]:
    if not store.connection.table_exists(None, "verdicts"):
        return []
    rows: Any = store.connection.execute(
        'SELECT rule, max("end") FROM verdicts WHERE "end" <= ? GROUP BY rule ORDER BY rule', (until,)
    )
    return [(rule, end) for rule, end in rows]


def _table(verdicts: list[Verdict]) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = [
        (
            v.end,
            v.start,
            v.rule,
            v.kind,
            v.subject.model,
            v.subject.version,
            v.subject.partner,
            v.status,
            v.statistic,
            v.value,
            v.tolerance,
            v.effect,
            v.n,
            v.reason,
            v.details.get("disagreement"),
            v.details.get("disagreement_tolerance"),
        )
        for v in verdicts
    ]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    for time in ("time", "start"):
        frame[time] = pd.to_datetime(frame[time], unit="s", utc=True)
    numbers = ("value", "tolerance", "effect", "disagreement", "disagreement_tolerance")
    return frame.astype({**dict.fromkeys(numbers, float), "n": int})


def worst_status(statuses: pd.Series) -> Status:
    """Give the status that most needs a look; "no data" when no rule could judge.

    Examples
    --------
    >>> worst_status(pd.Series(["ok", "drifting", "no data"]))
    'drifting'
    """
    return next((status for status in _WORST_FIRST if (statuses == status).any()), "no data")


def fleet_table(store: Store, span: Span) -> pd.DataFrame:
    """Sum up each version of each model over a span.

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
    counts = count_table(store, span)
    counts = counts[counts["model"] != ""]
    identity = ["model", "version"]
    groups = counts.groupby(identity, sort=True)
    fleet = groups[["events", "errors"]].sum()
    fleet = fleet[fleet["events"] > 0]
    fleet["seen"] = counts[counts["events"] > 0].groupby(identity)["time"].max()
    fleet["gone"] = fleet["seen"] < fleet["seen"].max()
    fleet["traffic"] = groups["events"].agg(lambda events: events.fillna(0).tolist())
    for name, percentile in (("p50", 0.5), ("p99", 0.99)):
        latency = latency_table(store, span.whole, "latency.model", [percentile], by_model=True)
        fleet[name] = latency.set_index(identity)["seconds"]
    answers = selection_table(store, span.whole).groupby(identity)["n"].sum()
    fleet["share"] = answers / max(answers.sum(), 1)
    fleet["share"] = fleet["share"].fillna(0.0)
    fleet = fleet.join(
        pair_table(store, span.whole).drop_duplicates(identity).set_index(identity)[["partner", "mean", "sd"]]
    )
    fleet = fleet.join(_judged(store, span, fleet.index))
    fleet = fleet.reset_index()
    fleet.insert(0, "role", fleet["model"].map(roles(store, span.until)))
    order = {role: place for place, role in enumerate(("champion", "challenger", "fallback", "canary"))}
    return fleet.sort_values(
        ["role", *identity], key=lambda c: c.map(order) if c.name == "role" else c, ignore_index=True
    )


def _judged(store: Store, span: Span, subjects: pd.Index) -> pd.DataFrame:
    """Give the part of the fleet table that comes from verdicts."""
    found = pd.DataFrame(index=subjects)
    last = last_verdict_table(store, span.since, span.until).set_index(["model", "version"])
    found["status"] = last.groupby(level=[0, 1])["status"].agg(worst_status)
    found["status"] = found["status"].fillna("no data")
    waiting = last[last["status"] == "no data"]
    found["unjudged"] = waiting.groupby(level=[0, 1])["rule"].agg(lambda rules: ", ".join(sorted(set(rules))))
    found["unjudged"] = found["unjudged"].fillna("")
    found["judged"] = last.groupby(level=[0, 1])["time"].max()
    scores = last[last["kind"] == "distribution"].groupby(level=[0, 1]).last()
    found["distance"], found["distance_tolerance"] = scores["value"], scores["tolerance"]
    pairs = last[last["kind"] == "paired"].groupby(level=[0, 1]).last()
    for name in ("disagreement", "disagreement_tolerance"):
        found[name] = pairs[name]
    verdicts = verdict_table(store, span.since, span.until)
    over_time = verdicts[(verdicts["kind"] == "distribution") & (verdicts["tolerance"] > 0)]
    multiples = over_time["value"] / over_time["tolerance"]
    found["drift"] = multiples.groupby([over_time["model"], over_time["version"]]).agg(list)
    return found
