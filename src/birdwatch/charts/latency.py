"""Latency over time: its percentiles, how it is distributed, and how it stands to objectives."""

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
    heat,
    largest,
    level_line,
    line_and_points,
    model_colour,
    said_at,
    shown_in,
    verdict_points,
    when,
)

__all__ = ["PERCENTILES", "burn_chart", "latency_chart", "latency_heat_chart", "objective_chart"]

PERCENTILES: Final = {"p50": "#56B4E9", "p90": "#009E73", "p99": "#0072B2", "p99.9": "#D55E00"}
"""The percentiles that can be told apart, and their colours."""

_TICKS: Final = [m * 10.0**e for e in range(-6, 4) for m in (1, 2, 5)]

_UNITS: Final = (
    "datum.value < 0.000999 ? format(datum.value * 1e6, '.3~g') + ' µs' :"
    " datum.value < 0.999 ? format(datum.value * 1e3, '.3~g') + ' ms' : format(datum.value, '.3~g') + ' s'"
)


def latency_chart(table: pd.DataFrame, marks: Marks, colours: Colours, objective: float | None = None) -> Drawing:
    """Draw percentiles on a log axis: coloured by percentile for the fleet, by model for models.

    Parameters
    ----------
    table
        From `birdwatch.windows.tables.latency_table`.
    objective
        What a rule allows, in seconds, where one of them is looked at.
    """
    named = table.assign(percentile=[f"p{100 * p:g}" for p in table["percentile"]], milliseconds=table["seconds"] * 1e3)
    # The highest first: where a step has too few events to tell it from the next, the next is drawn upon it, and thinner.
    named = named.sort_values("percentile", ascending=False, kind="stable")
    spec = _spec(colours, shown_in(named, colours.models), shown_in(named, list(PERCENTILES), "percentile"), objective)
    return draw(spec, named, marks, _said(named))


def _said(table: pd.DataFrame) -> str:
    of_p99 = table[table["percentile"] == "p99"]
    worst = largest(of_p99, "seconds")
    if worst is None:
        return ""
    whose = f" of {worst['model']} {worst['version']}" if worst["model"] else ""
    return (
        f"p99 was {_spoken(of_p99['seconds'].median())} in the middle of this time, and {_spoken(worst['seconds'])}"
        f"{whose} at its highest, on {said_at(worst['time'])}."
    )


