"""Which model answered, and why."""

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

__all__ = ["misses_chart", "other_choices_chart", "selection_chart"]

_REASONS: Final = {
    "timed out": "#E69F00",
    "explored": "#009E73",
    "override": "#CC79A7",
    "all failed": "#D55E00",
    "default": "#56B4E9",
}


def selection_chart(table: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw the share of answers that each model gave.

    Parameters
    ----------
    table
        From `birdwatch.windows.tables.selection_table`.
    """
    shares = table.groupby(["time", "model", "tier"], as_index=False)[["n", "share"]].sum()
    whole = shares.groupby("model")["n"].sum().sort_values(ascending=False)
    told = [f"{model} {n / whole.sum():.1%}" for model, n in whole.head(3).items() if n]
    says = f"Of {whole.sum():,.0f} answers: {', '.join(told)}." if told else ""
    return draw(_selections(colours, shown_in(shares, colours.models)), shares, marks, says)


@lru_cache(maxsize=32)
def _selections(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    return framed(
        alt.Chart(alt.NamedData("main"))
        .mark_area(interpolate="step-after")
        .encode(
            x=time_axis(),
            y=alt.Y("share:Q", title="share of answers", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            color=model_colour(colours, models),
            detail="tier:O",
            order="tier:O",
            tooltip=[
                when(),
                "model:N",
                "tier:O",
                alt.Tooltip("share:Q", format=".2%"),
                alt.Tooltip("n:Q", title="answers", format=","),
            ],
        )
    )


def other_choices_chart(table: pd.DataFrame, marks: Marks) -> Drawing:
    """Draw the share of answers that were not the first choice, by reason.

    Parameters
    ----------
    table
        From `birdwatch.windows.tables.selection_table`.
    """
    others = table[table["reason"] != "first choice"]
    shares = others.groupby(["time", "model", "tier", "reason"], as_index=False)[["n", "share"]].sum()
    shares["to"] = shares["time"] + pd.Timedelta(seconds=marks.span.step)
    reasons = shares.groupby("reason")["n"].sum().sort_values(ascending=False)
    told = [f"{reason} {n:,.0f}" for reason, n in reasons.items() if n]
    says = f"{reasons.sum():,.0f} of {table['n'].sum():,.0f} answers: {', '.join(told)}." if told else ""
    return draw(_others(shown_in(shares, list(_REASONS), "reason")), shares, marks, says)


@lru_cache(maxsize=32)
def _others(reasons: tuple[str, ...]) -> dict[str, Any]:
    return framed(
        alt.Chart(alt.NamedData("main"))
        .mark_bar(binSpacing=0)
        .encode(
            x=time_axis(bin="binned"),
            x2="to:T",
            y=alt.Y("share:Q", title="share of answers", axis=alt.Axis(format="~p")),
            color=alt.Color(
                "reason:N",
                scale=alt.Scale(domain=list(_REASONS), range=list(_REASONS.values())),
                legend=alt.Legend(orient="top", title=None, values=list(reasons)),
            ),
            tooltip=[
                when(),
                "reason:N",
                "model:N",
                "tier:O",
                alt.Tooltip("share:Q", format=".2%"),
                alt.Tooltip("n:Q", title="answers", format=","),
            ],
        )
    )


def misses_chart(counts: pd.DataFrame, marks: Marks) -> Drawing:
    """Draw the share of answers that came after their deadline.

    Parameters
    ----------
    counts
        From `birdwatch.windows.tables.count_table`.
    """
    fleet = counts[(counts["model"] == "") & (counts["decisions"] > 0)]
    table = fleet.assign(share=fleet["sla_misses"] / fleet["decisions"])
    missed, of = table["sla_misses"].sum(), table["decisions"].sum()
    says = f"{missed:,.0f} of {of:,.0f} answers came too late" if of else ""
    worst = largest(table, "share")
    if missed and worst is not None:
        says += f"; the worst step was {said_at(worst['time'])}, with {worst['share']:.2%}"
    return draw(_misses(), table[["time", "share", "sla_misses", "decisions"]], marks, says and f"{says}.")


@lru_cache(maxsize=1)
def _misses() -> dict[str, Any]:
    return framed(
        line_and_points(
            y=alt.Y("share:Q", title="share of answers too late", axis=alt.Axis(format="~%")),
            color=alt.value("#D55E00"),
            tooltip=[
                when(),
                alt.Tooltip("share:Q", format=".3%"),
                alt.Tooltip("sla_misses:Q", title="too late", format=","),
                alt.Tooltip("decisions:Q", title="answers", format=","),
            ],
        )
    )
