"""What a bandit believes its arms to earn: over time, and at last."""

from functools import lru_cache
from typing import Any, Final

import altair as alt
import numpy as np
import pandas as pd
from scipy.stats import beta

from birdwatch.charts.evaluation import built
from birdwatch.charts.marks import Colours, Drawing, Marks, draw, framed, model_colour, shown_in, time_axis, when
from birdwatch.stats.posterior import best_probabilities

__all__ = ["belief_chart", "posterior_chart"]

_POINTS: Final = 120
"""Places at which a density is drawn, of each arm."""

_EARNED: Final = "reward of a request, believed"


def posterior_chart(table: pd.DataFrame, marks: Marks, colours: Colours) -> Drawing:
    """Draw the mean that the bandit believed of each arm, in the range in which it lies nine times of ten.

    Parameters
    ----------
    table
        From `birdwatch.windows.accounts.posterior_table`.
    """
    shown = table.rename(columns={"arm": "model"})[["time", "model", "mean", "low", "high"]]
    return draw(_posteriors(colours, shown_in(shown, colours.models)), shown, marks)


@lru_cache(maxsize=32)
def _posteriors(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    base = alt.Chart(alt.NamedData("main")).encode(x=time_axis(), color=model_colour(colours, models))
    value = alt.Y("mean:Q", title=_EARNED, scale=alt.Scale(zero=False))
    told = [when(), "model:N", *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("mean", "low", "high"))]
    return framed(
        alt.layer(
            base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=_EARNED), y2="high:Q"),
            base.mark_line(strokeWidth=1.8).encode(y=value),
            base.mark_point(filled=True, size=40).encode(y=value, tooltip=told),
        )
    )


def belief_chart(table: pd.DataFrame, colours: Colours) -> Drawing:
    """Draw what the bandit believes of each arm at last: the likelier a reward, the higher; and say which arm is best.

    Parameters
    ----------
    table
        From `birdwatch.windows.accounts.posterior_table`: of each arm its last row counts.
    """
    last = table.groupby("arm", as_index=False).last()
    alpha, other = last["alpha"].to_numpy(), last["beta"].to_numpy()
    # Where nobody believes anything there is nothing to see: each arm is drawn where it lies but once in a thousand.
    places = np.linspace(beta.ppf(0.0005, alpha, other), beta.ppf(0.9995, alpha, other), _POINTS)
    densities = pd.DataFrame(
        {
            "model": np.tile(last["arm"], _POINTS),
            "reward": places.ravel(),
            "density": np.ravel(beta.pdf(places, alpha, other)),
        }
    )
    best = best_probabilities(alpha, other)
    first = int(best.argmax())
    leader = last.iloc[first]
    says = (
        f"It believes that {leader['arm']} earns most with a probability of {best[first]:.0%}: {leader['mean']:.3g} a request,"
        f" {leader['low']:.3g} to {leader['high']:.3g} nine times of ten."
    )
    return Drawing(_beliefs(colours, shown_in(densities, colours.models)), {"main": densities}, says)


@lru_cache(maxsize=32)
def _beliefs(colours: Colours, models: tuple[str, ...]) -> dict[str, Any]:
    return built(
        alt.Chart(alt.NamedData("main"))
        .mark_area(opacity=0.3, line=True)
        .encode(
            x=alt.X("reward:Q", title=_EARNED, scale=alt.Scale(zero=False)),
            y=alt.Y("density:Q", title="how likely", axis=alt.Axis(labels=False, ticks=False), stack=None),
            color=model_colour(colours, models),
            tooltip=["model:N", alt.Tooltip("reward:Q", format=".3f")],
        )
    )
