"""Scores against their reference."""

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
    heat,
    largest,
    level_line,
    line_and_points,
    model_colour,
    said_at,
    shown_in,
    time_axis,
    verdict_points,
    when,
)

__all__ = ["distance_chart", "drift_chart", "score_heat_chart"]

_TITLES: Final = {
    "ks": "distance (KS)",
    "psi": "population stability index (PSI)",
    "w1": "distance (W1), in the unit of the scores",
}
_BLUE: Final = "#0072B2"


def drift_chart(verdicts: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw how far each model's scores are from their reference, in multiples of what the model's rule tolerates.

    Tolerances differ from model to model, and some are learned anew each day; as multiples, one line says for all of
    them where "in order" ends.

    Parameters
    ----------
    verdicts
        From `birdwatch.detect.tables.verdict_table`: those on distributions.
    """
    table = verdicts[verdicts["tolerance"] > 0].assign(multiple=lambda t: t["value"] / t["tolerance"])
    beyond = table[table["multiple"] > 1]
    worst = largest(beyond, "multiple")
    says = f"{len(beyond)} of {len(table)} looks found more than is tolerated"
    if worst is not None:
        says += f", the most of {worst['model']} up to {said_at(worst['time'])}"
    return draw(_spec(colours, shown_in(table, colours.models)), table, marks, f"{says}.")


@lru_cache(maxsize=32)
def _spec(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    lines = verdict_points(
        y=alt.Y("multiple:Q", title="distance ÷ tolerance", scale=alt.Scale(zero=True, nice=4)),
        color=model_colour(colours, models),
        detail=["version:N", "rule:N"],
        tooltip=[
            when(),
            "model:N",
            "version:N",
            "status:N",
            "statistic:N",
            alt.Tooltip("value:Q", format=".3f"),
            alt.Tooltip("tolerance:Q", format=".3f"),
            alt.Tooltip("n:Q", format=","),
            "reason:N",
        ],
    )
    return framed(level_line(1.0, "tolerance"), lines)


def score_heat_chart(table: pd.DataFrame, marks: Marks) -> Drawing:
    """Draw how scores were distributed, step by step: what moves, moves the bright band.

    Parameters
    ----------
    table
        From `birdwatch.windows.heat.heat_table`.
    """
    weighted = table.assign(sum=(table["low"] + table["high"]) / 2 * table["n"])
    steps = weighted.groupby("time", as_index=False)[["sum", "n"]].sum()
    steps["mean"] = steps["sum"] / steps["n"]
    high, low = largest(steps, "mean"), largest(steps.assign(mean=-steps["mean"]), "mean")
    says = ""
    if high is not None and low is not None:
        says = (
            f"The mean lay between {-low['mean']:.2g} ({said_at(low['time'])})"
            f" and {high['mean']:.2g} ({said_at(high['time'])})."
        )
    return draw(_heat(), table, marks, says)


@lru_cache(maxsize=1)
def _heat() -> dict[str, Any]:
    return heat(alt.Y("low:Q", title="score", scale=alt.Scale(nice=False, zero=False)), ".3~g")


def distance_chart(table: pd.DataFrame, marks: Marks, tolerance: float | None = None) -> Drawing:
    """Draw one distance of a model's scores from what they were, upon what chance alone explains, with what the grid leaves open.

    Parameters
    ----------
    table
        From `birdwatch.windows.heat.distance_table` or `birdwatch.detect.against.frozen_distance_table`: the rows of one
        statistic.
    tolerance
        What a rule tolerates of it, where there is one.
    """
    statistic = str(table["statistic"].iloc[0]) if len(table) else "ks"
    furthest = largest(table, "value")
    says = ""
    if furthest is not None:
        says = f"At most {furthest['value']:.2g}, on {said_at(furthest['time'])}"
        above = int((table["value"] > table["chance"]).sum())
        says += f"; {above} of {len(table)} points are above what chance alone explains" if above else ""
        beyond = int((table["value"] > tolerance).sum()) if tolerance is not None else 0
        says += f", {beyond} above the {tolerance:.2g} that a rule tolerates." if beyond else "."
    drawn = table.assign(nothing=0.0, at_least=(table["value"] - table["error"]).clip(lower=0.0))
    drawn["at_most"] = table["value"] + table["error"]
    return draw(_distances(statistic, tolerance), drawn, marks, says)


@lru_cache(maxsize=32)
def _distances(statistic: str, tolerance: float | None) -> dict[str, Any]:
    y = alt.Y("value:Q", title=_TITLES.get(statistic, statistic), scale=alt.Scale(zero=True, nice=4))
    base = alt.Chart(alt.NamedData("main")).encode(x=time_axis())
    chance = base.mark_area(color="#888888", opacity=0.25, interpolate="step-after")
    lines = line_and_points(
        y=y,
        color=alt.value(_BLUE),
        tooltip=[
            when(),
            alt.Tooltip("value:Q", format=".3f"),
            alt.Tooltip("error:Q", title="the grid leaves open ±", format=".2~g"),
            alt.Tooltip("chance:Q", title="chance alone, up to", format=".3f"),
            alt.Tooltip("n:Q", format=","),
        ],
    )
    band = chance.encode(y=alt.Y("nothing:Q", title=_TITLES.get(statistic, statistic)), y2="chance:Q")
    open_ = base.mark_rule(color=_BLUE, strokeWidth=1.5).encode(y=alt.Y("at_least:Q", title=""), y2="at_most:Q")
    return framed(band, open_, lines, *([] if tolerance is None else [level_line(tolerance, "tolerated")]))
