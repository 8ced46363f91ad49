"""Which model answered, and why."""

from functools import lru_cache
from typing import Any, Final

import altair as alt
import pandas as pd

from birdwatch.charts.marks import Colours, Drawing, Marks, draw, framed, model_colour, shown_in, time_axis, when

__all__ = ["other_choices_chart", "selection_chart"]

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
    return draw(_selections(colours, shown_in(shares, colours.models)), shares, marks)


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
    return draw(_others(shown_in(shares, list(_REASONS), "reason")), shares, marks)


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
