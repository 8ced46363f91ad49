"""Scores against their reference."""

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
    level_line,
    model_colour,
    shown_in,
    verdict_points,
    when,
)

__all__ = ["drift_chart"]


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
    return draw(_spec(colours, shown_in(table, colours.models)), table, marks)


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
