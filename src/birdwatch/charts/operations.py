"""What was done and what was told: changes, alerts and traffic on an axis of time."""

from functools import lru_cache
from typing import Any, Final

import altair as alt
import pandas as pd

from birdwatch.charts.marks import (
    Colours,
    Drawing,
    Marks,
    draw,
    framed,
    largest,
    line_and_points,
    model_colour,
    said_at,
    shown_in,
    time_axis,
    when,
)

__all__ = ["changes_chart", "episodes_chart", "pending_chart", "traffic_chart"]

_ACTIONS: Final = {
    "register": ("circle", "#0072B2"),
    "warm": ("circle", "#56B4E9"),
    "ramp": ("triangle-up", "#E69F00"),
    "hold": ("square", "#CC79A7"),
    "champion": ("diamond", "#009E73"),
    "schedule": ("stroke", "#888888"),
    "override": ("square", "#888888"),
    "rollback": ("triangle-down", "#D55E00"),
    "retire": ("cross", "#888888"),
    "swap": ("triangle-right", "#F0E442"),
    "swapped": ("triangle-right", "#009E73"),
}
_GUARD: Final = "guard"  # as `birdwatch.serving.control.guard` signs
_UNITS: Final = {"a second": 1, "a minute": 60}
_SEVERITIES: Final = {"page": "#D55E00", "ticket": "#E69F00", "info": "#56B4E9"}


def changes_chart(controls: pd.DataFrame, marks: Marks) -> Drawing:
    """Draw what operators and guards changed: a row a model, a mark a change, told apart by shape and by colour.

    Above a ramp stands to how many percent, below a mark who made it where that is none of the people: the guard.

    Parameters
    ----------
    controls
        From `birdwatch.windows.tables.control_table`.
    """
    table = controls.assign(
        about=controls["model"].where(controls["model"] != "", "(all)"),
        share=controls["what"].str.extract(r" to (\S+ %)$", expand=False).fillna(""),
        guard=controls["author"].where(controls["author"] == _GUARD, ""),
    )
    says = ""
    if len(table):
        last = table.iloc[-1]
        says = f"{len(table)} change{'s' * (len(table) > 1)}; the last: {last['what']}, by {last['author']}, {said_at(last['time'])}."
    # The changes are the chart: to mark them again upon it would hide them.
    return draw(
        _changes(shown_in(table, list(_ACTIONS), "action")),
        table,
        marks._replace(deployments=marks.deployments[:0]),
        says,
    )


@lru_cache(maxsize=32)
def _changes(actions: tuple[str, ...]) -> dict[str, Any]:
    shapes, colours = ([_ACTIONS[name][i] for name in _ACTIONS] for i in (0, 1))
    legend = alt.Legend(orient="top", title=None, columns=4, values=list(actions))
    base = alt.Chart(alt.NamedData("main")).encode(x=time_axis(), y=alt.Y("about:N", title=None))
    return framed(
        base.mark_point(size=180, filled=True, opacity=0.9).encode(
            shape=alt.Shape("action:N", scale=alt.Scale(domain=list(_ACTIONS), range=shapes), legend=legend),
            color=alt.Color("action:N", scale=alt.Scale(domain=list(_ACTIONS), range=colours), legend=legend),
            tooltip=[when(), "what:N", alt.Tooltip("author:N", title="by"), alt.Tooltip("reason:N", title="because")],
        ),
        base.mark_text(color="#888888", fontSize=11, dy=-15).encode(text="share:N"),
        base.mark_text(color="#888888", fontSize=11, dy=16).encode(text="guard:N"),
        height=220,
    )


