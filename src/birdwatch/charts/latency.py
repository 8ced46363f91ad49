"""Latency over time."""

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
    line_and_points,
    model_colour,
    shown_in,
    when,
)

__all__ = ["latency_chart"]

_PERCENTILES: Final = {"p50": "#56B4E9", "p90": "#009E73", "p99": "#0072B2", "p99.9": "#D55E00"}

_TICKS: Final = [m * 10.0**e for e in range(-6, 4) for m in (1, 2, 5)]

_UNITS: Final = (
    "datum.value < 0.000999 ? format(datum.value * 1e6, '.3~g') + ' µs' :"
    " datum.value < 0.999 ? format(datum.value * 1e3, '.3~g') + ' ms' : format(datum.value, '.3~g') + ' s'"
)


def latency_chart(table: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw percentiles on a log axis: coloured by percentile for the fleet, by model for models.

    Parameters
    ----------
    table
        From `birdwatch.windows.tables.latency_table`.
    """
    named = table.assign(percentile=[f"p{100 * p:g}" for p in table["percentile"]], milliseconds=table["seconds"] * 1e3)
    # The highest first: where a step has too few events to tell it from the next, the next is drawn upon it, and thinner.
    named = named.sort_values("percentile", ascending=False, kind="stable")
    spec = _spec(colours, shown_in(named, colours.models), shown_in(named, list(_PERCENTILES), "percentile"))
    return draw(spec, named, marks)


@lru_cache(maxsize=32)
def _spec(colours: Colours, models: tuple[str, ...], percentiles: tuple[str, ...]) -> dict[str, Any]:
    names = list(_PERCENTILES)
    by_percentile = alt.Color(
        "percentile:N",
        scale=alt.Scale(domain=names, range=list(_PERCENTILES.values())),
        legend=alt.Legend(orient="top", title=None, values=list(percentiles)),
    )
    told = [when(), "percentile:N", alt.Tooltip("milliseconds:Q", format=",.2f"), alt.Tooltip("n:Q", format=",")]
    return framed(
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
        )
    )
