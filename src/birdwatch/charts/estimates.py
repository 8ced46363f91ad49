"""Rates and values that were estimated rather than counted, each with its interval: of other policies, and of what was rejected."""

from functools import lru_cache
from typing import Any, Final

import altair as alt
import pandas as pd

from birdwatch.charts.evaluation import built
from birdwatch.charts.marks import OKABE_ITO, Drawing

__all__ = ["rejected_chart", "value_chart"]

_TRUTH: Final = "the truth"


def value_chart(table: pd.DataFrame) -> Drawing:
    """Draw what each policy is worth by each estimator, with intervals; a red tick is the truth, where somebody knows it.

    Parameters
    ----------
    table
        Columns ``policy``, ``estimator``, ``value``, ``low``, ``high``, as `birdwatch.evaluate.off_policy` estimates them;
        and ``truth``, the same in all rows of a policy, or NaN, if anybody knows it. An estimate without an interval is a
        point.
    """
    table = table if "truth" in table else table.assign(truth=float("nan"))
    known = table.dropna(subset=["low", "high", "truth"])
    held = known["truth"].between(known["low"], known["high"])
    says = f"{int(held.sum())} of {len(known)} intervals hold the truth." if len(known) else ""
    ways = tuple(dict.fromkeys(table["estimator"]))
    return Drawing(_values(ways, true=bool(table["truth"].notna().any())), {"main": table}, says)


@lru_cache(maxsize=8)
def _values(ways: tuple[str, ...], *, true: bool) -> dict[str, Any]:
    colours = dict(zip(ways, OKABE_ITO, strict=False)) | ({_TRUTH: OKABE_ITO[4]} if true else {})
    colour = alt.Color(
        "estimator:N",
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        legend=alt.Legend(orient="top", title=None, symbolOpacity=1, symbolType="square"),
    )
    row = alt.Y("policy:N", title=None, sort=None)
    beside = alt.YOffset("estimator:N", sort=list(ways), scale=alt.Scale(domain=list(ways), paddingOuter=0.6))
    told: list[Any] = [
        "policy:N",
        "estimator:N",
        *(alt.Tooltip(f"{name}:Q", format=".4f") for name in ("value", "low", "high", "truth")),
    ]
    base = alt.Chart(alt.NamedData("main")).encode(y=row, yOffset=beside, color=colour, tooltip=told)
    scale = alt.Scale(zero=False)
    bars = base.mark_rule(strokeWidth=3, opacity=0.6).encode(
        x=alt.X("low:Q", title="value of a request", scale=scale), x2="high:Q"
    )
    points = base.mark_point(filled=True, size=80, opacity=1).encode(x="value:Q")
    if not true:
        return built(alt.layer(bars, points), height=alt.Step(18))
    truth = (
        alt.Chart(alt.NamedData("main"))
        .transform_aggregate(groupby=["policy"], truth="mean(truth)")
        .mark_tick(thickness=3, size=17 * len(ways))
        .encode(y=row, x="truth:Q", color=alt.datum(_TRUTH))
    )
    return built(alt.layer(bars, points, truth), height=alt.Step(18))


def rejected_chart(bands: pd.DataFrame, accepted_rate: float) -> Drawing:
    """Draw the rate of what was rejected by band of the score, with intervals, beside that of what was accepted.

    Parameters
    ----------
    bands
        From `birdwatch.evaluate.reject.reject_inference`; if there is a column ``truth``, it is drawn as a red tick.
    accepted_rate
        From the same.
    """
    parts = bands[bands["band"] != "all"]
    shown = parts.assign(accepted=accepted_rate, truth=parts["truth"] if "truth" in parts else float("nan"))
    clear = int((parts["low"] > accepted_rate).sum())
    says = f"In {clear} of {len(parts)} bands of rejected scores the rate is clearly above the {accepted_rate:.1%} of what is accepted."
    return Drawing(_rejected(), {"main": shown}, says)


@lru_cache(maxsize=1)
def _rejected() -> dict[str, Any]:
    names = ["estimated from the lot", _TRUTH, "what was accepted"]
    base = alt.Chart(alt.NamedData("main")).encode(
        color=alt.Color(
            "what:N",
            scale=alt.Scale(domain=names, range=[OKABE_ITO[0], OKABE_ITO[4], OKABE_ITO[2]]),
            legend=alt.Legend(orient="top", title=None, symbolOpacity=1, symbolType="square"),
        ),
        x=alt.X("band:N", title="score", sort=None, axis=alt.Axis(labelAngle=0)),
        tooltip=[
            "band:N",
            alt.Tooltip("rejected:Q", format=","),
            alt.Tooltip("labelled:Q", format=","),
            *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("rate", "low", "high", "truth")),
        ],
    )
    share = alt.Y("low:Q", title="rate of the outcome", axis=alt.Axis(format="%"), scale=alt.Scale(domainMin=0))
    estimated, true, accepted = (base.transform_calculate(what=f"'{name}'") for name in names)
    bars = estimated.mark_rule(strokeWidth=4, opacity=0.6).encode(y=share, y2="high:Q")
    points = estimated.mark_point(filled=True, size=110, opacity=1).encode(y="rate:Q")
    ticks = true.mark_tick(thickness=3, size=40).encode(y="truth:Q")
    line = accepted.mark_rule(strokeDash=[6, 3], strokeWidth=2).encode(
        x=alt.value(0), x2=alt.value("width"), y="mean(accepted):Q"
    )
    return built(alt.layer(line, bars, points, ticks))
