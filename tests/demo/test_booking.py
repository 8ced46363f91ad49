"""The demo in which a flight is booked if the answer accepts it, and only those on board learn what became of it."""

import pytest

from birdwatch.demo.booking import TRAIN, earned, schedule, worth
from birdwatch.demo.feeder import Answer, Landing
from birdwatch.demo.flights import Question
from birdwatch.serving.control.schedule import parse_schedule

ASKED = Question(7, "flight-7", 1000.0, {})


def answered(*, accepted):
    return Answer("champion", "explored", 0.01, within_sla=True, accepted=accepted)


def test_a_bandit_chooses_among_three_and_a_flight_is_accepted_where_it_beats_the_train():
    plan = parse_schedule(schedule(0.25), place="the demo")
    assert plan.models == ("champion", "challenger", "fallback")
    assert plan.learns is not None
    # Worth the train exactly where Pr(in time) = 1 - threshold.
    assert plan.acceptance.threshold == pytest.approx(1 - TRAIN)
    assert plan.acceptance.accepts_score(0.29)
    assert not plan.acceptance.accepts_score(0.31)


@pytest.mark.parametrize(("late", "reward"), [(0.0, 1.0), (1.0, 0.0)])
def test_who_is_on_board_learns_the_truth_when_the_flight_lands(late, reward):
    told = earned(ASKED, answered(accepted=True), Landing(5000.0, late))
    assert (told.request_id, told.request_ts, told.ts, told.reward, told.label) == (
        "flight-7", 1000.0, 5000.0, reward, late,
    )  # fmt: skip


def test_a_flight_that_never_lands_earns_nothing_and_has_no_label():
    told = earned(ASKED, answered(accepted=True), None)
    assert (told.ts - ASKED.ts, told.reward, told.label) == (86_400.0, 0.0, None)


def test_who_takes_the_train_never_learns_what_became_of_the_flight():
    told = earned(ASKED, answered(accepted=False), Landing(5000.0, 1.0))
    assert (told.ts, told.reward, told.label) == (ASKED.ts, TRAIN, None)


def test_without_an_answer_nothing_comes_of_it():
    assert earned(ASKED, None, Landing(5000.0, 1.0)) is None


def test_what_a_score_is_worth_is_the_mean_of_what_was_earned_over_the_lot():
    flown, train = (
        earned(ASKED, answered(accepted=True), Landing(5000.0, 0.0)),
        earned(ASKED, answered(accepted=False), None),
    )
    rate = parse_schedule(schedule(0.25), place="the demo").acceptance.rate
    assert worth([0.31], [1.0])[0] == pytest.approx(rate * flown.reward + (1 - rate) * train.reward)
    assert worth([0.29], [1.0])[0] == flown.reward