def _spoken(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def latency_heat_chart(table: pd.DataFrame, marks: Marks) -> Drawing:
    """Draw how latency was distributed, step by step: a second hump, which percentiles hide, is a second band.

    Parameters
    ----------
    table
        From `birdwatch.windows.heat.heat_table`.
    """
    says = ""
    by_cell = table.groupby(["low", "high"])[["n"]].sum().reset_index()
    fullest = largest(by_cell, "n")
    if fullest is not None:
        says = (
            f"The fullest range is {_spoken(fullest['low'])} to {_spoken(fullest['high'])};"
            f" the longest took up to {_spoken(by_cell['high'].max())}."
        )
    return draw(_heat(), table, marks, says)


@lru_cache(maxsize=1)
def _heat() -> dict[str, Any]:
    axis = alt.Y(
        "low:Q",
        title="latency (log)",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(labelExpr=_UNITS, values=_TICKS),
    )
    return heat(axis, ".3~s")


def objective_chart(verdicts: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw each latency over what its objective allows, on a log axis: above the line it is broken.

    Parameters
    ----------
    verdicts
        From `birdwatch.detect.tables.worst_by_step`: those of rules of the kind ``latency``.
    """
    table = verdicts[verdicts["tolerance"] > 0].assign(multiple=lambda t: t["value"] / t["tolerance"])
    table = table[table["multiple"] > 0]
    broken = table[table["multiple"] > 1]
    worst = largest(broken, "multiple")
    says = f"Above its objective in {len(broken)} of {len(table)} looks"
    if worst is not None:
        who = worst["model"] or "the answer"
        says += f"; furthest was {who}, at {worst['multiple']:.1f} times what is allowed, {said_at(worst['time'])}"
    return draw(_objectives(colours, shown_in(table, colours.models)), table, marks, f"{says}.")


@lru_cache(maxsize=32)
def _objectives(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    points = verdict_points(
        y=alt.Y("multiple:Q", title="latency ÷ objective (log)", scale=alt.Scale(type="log")),
        color=model_colour(colours, models),
        detail=["version:N", "rule:N"],
        tooltip=[
            when(),
            *("model:N", "version:N", "rule:N", "status:N", "statistic:N"),
            alt.Tooltip("value:Q", title="seconds", format=".3~g"),
            alt.Tooltip("tolerance:Q", title="objective, seconds", format=".3~g"),
            alt.Tooltip("level:Q", title="evidence, of what alarms", format=".0%"),
            alt.Tooltip("n:Q", format=","),
            "reason:N",
        ],
    )
    return framed(level_line(1.0, "objective"), points)


def burn_chart(table: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw how fast objectives burn what they allow: at the line all of it is spent in the end.

    Parameters
    ----------
    table
        From `birdwatch.detect.burn.burn_table`.
    """
    return draw(_burns(colours, shown_in(table, colours.models)), table, marks, _said_of_burn(table))


def _said_of_burn(table: pd.DataFrame) -> str:
    sums = table.groupby(["rule", "model", "version", "allowed"], as_index=False)[["n", "slower"]].sum()
    sums["share"] = sums["slower"] / sums["n"]
    sums["spent"] = sums["share"] / sums["allowed"]
    worst = largest(sums, "spent")
    if worst is None:
        return ""
    over = int((sums["spent"] > 1).sum())
    return (
        f"{over} of {len(sums)} spent more than they may in this time. Most did {worst['model']} {worst['version']} by the rule"
        f" {worst['rule']}: {worst['slower']:,.0f} of {worst['n']:,.0f} took longer than its objective, {worst['share']:.2%} where"
        f" {worst['allowed']:.2%} may, so {worst['spent']:.0%} of what is allowed."
    )


@lru_cache(maxsize=32)
def _burns(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    lines = line_and_points(
        y=alt.Y("burn:Q", title="burn rate", scale=alt.Scale(domainMin=0)),
        color=model_colour(colours, models),
        detail=["version:N", "rule:N"],
        tooltip=[
            when(),
            *("model:N", "version:N", "rule:N"),
            alt.Tooltip("burn:Q", title="burn rate", format=".2f"),
            alt.Tooltip("slower:Q", title="took longer", format=","),
            alt.Tooltip("n:Q", title="of", format=","),
            alt.Tooltip("allowed:Q", title="may", format=".2%"),
        ],
    )
    return framed(level_line(1.0, "all that is allowed"), lines)


@lru_cache(maxsize=32)
def _spec(
    colours: Colours, models: tuple[str, ...], percentiles: tuple[str, ...], objective: float | None
) -> dict[str, Any]:
    names = list(PERCENTILES)
    by_percentile = alt.Color(
        "percentile:N",
        scale=alt.Scale(domain=names, range=list(PERCENTILES.values())),
        legend=alt.Legend(orient="top", title=None, values=list(percentiles)),
    )
    told = [when(), "percentile:N", alt.Tooltip("milliseconds:Q", format=",.2f"), alt.Tooltip("n:Q", format=",")]
    return framed(
        *([] if objective is None else [level_line(objective, "objective")]),
        line_and_points(
            y=alt.Y(
                "seconds:Q",
                title="latency (log)",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(labelExpr=_UNITS, values=_TICKS),
            ),
            color=model_colour(colours, models) if models else by_percentile,
            detail=["version:N", "percentile:N"],
            width=alt.StrokeWidth(
                "percentile:O", scale=alt.Scale(domain=names, range=[1.8, 1.8, 1.8, 4.5]), legend=None
            ),
            tooltip=[*told, "model:N", "version:N"] if models else told,
        ),
    )
