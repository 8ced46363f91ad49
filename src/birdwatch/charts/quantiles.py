"""Quantile against quantile: which part of the scores has moved, whither, and whether chance could do as much."""

from functools import lru_cache
from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd

from birdwatch.charts.marks import Drawing, said_number

__all__ = ["quantile_chart"]

_GREY: Final = "#888888"
_CALM: Final = "#0072B2"
_MOVED: Final = "#D55E00"
_NAMED: Final = {0.1: "1 in 10 below", 0.5: "half below", 0.9: "9 in 10 below"}
_DIRECTIONS: Final = {1: "higher", -1: "lower", 0: "as chance leaves it"}
_NEAR: Final = 0.05
"""What begins or ends so near to where nothing can be told any more goes on to the end, as far as anybody knows."""

_NEARLY: Final = 0.9
"""So much of all levels counts as all of them."""


def quantile_chart(table: pd.DataFrame) -> Drawing:
    """Draw quantiles now against those before: on the dashed line nothing has moved, in the grey chance explains it.

    Parameters
    ----------
    table
        From `birdwatch.windows.qq.qq_table`.

    Examples
    --------
    >>> import numpy as np
    >>> from birdwatch.stats.grid import bins_of
    >>> from birdwatch.windows.pane import Counts
    >>> from birdwatch.windows.qq import qq_table
    >>> scores = np.linspace(0.2, 0.4, 20_001)
    >>> before, now = (Counts.of(bins_of(x, "probability")) for x in (scores, np.where(scores > 0.36, scores + 0.1, scores)))
    >>> quantile_chart(qq_table(now, before)).says
    'Among the upper 19 % scores lie higher: 9 in 10 are now below 0.48, it was 0.38. Elsewhere it may be chance.'
    """
    if table.empty:
        return Drawing(_spec(), {"main": table, "ends": pd.DataFrame({"at": []})})
    lowest = float(table[["before_low", "now_low"]].min().min())
    highest = float(table[["before_high", "now_high"]].max().max())
    table = table.assign(
        direction=table["moved"].map(_DIRECTIONS),
        named=[_NAMED.get(round(level, 4), "") for level in table["level"]],
    )
    drawn = table.assign(least=table["least"].clip(lower=lowest), most=table["most"].clip(upper=highest))
    return Drawing(_spec(), {"main": drawn, "ends": pd.DataFrame({"at": [lowest, highest]})}, _said(table))


def _said(table: pd.DataFrame) -> str:
    """Say which parts of the scores have moved, the largest part first."""
    moved = table["moved"].to_numpy()
    runs = np.split(np.arange(moved.size), np.flatnonzero(np.diff(moved)) + 1)
    parts = sorted((run for run in runs if moved[run[0]]), key=len, reverse=True)
    n, m = int(table["n"].iloc[0]), int(table["m"].iloc[0])
    if not parts:
        return f"They agree: between {n:,} scores now and {m:,} before there is no more difference than chance makes."
    told = [_said_of(table, run) for run in parts[:2]]
    everywhere = sum(map(len, parts)) >= _NEARLY * moved.size
    return " ".join(told) + ("" if everywhere or len(parts) > len(told) else " Elsewhere it may be chance.")


def _said_of(table: pd.DataFrame, run: "np.ndarray[Any, Any]") -> str:
    part = table.iloc[run]
    first, last = float(part["level"].iloc[0]), float(part["level"].iloc[-1])
    whither = _DIRECTIONS[int(part["moved"].iloc[0])]
    # At the ends the grey is as wide as the scores themselves: nothing beyond could be told to move that way.
    informed = table[np.isfinite(table["least"]) & np.isfinite(table["most"])]
    reach = table["level"].iloc[[0, -1]] if informed.empty else informed["level"].iloc[[0, -1]]
    opens, ends = first <= float(reach.iloc[0]) + _NEAR, last >= float(reach.iloc[-1]) - _NEAR
    if opens and ends:
        whose = "Scores lie"
    elif ends:
        whose = f"Among the upper {1 - first:.0%} scores lie".replace("%", " %")
    elif opens:
        whose = f"Among the lower {last:.0%} scores lie".replace("%", " %")
    else:
        whose = f"Scores above the lowest {first:.0%} and below the highest {1 - last:.0%} lie".replace("%", " %")
    # Where people know what a number means, if one of these is in it; else where it moved most.
    known = part[part["named"] != ""]
    chosen = known if len(known) else part
    row = chosen.iloc[int((chosen["now"] - chosen["before"]).abs().to_numpy().argmax())]
    share = row["named"].removesuffix(" below") or f"{row['level']:.0%}".replace("%", " %")
    now, before = said_number(row["now"]), said_number(row["before"])
    return f"{whose} {whither}: {share} are now below {now}, it was {before}."


@lru_cache(maxsize=1)
def _spec() -> dict[str, Any]:
    base = alt.Chart(alt.NamedData("main"))
    scale = alt.Scale(zero=False, nice=False)
    x = alt.X("before:Q", title="score before", scale=scale)
    y = alt.Y("now:Q", title="score now", scale=scale)
    ends = alt.Chart(alt.NamedData("ends")).mark_line(color=_GREY, strokeDash=[4, 3], strokeWidth=1.5)
    names = list(_DIRECTIONS.values())
    points = base.mark_point(filled=True, opacity=0.9).encode(
        x=x,
        y=y,
        color=alt.Color(
            "direction:N",
            scale=alt.Scale(domain=names, range=[_MOVED, _MOVED, _CALM]),
            legend=alt.Legend(orient="top", title="scores now lie"),
        ),
        shape=alt.Shape(
            "direction:N",
            scale=alt.Scale(domain=names, range=["triangle-up", "triangle-down", "circle"]),
            legend=alt.Legend(orient="top", title="scores now lie"),
        ),
        size=alt.Size("direction:N", scale=alt.Scale(domain=names, range=[60, 60, 20]), legend=None),
        tooltip=[
            alt.Tooltip("level:Q", title="share of scores below", format=".0%"),
            alt.Tooltip("before:Q", format=".4~g"),
            alt.Tooltip("now:Q", format=".4~g"),
            alt.Tooltip("least:Q", title="by chance, from", format=".4~g"),
            alt.Tooltip("most:Q", title="by chance, to", format=".4~g"),
            alt.Tooltip("now_low:Q", title="the grid leaves, from", format=".4~g"),
            alt.Tooltip("now_high:Q", title="the grid leaves, to", format=".4~g"),
        ],
    )
    layers: list[alt.Chart] = [
        base.mark_area(color=_GREY, opacity=0.25).encode(x=x, y=alt.Y("least:Q", title="score now"), y2="most:Q"),
        ends.encode(x="at:Q", y="at:Q"),
        base.mark_rule(color=_CALM, strokeWidth=1).encode(x=x, y="now_low:Q", y2="now_high:Q"),
        points,
        base.transform_filter(alt.datum["named"] != "")
        .mark_text(align="left", baseline="top", dx=7, dy=4, color=_GREY)
        .encode(x=x, y=y, text="named:N"),
    ]
    spec: dict[str, Any] = alt.layer(*layers).properties(height=320).to_dict(validate=False)
    del spec["config"]
    return spec
