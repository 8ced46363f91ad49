"""Models beside their partners: the champion beside the canary, a challenger beside the champion."""

from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from birdwatch.charts.marks import (
    Colours,
    Drawing,
    Marks,
    draw,
    framed,
    line_and_points,
    model_colour,
    shown_in,
    time_axis,
    verdict_points,
    when,
)

__all__ = ["difference_chart", "disagreement_chart"]


def difference_chart(table: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw the mean difference of a model's scores to its partner's by request, with a band of one standard deviation.

    Parameters
    ----------
    table
        From `birdwatch.windows.tables.pair_table`: one pair or several.
    """
    band = table.assign(low=table["mean"] - table["sd"], high=table["mean"] + table["sd"])
    return draw(_differences(colours, shown_in(table, colours.models)), band, marks)


@lru_cache(maxsize=32)
def _differences(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    same: dict[str, Any] = {"color": model_colour(colours, models), "detail": ["version:N", "partner:N"]}
    lines = line_and_points(
        y=alt.Y("mean:Q", title="difference by request (mean ± sd)"),
        tooltip=[
            when(),
            "model:N",
            "version:N",
            "partner:N",
            alt.Tooltip("mean:Q", format="+.4f"),
            alt.Tooltip("sd:Q", format=".4f"),
            alt.Tooltip("n:Q", format=","),
        ],
        **same,
    )
    band = (
        alt.Chart(alt.NamedData("main"))
        .mark_area(opacity=0.18)
        .encode(x=time_axis(), y=alt.Y("low:Q", title=""), y2="high:Q", **same)
    )
    zero = alt.Chart(alt.NamedData("ends")).mark_rule(color="#888888").encode(y=alt.datum(0.0))
    return framed(zero, band, lines)


def disagreement_chart(verdicts: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw the share of requests on which a model disagrees with its partner unusually, against its tolerance.

    Parameters
    ----------
    verdicts
        From `birdwatch.detect.tables.verdict_table`: those on pairs.
    """
    table = verdicts[verdicts["disagreement"].notna()]
    return draw(_disagreements(colours, shown_in(table, colours.models)), table, marks)


@lru_cache(maxsize=32)
def _disagreements(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    same: dict[str, Any] = {"color": model_colour(colours, models), "detail": ["version:N", "partner:N", "rule:N"]}
    lines = verdict_points(
        y=alt.Y(
            "disagreement:Q",
            title="share of unusual disagreements",
            axis=alt.Axis(format="%"),
            scale=alt.Scale(zero=True, nice=4),
        ),
        tooltip=[
            when(),
            "model:N",
            "version:N",
            "partner:N",
            "status:N",
            alt.Tooltip("disagreement:Q", title="share", format=".1%"),
            alt.Tooltip("disagreement_tolerance:Q", title="tolerated", format=".1%"),
            alt.Tooltip("n:Q", format=","),
            "reason:N",
        ],
        **same,
    )
    limit = (
        alt.Chart(alt.NamedData("main"))
        .mark_line(strokeDash=[6, 3], strokeWidth=1.5, opacity=0.8)
        .encode(x=time_axis(), y="disagreement_tolerance:Q", **same)
    )
    return framed(limit, lines)
