import numpy as np
import pytest

from birdwatch.detect.alarm import step

STRONG, WEAK = np.array([9.0, -1.0]), np.array([0.1, -1.0])


def run(windows, threshold=5.0, floor=0.1):
    """Give what (ratios, effect) of each window makes of an alarm."""
    state, alarms = {}, []
    for ratios, effect in windows:
        one = step(state, ratios, threshold=threshold, effect=effect, floor=floor)
        state = one.state
        alarms.append(one.drifting)
    return alarms


def test_it_takes_evidence_and_an_effect_that_matters():
    assert run([(STRONG, 0.2)]) == [True]
    assert run([(WEAK, 0.2)]) == [False]
    assert run([(STRONG, 0.05)]) == [False]


def test_weak_evidence_adds_up():
    assert run([(np.array([2.0]), 0.2)] * 4) == [False, False, True, True]


def test_it_holds_while_the_value_stays_beyond_the_tolerance():
    assert run([(STRONG, 0.2), (WEAK, 0.01), (WEAK, 0.01)]) == [True, True, True]


def test_it_is_taken_up_again_until_three_windows_in_a_row_were_in_order():
    calm, beyond = (WEAK, -0.1), (WEAK, 0.01)
    assert run([(STRONG, 0.2), calm, calm, beyond]) == [True, False, False, True]
    assert run([(STRONG, 0.2), calm, calm, calm, beyond]) == [True, False, False, False, False]


def test_evidence_that_was_spent_starts_again_at_nothing():
    spent = step({}, STRONG, threshold=5.0, effect=0.0)
    assert spent.evidence > 5
    assert spent.state["kept"] == [0.0, 0.0]
    assert run([(STRONG, 0.05), (WEAK, 0.2)]) == [False, False]


def test_its_share_of_the_budget_weighs_the_evidence():
    whole, half = (step({}, STRONG, threshold=5.0, effect=0.0, weight=w).evidence for w in (1.0, 0.5))
    assert whole - half == pytest.approx(np.log(2))


def test_what_an_older_release_remembered_in_another_shape_is_begun_anew():
    assert step({"kept": [3.0]}, STRONG, threshold=50.0, effect=0.0).state["kept"][0] == pytest.approx(9.0, abs=0.01)
