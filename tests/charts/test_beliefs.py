"""What a bandit believes, as charts: held against scipy's Beta distribution."""

import altair as alt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from birdwatch.charts import Colours, Marks, belief_chart, posterior_chart
from birdwatch.windows.tables import Span

BELIEVED = {"a": (41.0, 61.0), "b": (11.0, 31.0), "never tried": (1.0, 1.0)}
COLOURS = Colours.of(list(BELIEVED))


@pytest.fixture
def table():
    rows = [(pd.Timestamp(0, tz="UTC"), arm, 1.0, 1.0, 0.5, 0.05, 0.95) for arm in BELIEVED]
    rows += [
        (pd.Timestamp(3600, unit="s", tz="UTC"), arm, *pair, pair[0] / sum(pair), *beta.ppf([0.05, 0.95], *pair))
        for arm, pair in BELIEVED.items()
    ]
    return pd.DataFrame(rows, columns=["time", "arm", "alpha", "beta", "mean", "low", "high"])


def test_each_arm_is_drawn_as_the_density_of_what_is_believed_at_last(table):
    drawing = belief_chart(table, COLOURS)
    shown = drawing.data["main"]
    for arm, pair in BELIEVED.items():
        mine = shown[shown["model"] == arm]
        assert mine["density"].to_numpy() == pytest.approx(beta.pdf(mine["reward"], *pair))
        inside = np.trapezoid(mine["density"], mine["reward"])
        assert inside == pytest.approx(0.999, abs=2e-3)
    alt.Chart.from_dict(drawing.whole(), validate=True)


def test_it_says_which_arm_is_thought_best_and_how_surely(table):
    rng = np.random.default_rng(7)
    two = table[table["arm"] != "never tried"]
    draws = rng.beta(*np.array([BELIEVED[arm] for arm in "ab"]).T, size=(200_000, 2))
    said = belief_chart(two, COLOURS).says
    assert "that a earns most" in said
    assert f"{0.402:.3g} a request" in said
    told = float(said.split("probability of ")[1].split("%")[0]) / 100
    assert told == pytest.approx((draws.argmax(axis=1) == 0).mean(), abs=0.01)


def test_over_time_it_is_drawn_with_the_marks_of_every_axis(table):
    nothing = pd.DataFrame()
    marks = Marks(Span(0, 7200, 3600), nothing, nothing)
    drawing = posterior_chart(table, marks, COLOURS)
    assert len(drawing.data["main"]) == 6
    alt.LayerChart.from_dict(drawing.whole(), validate=True)
