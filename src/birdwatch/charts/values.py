"""Values beside what they were: how a distribution moved."""

from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from birdwatch.charts.marks import Drawing, largest

__all__ = ["values_chart"]


def values_chart(table: pd.DataFrame) -> Drawing:
    """Draw which share of all each value has now and had before, one bar beside the other.

    Parameters
    ----------
    table
        ``place, value, now, before``, from `birdwatch.detect.tables.value_table`.
    """
    long = table.melt(["place", "value"], ["now", "before"], "time", "share")
    most = largest(table.assign(moved=(table["now"] - table["before"]).abs()), "moved")
    says = "" if most is None else f"{most['value']} moved most: {most['now']:.1%} now, {most['before']:.1%} before."
    return Drawing(_spec(), {"main": long}, says)


@lru_cache(maxsize=1)
def _spec() -> dict[str, Any]:
    bars = (
        alt.Chart(alt.NamedData("main"))
        .mark_bar()
        .encode(
            x=alt.X("value:N", title=None, sort=alt.SortField("place"), axis=alt.Axis(labelAngle=-40)),
            xOffset=alt.XOffset("time:N", sort=["before", "now"]),
            y=alt.Y("share:Q", title="share of all", axis=alt.Axis(format="~%")),
            color=alt.Color(
                "time:N",
                scale=alt.Scale(domain=["before", "now"], range=["#888888", "#D55E00"]),
                legend=alt.Legend(orient="top", title=None),
            ),
            tooltip=["value:N", "time:N", alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=320)
    )
    spec: dict[str, Any] = bars.to_dict(validate=False)
    del spec["config"]
    return spec
