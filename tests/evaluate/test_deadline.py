"""The curve is that of the textbook, and its bands hold the truth of simulations."""

import numpy as np
import pandas as pd
import pytest

from birdwatch.evaluate.deadline import fallback_rates, latencies

# Freireich et al. (1963), as in Cox and Oakes (1984), table 1.1: weeks of remission under 6-MP, + censored.
WEEKS = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
CAME = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
# The estimates that every textbook prints of it.
CURVE = {5: 1.0, 6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448, 35: 0.448}


def test_the_curve_is_that_of_the_textbook():
    found = fallback_rates(WEEKS, np.array(CAME, dtype=bool), list(CURVE))
    assert found["rate"].tolist() == pytest.approx(list(CURVE.values()), abs=6e-4)


def test_beyond_the_last_deadline_tried_only_a_bound_is_known():
    found = fallback_rates(WEEKS, np.array(CAME, dtype=bool), [35, 40])
    assert np.isnan(found["rate"][1])
    assert (found["low"][1], found["high"][1]) == (0.0, found["high"][0])


def test_bands_hold_the_truth_where_deadlines_cut_off():
    rng = np.random.default_rng(1)
    asked = [0.05, 0.1, 0.2, 0.4]
    truth = np.exp(-np.array(asked) / 0.1)
    held, runs = np.zeros(4), 300
    for _ in range(runs):
        times, given_up = rng.exponential(0.1, 200), rng.choice([0.15, 0.3, 0.5], 200)
        found = fallback_rates(np.minimum(times, given_up), times <= given_up, asked)
        held += (found["low"] <= truth) & (truth <= found["high"])
    assert (held / runs >= 0.92).all()


def test_without_censoring_the_band_is_the_exact_binomial_one():
    from scipy.stats import binomtest

    times = np.linspace(0.01, 1, 100)
    found = fallback_rates(times, np.ones(100, dtype=bool), [0.005, 0.905, 1.0])
    exact = [binomtest(k, 100).proportion_ci() for k in (100, 10, 0)]
    assert found["rate"].tolist() == pytest.approx([1.0, 0.1, 0.0])
    assert found["low"].tolist() == pytest.approx([one.low for one in exact])
    assert found["high"].tolist() == pytest.approx([one.high for one in exact])


def test_what_never_came_is_late_under_every_deadline_tried():
    found = fallback_rates([1.0, 1.0], [False, False], [0.5, 1.0, 2.0])
    assert found["rate"][:2].tolist() == [1.0, 1.0]
    assert np.isnan(found["rate"][2])


def test_latencies_are_collected_by_what_became_of_the_model():
    decisions = pd.DataFrame(
        {
            "request_id": list("abcdd"),
            "deadline_seconds": 1.0,
            "scores": [{"m": 0.5}, {"m": None}, {"other": 0.1}, {"m": 0.2}, {"m": 0.2}],
            "elapsed_seconds": [{"m": 0.2}, {"m": 0.1}, {}, {"m": None}, {"m": None}],
            "missing": [[], [], ["m"], [], []],
        }
    )
    found = latencies(decisions, "m", overhead_seconds=0.05)
    assert found.seconds.tolist() == [0.25, 1.0]
    assert found.came.tolist() == [True, False]
    assert (found.failed, found.unmeasured) == (1, 1)


def test_no_latencies_give_no_curve():
    with pytest.raises(ValueError, match="no curve"):
        fallback_rates([], [], [1.0])
