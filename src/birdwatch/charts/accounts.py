"""What is missing from the records, and what is in a table that should not be."""

from functools import lru_cache
from typing import Any, Final

import altair as alt
import pandas as pd

from birdwatch.charts.evaluation import built
from birdwatch.charts.marks import OKABE_ITO, Drawing, time_axis, when

__all__ = ["audit_chart", "missing_chart", "telling_chart"]

_GREY: Final = "#888888"
_WRONG: Final = ("missing", "failed", "late", "duplicates")
_COLOURS: Final = (OKABE_ITO[4], OKABE_ITO[3], OKABE_ITO[1], OKABE_ITO[0])


def audit_chart(table: pd.DataFrame) -> Drawing:
    """Draw each model's hours as a row of small ticks, with a circle, as large as it is much, where something is wrong.

    Parameters
    ----------
    table
        From `birdwatch.evaluate.audit.audit`.
    """
    totals = {name: int(table[name].sum()) for name in _WRONG}
    found = ", ".join(f"{count:,} {name}" for name, count in totals.items() if count) or "nothing wrong"
    says = f"Of {int(table['requests'].sum()):,} scores that were due: {found}."
    shown = table.melt(["time", "model", "requests"], list(_WRONG), var_name="what", value_name="count")
    return Drawing(_audit(), {"hours": table[["time", "model"]], "main": shown[shown["count"] > 0]}, says)


@lru_cache(maxsize=1)
def _audit() -> dict[str, Any]:
    row = alt.Y("model:N", title=None)
    hours = alt.Chart(alt.NamedData("hours")).mark_tick(color=_GREY, size=9).encode(x=time_axis(), y=row)
    wrong = (
        alt.Chart(alt.NamedData("main"))
        .mark_point(filled=True, opacity=0.85)
        .encode(
            x=time_axis(),
            y=row,
            size=alt.Size("count:Q", scale=alt.Scale(domainMin=0, range=[40, 500]), legend=None),
            color=alt.Color(
                "what:N",
                scale=alt.Scale(domain=list(_WRONG), range=list(_COLOURS)),
                legend=alt.Legend(orient="top", title=None, symbolOpacity=1, symbolType="circle"),
            ),
            tooltip=[
                "model:N",
                when(),
                "what:N",
                alt.Tooltip("count:Q", format=","),
                alt.Tooltip("requests:Q", format=","),
            ],
        )
    )
    return built(alt.layer(hours, wrong), height=160)


def missing_chart(bands: pd.DataFrame) -> Drawing:
    """Draw which share of the labels is missing by band of the score.

    Parameters
    ----------
    bands
        From `birdwatch.evaluate.quality.missing_by`.
    """
    named = [f"{low:.2f} to {high:.2f}" for low, high in zip(bands["low"], bands["high"], strict=True)]
    says = f"Of the lowest scores {bands['share'].iloc[0]:.1%} have no label, of the highest {bands['share'].iloc[-1]:.1%}."
    return Drawing(_missing(), {"main": bands.assign(band=named)}, says)


@lru_cache(maxsize=1)
def _missing() -> dict[str, Any]:
    bars = (
        alt.Chart(alt.NamedData("main"))
        .mark_bar(color=OKABE_ITO[4])
        .encode(
            x=alt.X("band:N", title="score", sort=None, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("share:Q", title="share without a label", axis=alt.Axis(format="~%")),
            tooltip=["band:N", alt.Tooltip("n:Q", format=","), "missing:Q", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return built(alt.layer(bars), height=220)


def telling_chart(table: pd.DataFrame, suspect: float) -> Drawing:
    """Draw how much each column tells of the label: as the models saw it, and as a table has it.

    Parameters
    ----------
    table
        Columns ``column``, ``seen`` and ``table``: areas under the ROC curve, with 0.5 for nothing and 1 for all; NaN where
        one of the two does not have the column.
    suspect
        The area from which a column that was never seen is taken to be the truth.
    """
    more = table[(table["table"] - table["seen"].fillna(0.5)) > 0.05]["column"]
    says = (
        f"The table tells more of the label than what the models saw in: {', '.join(more)}."
        if len(more)
        else "No column tells more in the table than what the models saw."
    )
    return Drawing(_telling(), {"main": table.assign(suspect=suspect)}, says)


@lru_cache(maxsize=1)
def _telling() -> dict[str, Any]:
    names = ["seen by the models", "in the table"]
    colour = alt.Color(
        "what:N",
        scale=alt.Scale(domain=names, range=[OKABE_ITO[0], OKABE_ITO[4]]),
        legend=alt.Legend(orient="top", title=None, symbolOpacity=1, symbolType="circle"),
    )
    base = alt.Chart(alt.NamedData("main")).encode(
        y=alt.Y("column:N", title=None, sort=None),
        tooltip=["column:N", alt.Tooltip("seen:Q", format=".3f"), alt.Tooltip("table:Q", format=".3f")],
    )

    def place(of: str) -> alt.X:
        return alt.X(
            of, title="AUC of the label: 0.5 tells nothing, 1 all", scale=alt.Scale(domain=[0.48, 1.02], nice=False)
        )

    moved = base.mark_rule(color=_GREY).encode(x=place("seen:Q"), x2="table:Q")
    seen, ours = (base.encode(color=colour).transform_calculate(what=f"'{name}'") for name in names)
    circles = seen.mark_point(filled=False, size=150, strokeWidth=2, opacity=1).encode(x=place("seen:Q"))
    dots = ours.mark_point(filled=True, size=60, opacity=1).encode(x=place("table:Q"))
    line = base.mark_rule(strokeDash=[6, 3], color=_GREY).encode(
        x=place("mean(suspect):Q"), y=alt.value(0), y2=alt.value("height")
    )
    return built(alt.layer(line, moved, circles, dots), height=260)
