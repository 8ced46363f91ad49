"""The fleet as a table: who is there, how each was judged last, and how it answers."""

import pandas as pd

from birdwatch.detect.tables import WORST_FIRST, last_verdict_table, verdict_table
from birdwatch.windows.roles import roles
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, count_table, latency_table, pair_table, selection_table

__all__ = ["fleet_table", "health_table"]


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
        From `birdwatch.detect.tables.last_verdict_table`.

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
    worst = last["status"].map(WORST_FIRST.index).groupby(level=[0, 1]).min()
    return worst.map(dict(enumerate(WORST_FIRST)))


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
