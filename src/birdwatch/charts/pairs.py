"""Models beside their partners: the champion beside the canary, a challenger beside the champion."""

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
    line_and_points,
    model_colour,
    said_at,
    shown_in,
    time_axis,
    when,
)

__all__ = ["difference_chart", "evidence_chart", "pair_chart"]

_TOP: Final = 1.2
"""What is more than enough is drawn as that: a chart of the largest would show nothing else."""

_CALM: Final = "#0072B2"
_ALARM: Final = "#D55E00"


def difference_chart(table: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw the mean difference of a model's scores to its partner's by request, with a band of one standard deviation.

    Parameters
    ----------
    table
        From `birdwatch.windows.tables.pair_table`: one pair or several.
    """
    band = table.assign(low=table["mean"] - table["sd"], high=table["mean"] + table["sd"])
    widest = largest(table.assign(size=table["mean"].abs()), "size")
    says = (
        ""
        if widest is None
        else (
            f"The mean difference was at most {widest['mean']:+.3f} ({widest['model']} {widest['version']} −"
            f" {widest['partner']}, {said_at(widest['time'])})."
        )
    )
    return draw(_differences(colours, shown_in(table, colours.models)), band, marks, says)


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
