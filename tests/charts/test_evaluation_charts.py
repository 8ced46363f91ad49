"""Charts of what is asked afterwards are valid, and say what they show."""

import altair as alt
import numpy as np
import pandas as pd

from birdwatch.charts.accounts import audit_chart, missing_chart, telling_chart
from birdwatch.charts.estimates import rejected_chart, value_chart
from birdwatch.charts.evaluation import deadline_chart, reliability_chart
from birdwatch.evaluate.audit import audit
from birdwatch.evaluate.deadline import fallback_rates
from birdwatch.evaluate.quality import missing_by, reliability


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


def valid(drawing):
    alt.LayerChart.from_dict(drawing.chart(title="t").to_dict(), validate=True)
    return drawing.says


def test_values_say_how_many_intervals_hold_the_truth_if_it_is_known():
    estimates = {"policy": "always a", "estimator": ["IPS", "doubly robust", "mean"], "value": 0.5}
    intervals = {"low": [0.4, 0.45, np.nan], "high": [0.6, 0.55, np.nan]}
    table = pd.DataFrame(estimates | intervals)
    assert valid(value_chart(table.assign(truth=0.58))) == "1 of 2 intervals hold the truth."
    assert valid(value_chart(table.assign(truth=np.nan))) == ""


def test_the_rejected_are_said_to_be_worse_where_their_interval_is_above_what_was_accepted():
    bands = pd.DataFrame({"band": ["low", "high", "all"], "rejected": 9, "labelled": 3, "rate": [0.3, 0.6, 0.45]})
    bands = bands.assign(low=bands["rate"] - 0.1, high=bands["rate"] + 0.1)
    says = "In 1 of 2 bands of rejected scores the rate is clearly above the 25.0% of what is accepted."
    assert valid(rejected_chart(bands, 0.25)) == says
    drawing = rejected_chart(bands.assign(truth=0.5), 0.25)
    assert drawing.data["main"]["truth"].tolist() == [0.5, 0.5]
    assert valid(drawing) == says


def test_an_audit_says_what_is_wrong_of_all_that_was_due():
    requests = pd.DataFrame({"id": list("abcd"), "ts": [0.0, 1.0, 4000.0, 4001.0], "deadline_seconds": 1.0})
    scores = pd.DataFrame({"request_id": list("aabd"), "ts": [0.1, 0.2, 9.0, 4001.5], "model": "m", "score": 0.5})
    drawing = audit_chart(audit(requests, scores, until=9000.0))
    assert valid(drawing) == "Of 4 scores that were due: 1 missing, 1 late, 1 duplicates."
    assert len(drawing.data["hours"]) == 2
    assert valid(audit_chart(audit(requests[:1], scores[:1]))) == "Of 1 scores that were due: nothing wrong."


def test_missing_labels_are_told_of_the_lowest_and_of_the_highest_scores():
    score = np.linspace(0, 1, 100)
    labels = np.where((score > 0.9) & (np.arange(100) % 2 == 0), np.nan, 1.0)
    bands, _ = missing_by(pd.DataFrame({"score": score, "label": labels, "request_ts": 0.0}), bands=5)
    assert valid(missing_chart(bands)) == "Of the lowest scores 0.0% have no label, of the highest 25.0%."


def test_a_column_that_tells_more_than_what_was_seen_is_named():
    table = pd.DataFrame({"column": ["distance", "delay"], "seen": [0.6, np.nan], "table": [0.6, 0.99]})
    assert valid(telling_chart(table, 0.95)).endswith("than what the models saw in: delay.")
    assert valid(telling_chart(table[:1], 0.95)) == "No column tells more in the table than what the models saw."