def episodes_chart(alerts: pd.DataFrame, marks: Marks) -> Drawing:
    """Draw each alert as a bar from its first evidence to its end, a row a rule.

    Parameters
    ----------
    alerts
        From `birdwatch.alerts.tables.alert_table`.
    """
    bars = marks.alerts
    firing = int((alerts["state"] == "firing").sum())
    each = alerts["severity"].value_counts()
    told = ", ".join(f"{each[name]} {name}{'s' * bool(each[name] > 1)}" for name in _SEVERITIES if name in each)
    says = f"{told} in this time; {firing} still firing at its end." if told else ""
    return draw(_episodes(), bars, marks._replace(alerts=bars[:0]), says)


@lru_cache(maxsize=1)
def _episodes() -> dict[str, Any]:
    names = list(_SEVERITIES)
    base = alt.Chart(alt.NamedData("main")).encode(
        x=time_axis(),
        y=alt.Y("rule:N", title=None),
        color=alt.Color(
            "severity:N",
            scale=alt.Scale(domain=names, range=list(_SEVERITIES.values())),
            legend=alt.Legend(orient="top", title=None),
        ),
        tooltip=[when(), "severity:N", "about:N", "attribution:N", "reason:N"],
    )
    # A short one among many days is a bar too thin to see: its beginning is marked.
    return framed(
        base.mark_bar(height=14).encode(x2="to:T"), base.mark_point(filled=True, size=90, shape="diamond"), height=220
    )


def traffic_chart(counts: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw how many requests came in a second (or minute, or hour), in grey, and how many scores of each version.

    Parameters
    ----------
    counts
        From `birdwatch.windows.tables.count_table`.
    """
    n = counts["events"].where(counts["model"] != "", counts["requests"])
    busiest = n.max() / marks.span.step
    unit, seconds = next(((u, s) for u, s in _UNITS.items() if busiest * s >= 1), ("an hour", 3600))
    table = counts[["time", "model", "version"]].assign(rate=n / marks.span.step * seconds)
    requests = table[table["model"] == ""]
    peak = largest(requests, "rate")
    says = ""
    if peak is not None:
        says = (
            f"{requests['rate'].mean():.3g} requests {unit} on average,"
            f" {peak['rate']:.3g} at the peak, {said_at(peak['time'])}."
        )
    return draw(_traffic(colours, shown_in(table, colours.models), unit), table, marks, says)


@lru_cache(maxsize=32)
def _traffic(colours: Colours, models: tuple[str, ...], title: str) -> dict[str, Any]:
    y = alt.Y("rate:Q", title=title, scale=alt.Scale(zero=True))
    requests = (
        alt.Chart(alt.NamedData("main"))
        .mark_area(color="#888888", opacity=0.3)
        .transform_filter(alt.datum["model"] == "")
        .encode(x=time_axis(), y=y)
    )
    lines = line_and_points(
        y=y,
        color=model_colour(colours, models),
        detail="version:N",
        tooltip=[when(), "model:N", "version:N", alt.Tooltip("rate:Q", title=title, format=".3~g")],
    )
    return framed(requests, lines)


def pending_chart(audit: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw which share of the requests have no score of a model, step by step.

    Parameters
    ----------
    audit
        From `birdwatch.windows.accounts.audit_table`.
    """
    table = audit[audit["requests"] > 0].assign(share=lambda t: (t["pending"] + t["failed"]) / t["requests"])
    missing, of = table["pending"].sum() + table["failed"].sum(), table["requests"].sum()
    says = f"{missing:,.0f} of {of:,.0f} scores that were due are missing or failed." if of else ""
    return draw(_pending(colours, shown_in(table, colours.models)), table, marks, says)


@lru_cache(maxsize=32)
def _pending(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    return framed(
        line_and_points(
            y=alt.Y("share:Q", title="share without a score", axis=alt.Axis(format="~%"), scale=alt.Scale(zero=True)),
            color=model_colour(colours, models),
            tooltip=[
                when(),
                "model:N",
                alt.Tooltip("share:Q", format=".2%"),
                *(alt.Tooltip(f"{name}:Q", format=",") for name in ("requests", "scored", "failed", "pending")),
            ],
        )
    )
