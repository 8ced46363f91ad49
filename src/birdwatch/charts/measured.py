"""What one rule measured of one subject, over time."""

import re
from functools import lru_cache
from typing import Any, Final

import altair as alt
import pandas as pd

from birdwatch.charts.marks import Drawing, Layer, Marks, draw, framed, largest, said_at, time_axis, when

__all__ = ["measured_chart"]

_CALM: Final = "#0072B2"
_ALARM: Final = "#D55E00"
_GREY: Final = "#888888"

_TITLES: Final = {
    "disagreement": "requests further apart than usual",
    "crossed": "difference of the shares above a cut",
    "mean": "mean difference, beyond the usual",
    "ks": "distance (KS)",
    "psi": "population stability index (PSI)",
    "missing": "share missing",
    "share": "share",
    "share scored": "share of the requests scored",
    "requests": "requests in a window",
    "null_rate": "share of nulls, beyond the usual",
}
_PERCENTILE: Final = re.compile(r"p[0-9.]+")
_SHARES: Final = ("disagreement", "crossed", "missing", "share", "share scored", "null_rate")


def measured_chart(table: pd.DataFrame, marks: Marks, statistic: str) -> Drawing:
    """Draw what a rule measured in each window as a bar across it, upon a grey band of what is in order; red while it was not.

    Parameters
    ----------
    table
        From `birdwatch.detect.measured.measured_table`.
    statistic
        What was measured.
    """
    share = statistic in _SHARES
    # Where what is in order has no end, the band goes on to the top.
    top = float(table[["value", "low", "high"]].max().max()) * 1.15 if len(table) else 1.0
    shown = table.assign(low=table["low"].fillna(0.0), high=table["high"].where(table["high"].notna(), top))
    shown.loc[table["low"].isna() & table["high"].isna(), ["low", "high"]] = float("nan")
    # Nothing lies on the frame, but for a share of all.
    highest = float(shown[["value", "high"]].max().max()) if len(table) else 1.0
    shown["room"] = highest if share and highest > 0.9 else 1.1 * highest
    title = f"{statistic} (seconds)" if _PERCENTILE.fullmatch(statistic) else _TITLES.get(statistic, statistic)
    return draw(_spec(title, share), shown, marks, _said(table, share))


def _said(table: pd.DataFrame, share: bool) -> str:
    if table.empty:
        return ""
    beyond, last = table[table["beyond"]], table.iloc[-1]
    says = f"{len(beyond)} of {len(table)} windows {'was' if len(beyond) == 1 else 'were'} not in order"
    strayed = (table["value"] - table["high"]).fillna(table["low"] - table["value"])
    furthest = largest(table.assign(strayed=strayed)[table["beyond"]], "strayed")
    if furthest is not None:
        says += f"; furthest was {_say(furthest['value'], share)}, in the window to {said_at(furthest['time'])}"
    ends = [_say(last[end], share) for end in ("low", "high") if pd.notna(last[end]) and last[end] > 0]
    known = " to ".join(ends) if len(ends) == 2 else "".join(ends)
    if known and len(ends) == 1:
        known = f"{'at least' if pd.notna(last['low']) and last['low'] > 0 else 'up to'} {known}"
    return f"{says}; in order (grey) is {known}." if known else f"{says}."


def _say(value: float, share: bool) -> str:
    return f"{value:.3g}" if not share else f"{100 * value:.3g}%"


@lru_cache(maxsize=16)
def _spec(title: str, share: bool) -> dict[str, Any]:
    form = ".2%" if share else ".3~g"
    axis = alt.Axis(format="~%") if share else alt.Axis()
    base = alt.Chart(alt.NamedData("main")).encode(x=time_axis(field="start:T"), x2="time:T")
    told = [
        when(),
        "version:N",
        alt.Tooltip("value:Q", format=form),
        alt.Tooltip("low:Q", title="in order from", format=form),
        alt.Tooltip("high:Q", title="to", format=form),
        alt.Tooltip("n:Q", format=","),
        "reason:N",
    ]
    few = alt.Opacity("n:Q", scale=alt.Scale(domain=[0, 50], range=[0.35, 1], clamp=True), legend=None)
    colour = alt.condition(alt.datum["beyond"], alt.value(_ALARM), alt.value(_CALM))
    layers: list[Layer] = [
        base.transform_filter(alt.datum["beyond"]).mark_rect(color=_ALARM, opacity=0.15),
        base.mark_rect(color=_GREY, opacity=0.25).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        base.mark_rule(strokeWidth=3).encode(
            y=alt.Y("value:Q", title=title, axis=axis, scale=alt.Scale(nice=4, zero=True)), color=colour, opacity=few
        ),
        alt.Chart(alt.NamedData("main"))
        .transform_filter(alt.datum["alarmed"])
        .mark_point(shape="triangle-up", filled=True, size=160, color=_ALARM, opacity=1)
        .encode(x=time_axis(), y="value:Q"),
        base.mark_rule(opacity=0).encode(y="room:Q"),
        base.mark_rect(opacity=0).encode(tooltip=told),
    ]
    return framed(*layers)
