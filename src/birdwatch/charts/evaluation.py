"""What is asked afterwards: whether probabilities are what they say, what other deadlines would miss, and policies earn."""

from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from birdwatch.charts.marks import OKABE_ITO, Drawing

__all__ = ["deadline_chart", "policy_chart", "reliability_chart"]

_GREY = "#888888"


def reliability_chart(table: pd.DataFrame) -> Drawing:
    """Draw observed against predicted rates, with bars in which a calibrated model would lie.

    Parameters
    ----------
    table
        From `birdwatch.evaluate.quality.reliability`.
    """
    apart = (table["observed"] < table["low"]) | (table["observed"] > table["high"])
    says = (
        f"{int(apart.sum())} of {len(table)} observed rates lie outside of their bars, in which those of a calibrated model"
        " would."
    )
    return Drawing(_reliability(), {"main": table.assign(calibrated=~apart)}, says)


@lru_cache(maxsize=1)
def _reliability() -> dict[str, Any]:
    base = alt.Chart(alt.NamedData("main")).encode(
        x=alt.X("predicted:Q", title="predicted rate", axis=alt.Axis(format="%"), scale=alt.Scale(zero=True))
    )
    share = alt.Axis(format="%")
    bars = base.mark_rule(strokeWidth=7, opacity=0.45, color=_GREY).encode(
        y=alt.Y("low:Q", title="observed rate", axis=share, scale=alt.Scale(zero=True)), y2="high:Q"
    )
    diagonal = base.mark_line(strokeDash=[4, 3], color=_GREY).encode(y="predicted:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        y="observed:Q",
        color=alt.Color(
            "calibrated:N",
            scale=alt.Scale(domain=[True, False], range=[OKABE_ITO[0], OKABE_ITO[4]]),
            legend=alt.Legend(
                orient="top", title=None, labelExpr="datum.value ? 'as a calibrated model' : 'off'", symbolType="circle"
            ),
        ),
        tooltip=[
            alt.Tooltip("predicted:Q", format=".1%"),
            alt.Tooltip("observed:Q", format=".1%"),
            alt.Tooltip("low:Q", title="calibrated from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
            alt.Tooltip("n:Q", format=","),
        ],
    )
    return _built(alt.layer(diagonal, bars, points))


def deadline_chart(table: pd.DataFrame, deadline_seconds: float | None = None) -> Drawing:
    """Draw the share of requests that each model would miss by deadline, with its band.

    Parameters
    ----------
    table
        From `birdwatch.evaluate.deadline.fallback_rates`, with a column ``model``.
    deadline_seconds
        The one in force; the sentence is about it.
    """
    told = []
    if deadline_seconds is not None:
        known = table[table["rate"].notna() & (table["deadline_seconds"] <= deadline_seconds)]
        last = known.sort_values("deadline_seconds").groupby("model").tail(1)
        told = [
            f"{row['model']} {row['rate']:.2%} ({row['low']:.2%} to {row['high']:.2%})" for _, row in last.iterrows()
        ]
    says = f"Missed at {deadline_seconds:g} s: {', '.join(told)}." if told else ""
    return Drawing(_deadlines(), {"main": table}, says)


@lru_cache(maxsize=1)
def _deadlines() -> dict[str, Any]:
    base = alt.Chart(alt.NamedData("main")).encode(
        x=alt.X("deadline_seconds:Q", title="deadline, seconds"),
        color=alt.Color(
            "model:N",
            scale=alt.Scale(range=list(OKABE_ITO)),
            legend=alt.Legend(orient="top", title=None, columns=3, symbolOpacity=1),
        ),
    )
    band = base.mark_area(opacity=0.25, interpolate="step-after").encode(
        y=alt.Y("low:Q", title="share missed", axis=alt.Axis(format="~%"), scale=alt.Scale(domain=[0, 1])), y2="high:Q"
    )
    line = base.mark_line(interpolate="step-after", strokeWidth=1.8).encode(y="rate:Q")
    near = base.mark_point(filled=True, size=90, opacity=0).encode(
        y="rate:Q",
        tooltip=[
            "model:N",
            alt.Tooltip("deadline_seconds:Q", title="deadline, s", format=".3~g"),
            alt.Tooltip("rate:Q", title="missed", format=".2%"),
            alt.Tooltip("low:Q", title="from", format=".2%"),
            alt.Tooltip("high:Q", title="to", format=".2%"),
        ],
    )
    return _built(alt.layer(band, line, near))


def policy_chart(table: pd.DataFrame, drawn: float) -> Drawing:
    """Draw what policies would have earned, each with its interval, and a line at what was earned.

    Parameters
    ----------
    table
        ``policy, value, low, high``.
    drawn
        What was earned a request.
    """
    apart = int(((table["low"] > drawn) | (table["high"] < drawn)).sum())
    says = f"The line is at {drawn:.3g}, what was drawn earned; the ranges of {apart} of {len(table)} do not reach it."
    return Drawing(_policies(), {"main": table, "drawn": pd.DataFrame({"value": [drawn]})}, says)


@lru_cache(maxsize=1)
def _policies() -> dict[str, Any]:
    base = alt.Chart(alt.NamedData("main")).encode(y=alt.Y("policy:N", title=None))
    value = alt.X("value:Q", title="earned a request", scale=alt.Scale(zero=False))
    bars = base.mark_rule(strokeWidth=6, opacity=0.45, color=OKABE_ITO[0]).encode(x=alt.X("low:Q"), x2="high:Q")
    points = base.mark_point(filled=True, size=90, opacity=1, color=OKABE_ITO[0]).encode(
        x=value, tooltip=["policy:N", alt.Tooltip("value:Q", format=".3g")]
    )
    line = alt.Chart(alt.NamedData("drawn")).mark_rule(strokeDash=[4, 3], color=OKABE_ITO[4]).encode(x="value:Q")
    return _built(alt.layer(bars, points, line))


def _built(chart: alt.LayerChart | alt.FacetChart) -> dict[str, Any]:
    spec: dict[str, Any] = chart.properties(height=320).to_dict(validate=False)
    del spec["config"]  # the page's theme, or the notebook's, is put in its place
    return spec
