"""Models beside their partners: the champion beside the canary, a challenger beside the champion."""

import math
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
    level_line,
    model_colour,
    said_at,
    shown_in,
    time_axis,
    when,
)
from birdwatch.windows.tables import timestamp

__all__ = ["difference_chart", "evidence_chart", "pair_chart"]

_TOP: Final = 1.2
"""What is more than enough is drawn as that: a chart of the largest would show nothing else."""

_CALM: Final = "#0072B2"
_ALARM: Final = "#D55E00"


def difference_chart(table: pd.DataFrame, marks: Marks, colours: Colours, usual: pd.DataFrame | None = None) -> Drawing:
    """Draw the mean difference by request so far, with the band that holds at all times at once; faint, that of each step.

    Parameters
    ----------
    table
        From `birdwatch.windows.running.running_table`: one pair or several.
    usual
        From `birdwatch.detect.usual.usual_table`, to draw upon what is in order; of one pair.
    """
    usual = usual if usual is not None else pd.DataFrame(columns=["time", "to", "version", "low", "high"])
    usual = _within(usual, marks)
    least, most = _room(table, usual)
    drawn = table.assign(
        at_low=table["low"].clip(least, most),
        at_high=table["high"].clip(least, most),
        at=table["mean"].clip(least, most),
    )
    drawing = draw(_differences(colours, shown_in(table, colours.models)), drawn, marks, _said(table, usual))
    order = usual.assign(low=usual["low"].clip(least, most), high=usual["high"].clip(least, most))
    return drawing._replace(data={**drawing.data, "usual": order})


def _within(usual: pd.DataFrame, marks: Marks) -> pd.DataFrame:
    """Cut what is in order to the time that is shown."""
    since, until = timestamp(marks.span.since), timestamp(marks.span.until)
    found = usual.assign(
        time=usual["time"].where(usual["time"] > since, since), to=usual["to"].where(usual["to"] < until, until)
    )
    return found[found["time"] < found["to"]]


def _room(table: pd.DataFrame, usual: pd.DataFrame) -> tuple[float, float]:
    """Give the differences between which to draw: of a handful of requests a band is as wide as all that is possible."""
    told = table[table["n"] >= table["n"].median() / 10]
    last = table[table["running"].notna()].groupby(["model", "version", "partner"]).tail(1)
    ends = [*told["mean"], *last["low"].dropna(), *last["high"].dropna(), 0.0]
    least, most, wide = min(ends), max(ends), max(max(ends) - min(ends), 1e-6)
    # What is in order is seen whole where it is not so wide that nothing else would be seen.
    order = [least, most, *usual["low"].clip(least - 2 * wide), *usual["high"].clip(upper=most + 2 * wide)]
    return min(order) - wide / 20, max(order) + wide / 20


def _said(table: pd.DataFrame, usual: pd.DataFrame) -> str:
    """Say of the pair whose band lies furthest from zero how far that is, and whether it is in order."""
    last = table[table["running"].notna()].groupby(["model", "version", "partner"]).tail(1)
    if last.empty:
        return ""
    away = last[["low"]].assign(other=-last["high"]).max(axis=1).fillna(-1.0)
    pair = last.iloc[int(away.to_numpy().argmax())]
    low, high = float(pair["low"]), float(pair["high"])
    whether = "higher" if pair["running"] >= 0 else "lower"
    size, near, far = (f"{abs(x):,.{_places(low, high)}f}" for x in (pair["running"], *sorted((low, high), key=abs)))
    says = (
        f"Over {int(pair['requests']):,} requests {pair['model']} {pair['version']} scored {size} {whether} than"
        f" {pair['partner']} on average"
    )
    if pd.isna(low):
        return f"{says}, too few for a band."
    if low <= 0 <= high:
        below, above = (near, far) if -low < high else (far, near)
        says += f" (between {below} lower and {above} higher, at any time: it may be nothing)"
    else:
        says += f" (between {near} and {far}, at any time)"
    of_version = usual[usual["version"] == pair["version"]]
    if of_version.empty:
        return f"{says}."
    rule = of_version.iloc[int(of_version["to"].to_numpy().argmax())]
    order = f"{rule['low']:+.2g} to {rule['high']:+.2g}"
    if low > rule["high"] or high < rule["low"]:
        return f"{says}, beyond what is in order ({order})."
    if low >= rule["low"] and high <= rule["high"]:
        return f"{says}, which is in order ({order})."
    return f"{says}; in order is {order}."


def _places(low: float, high: float) -> int:
    """Give how many decimals tell the ends of a band apart, and from zero.

    Examples
    --------
    >>> _places(0.0031, 0.0052), _places(-0.2, 0.3), _places(12.0, 90.0)
    (3, 1, 0)
    """
    told = [x for x in (high - low, abs(low), abs(high)) if x > 0]
    return max(0, -math.floor(math.log10(min(told) / 2))) if told and math.isfinite(sum(told)) else 3


