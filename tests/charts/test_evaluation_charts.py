"""Charts of what is asked afterwards are valid, and say what they show."""

import altair as alt
import numpy as np
import pandas as pd

from birdwatch.charts.evaluation import deadline_chart, reliability_chart
from birdwatch.evaluate.deadline import fallback_rates
from birdwatch.evaluate.quality import reliability


def test_reliability_says_how_many_rates_are_off():
    rng = np.random.default_rng(1)
    p = rng.beta(2, 2, 5000)
    drawing = reliability_chart(reliability(rng.random(5000) < p**2, p))
    assert drawing.says.startswith("10 of 10 observed rates lie outside") or drawing.says.startswith("9 of 10")
    alt.LayerChart.from_dict(drawing.chart(title="t").to_dict(), validate=True)


def test_deadlines_say_what_the_one_in_force_misses():
    times = np.linspace(0.01, 1, 100)
    table = fallback_rates(times, np.ones(100, dtype=bool), np.linspace(0, 1, 50)).assign(model="champion")
    drawing = deadline_chart(table, 0.9)
    assert drawing.says.startswith("Missed at 0.9 s: champion 1")
    alt.LayerChart.from_dict(drawing.chart().to_dict(), validate=True)
    assert deadline_chart(pd.concat([table, table])).says == ""
