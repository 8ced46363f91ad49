"""Distributions beside each other: quantile against quantile, and two models request by request."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from birdwatch.charts.marks import OKABE_ITO, Drawing

__all__ = ["joint_chart", "joint_drawing", "qq_chart"]

_GREY = "#888888"


def qq_chart(table: pd.DataFrame, against: str, names: Sequence[str], title: str = "") -> alt.LayerChart:
    """Draw quantiles against quantiles: on the diagonal nothing has changed.

    Parameters
    ----------
    table
        From `birdwatch.windows.shapes.quantile_table`.
    against, names
        The column on the horizontal axis, and those on the vertical one.
    """
    long = table.melt(["level", against], list(names), "of", "quantile")
    points = (
        alt.Chart(long)
        .mark_line(point=alt.OverlayMarkDef(size=14), strokeWidth=1.5)
        .encode(
            x=alt.X(f"{against}:Q", title=f"quantile of {against}"),
            y=alt.Y("quantile:Q", title="quantile of the model"),
            color=alt.Color(
                "of:N",
                scale=alt.Scale(domain=list(names), range=list(OKABE_ITO[: len(names)])),
                legend=alt.Legend(title=None, orient="top"),
            ),
            tooltip=["of:N", alt.Tooltip("level:Q", format=".0%"), "quantile:Q", f"{against}:Q"],
        )
    )
    end = long[[against, "quantile"]].to_numpy().max()
    ends = pd.DataFrame({"x": [0.0, end], "y": [0.0, end]})
    return alt.LayerChart(layer=[_diagonal(ends), points], title=title)


def joint_chart(table: pd.DataFrame, model: str, partner: str, title: str = "") -> alt.LayerChart:
    """Draw how often two models scored the same request thus and so: a thin line where they agree, a cloud where not.

    Parameters
    ----------
    table
        From `birdwatch.windows.shapes.joint_table`.
    """
    return _layers(table, _ends(table), model, partner).properties(title=title)


def joint_drawing(table: pd.DataFrame, model: str, partner: str) -> Drawing:
    """Give `joint_chart` in its two parts, as a page sends it that draws it again and again."""
    return Drawing(_joint(model, partner), {"main": table, "ends": _ends(table)})


@lru_cache(maxsize=128)
def _joint(model: str, partner: str) -> dict[str, Any]:
    layers = _layers(alt.NamedData("main"), alt.NamedData("ends"), model, partner)
    spec: dict[str, Any] = layers.to_dict(validate=False)
    # The page's theme, or the notebook's, is put in the place of the configuration.
    return {name: part for name, part in spec.items() if name != "config"}


def _ends(table: pd.DataFrame) -> pd.DataFrame:
    end = table[["high", "partner_high"]].to_numpy().max()
    return pd.DataFrame({"x": [0.0, end], "y": [0.0, end]})


def _layers(
    table: pd.DataFrame | alt.NamedData, ends: pd.DataFrame | alt.NamedData, model: str, partner: str
) -> alt.LayerChart:
    cells = (
        alt.Chart(table)
        .mark_rect()
        .encode(
            x=alt.X("partner_low:Q", title=f"score of {partner}"),
            x2="partner_high:Q",
            y=alt.Y("low:Q", title=f"score of {model}"),
            y2="high:Q",
            color=alt.Color(
                "density:Q", title="density", scale=alt.Scale(type="log", scheme="viridis", reverse=True), legend=None
            ),
            tooltip=["partner_low:Q", "partner_high:Q", "low:Q", "high:Q", "n:Q"],
        )
    )
    return alt.LayerChart(layer=[cells, _diagonal(ends)])


def _diagonal(ends: pd.DataFrame | alt.NamedData) -> alt.Chart:
    line: alt.Chart = alt.Chart(ends).mark_line(color=_GREY, strokeDash=[4, 3], strokeWidth=1)
    return line.encode(x="x:Q", y="y:Q")