@lru_cache(maxsize=32)
def _differences(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    same: dict[str, Any] = {"color": model_colour(colours, models), "detail": ["version:N", "partner:N"]}
    title = "mean difference by request"
    base = alt.Chart(alt.NamedData("main")).encode(x=time_axis(), **same)
    told = [
        when(),
        *("model:N", "version:N", "partner:N"),
        alt.Tooltip("running:Q", title="mean so far", format="+.4f"),
        alt.Tooltip("low:Q", title="at any time, from", format="+.4f"),
        alt.Tooltip("high:Q", title="to", format="+.4f"),
        alt.Tooltip("requests:Q", title="requests so far", format=","),
        alt.Tooltip("mean:Q", title="mean of this step", format="+.4f"),
        alt.Tooltip("n:Q", title="requests of this step", format=","),
    ]
    order = alt.Chart(alt.NamedData("usual")).mark_rect(color="#888888", opacity=0.25)
    zero = alt.Chart(alt.NamedData("ends")).mark_rule(color="#888888").encode(y=alt.datum(0.0))
    return framed(
        order.encode(x=time_axis(), x2="to:T", y=alt.Y("low:Q", title=title), y2="high:Q"),
        zero,
        base.mark_area(opacity=0.25).encode(y=alt.Y("at_low:Q", title=title), y2="at_high:Q"),
        base.mark_point(filled=True, size=14, opacity=0.35).encode(y="at:Q"),
        base.mark_line(strokeWidth=2.2).encode(y="running:Q"),
        base.mark_point(filled=True, size=120, opacity=0).encode(y="running:Q", tooltip=told),
    )


def evidence_chart(verdicts: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw how much of the evidence that raises an alarm each rule has gathered on each pair: all of it is the line.

    Parameters
    ----------
    verdicts
        From `birdwatch.detect.tables.worst_by_step`, by level: those on pairs.
    """
    table = verdicts[verdicts["level"].notna()]
    table = table.assign(share=table["level"].clip(upper=_TOP), alarm=table["level"].where(table["alarmed"]) * 0 + _TOP)
    alarms = int(table["alarmed"].sum())
    most = largest(table, "level")
    says = (
        ""
        if most is None
        else (
            f"It alarmed {alarms} time{'s' * (alarms != 1)}; the most evidence was against {most['model']} {most['version']}"
            f"{' and ' * bool(most['partner'])}{most['partner']}: {most['level']:.0%} of what alarms, {said_at(most['time'])}."
        )
    )
    return draw(_evidence(colours, shown_in(table, colours.models)), table, marks, says)


@lru_cache(maxsize=32)
def _evidence(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    base = alt.Chart(alt.NamedData("main")).encode(
        x=time_axis(),
        y=alt.Y(
            "share:Q",
            title="evidence, of what alarms",
            axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
            scale=alt.Scale(domain=[0, _TOP + 0.05]),
        ),
        color=model_colour(colours, models),
        detail=["version:N", "partner:N", "rule:N"],
    )
    told = [
        when(),
        *("model:N", "version:N", "partner:N", "rule:N", "status:N"),
        alt.Tooltip("level:Q", title="of what alarms", format=".0%"),
        alt.Tooltip("n:Q", format=","),
        "reason:N",
    ]
    raised = base.mark_point(shape="triangle-up", filled=True, size=160, opacity=1).encode(y="alarm:Q")
    return framed(
        level_line(1.0, "alarm"),
        base.mark_line(interpolate="step-before", strokeWidth=1.6),
        raised,
        base.mark_point(filled=True, size=120, opacity=0).encode(tooltip=told),
    )


def pair_chart(verdicts: pd.DataFrame, marks: Marks) -> Drawing:
    """Draw what one rule measured of one pair, upon a band of what is in order; red while the alarm is on.

    Parameters
    ----------
    verdicts
        From `birdwatch.detect.tables.worst_by_step`: those of one rule and statistic on one pair.
    """
    table = verdicts[verdicts["value"].notna()]
    table = table.assign(nothing=0.0, alarm=table["value"].where(table["alarmed"]))
    shares = bool(table["statistic"].isin(["disagreement", "crossed"]).all())
    beyond = int((table["value"] > table["tolerance"]).sum())
    says = f"{beyond} of {len(table)} windows lie beyond what is in order, {int(table['alarmed'].sum())} alarmed."
    return draw(_pair("share of requests" if shares else "difference beyond the usual", shares), table, marks, says)


@lru_cache(maxsize=4)
def _pair(title: str, shares: bool) -> dict[str, Any]:
    form = ".1%" if shares else ".4f"
    points = alt.Chart(alt.NamedData("main")).encode(x=time_axis(field="shown_from:T"))
    base = points.encode(x2="shown_to:T")
    few = alt.Opacity("n:Q", scale=alt.Scale(domain=[0, 50], range=[0.25, 1], clamp=True), legend=None)
    axis = alt.Y("value:Q", title=title, axis=alt.Axis(format="~%" if shares else "~g"), scale=alt.Scale(nice=4))
    colour = alt.Color("status:N", scale=alt.Scale(domain=["ok", "drifting"], range=[_CALM, _ALARM]), legend=None)
    told = [
        when(),
        *("model:N", "version:N", "partner:N", "rule:N", "status:N"),
        alt.Tooltip("value:Q", format=form),
        alt.Tooltip("tolerance:Q", title="in order up to", format=form),
        alt.Tooltip("level:Q", title="evidence, of what alarms", format=".0%"),
        alt.Tooltip("n:Q", format=","),
        "reason:N",
    ]
    return framed(
        base.transform_filter(alt.datum["status"] == "drifting").mark_rect(color=_ALARM, opacity=0.15),
        base.mark_rect(color="#888888", opacity=0.25).encode(y=alt.Y("nothing:Q", title=title), y2="tolerance:Q"),
        base.mark_rule(strokeWidth=2.5).encode(y=axis, color=colour, opacity=few),
        points.mark_point(shape="triangle-up", filled=True, size=160, color=_ALARM, opacity=1).encode(y="alarm:Q"),
        base.mark_rect(opacity=0).encode(tooltip=told),
    )
