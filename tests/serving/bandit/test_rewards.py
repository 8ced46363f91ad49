import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.serving.bandit.rewards import Lesson, Rewards
from birdwatch.testing import a_decision, an_outcome

NOON = 1_368_532_800.0
DAY = 86_400.0
NOT_DRAWN = ["timed out", "override", "all failed", "default"]


@pytest.fixture
def rewards():
    return Rewards(horizon_seconds=DAY)


def decision(request_id="r", ts=NOON, **fields):
    return a_decision(request_id=request_id, request_ts=ts, **fields)


def outcome(request_id="r", ts=NOON, reward=1.0, later=3600.0, **fields):
    return an_outcome(request_id=request_id, request_ts=ts, ts=ts + later, reward=reward, **fields)


@pytest.mark.parametrize("reason", ["first choice", "explored"])
def test_a_drawn_answers_reward_is_learned_with_the_time_of_its_request(rewards, reason):
    assert rewards.take_decision(decision(model="a", reason=reason)) is None
    assert rewards.take_outcome(outcome(reward=0.25)) == Lesson("a", 0.25, NOON)


def test_an_outcome_may_come_before_its_decision(rewards):
    assert rewards.take_outcome(outcome()) is None
    assert rewards.take_decision(decision(model="a")) == Lesson("a", 1.0, NOON)


@pytest.mark.parametrize("reason", NOT_DRAWN)
def test_an_answer_that_the_draw_did_not_bring_about_teaches_nothing(rewards, reason):
    assert rewards.take_decision(decision(model="a", reason=reason)) is None
    assert rewards.take_outcome(outcome()) is None
    assert rewards.take_decision(decision(model="a", reason="first choice")) is None
    assert (rewards.counts["undrawn_decisions", "a"], rewards.counts["undrawn_outcomes", ""]) == (1, 1)
    assert rewards.waiting == 0


def test_what_is_delivered_twice_counts_once(rewards):
    found = [rewards.take_decision(decision()), rewards.take_outcome(outcome()), rewards.take_outcome(outcome())]
    found += [rewards.take_decision(decision()), rewards.take_outcome(outcome(reward=0.0))]
    assert [lesson for lesson in found if lesson] == [Lesson("champion", 1.0, NOON)]
    assert rewards.counts["duplicate_outcomes", ""] == 2
    assert rewards.counts["duplicate_decisions", "champion"] == 1


def test_a_label_without_reward_is_not_used_and_does_not_take_the_rewards_place(rewards):
    rewards.take_decision(decision())
    assert rewards.take_outcome(outcome(reward=None, label=1.0)) is None
    assert rewards.take_outcome(outcome(reward=0.5)) == Lesson("champion", 0.5, NOON)
    assert rewards.counts["outcomes_without_reward", ""] == 1


@pytest.mark.parametrize("reward", [-0.1, 1.1, math.nan])
def test_a_reward_outside_0_to_1_is_refused(rewards, reward):
    rewards.take_decision(decision())
    assert rewards.take_outcome(outcome(reward=reward)) is None
    assert rewards.counts["refused_outcomes", ""] == 1


def test_an_outcome_counts_up_to_the_label_horizon_and_not_after(rewards):
    rewards.take_decision(decision("in time"))
    rewards.take_decision(decision("too late"))
    assert rewards.take_outcome(outcome("in time", later=DAY)) is not None
    assert rewards.take_outcome(outcome("too late", later=DAY + 1)) is None
    assert rewards.counts["late_outcomes", ""] == 1


def test_what_never_meets_is_counted_and_forgotten(rewards):
    rewards.take_decision(decision("no outcome", model="a"))
    rewards.take_outcome(outcome("no decision"))
    rewards.take_decision(decision("timed out", reason="timed out"))
    rewards.take_decision(decision("met"))
    rewards.take_outcome(outcome("met"))
    rewards.forget()
    assert rewards.waiting == 2
    rewards.take_decision(decision("days later", ts=NOON + 3 * DAY, model="b"))
    rewards.forget()
    assert rewards.waiting == 1
    assert {key: n for key, n in rewards.counts.items() if key[0].startswith("unmet")} == {
        ("unmet_decisions", "a"): 1,
        ("unmet_outcomes", ""): 1,
    }


def test_what_was_forgotten_is_never_learned_again(rewards):
    rewards.take_decision(decision())
    rewards.take_outcome(outcome())
    rewards.take_decision(decision("later", ts=NOON + 3 * DAY))
    rewards.forget()
    assert rewards.take_decision(decision()) is rewards.take_outcome(outcome()) is None
    assert rewards.counts["late_decisions", "champion"] == rewards.counts["late_outcomes", ""] == 1


def test_nothing_is_forgotten_before_all_has_been_read(rewards):
    rewards.take_decision(decision())
    rewards.take_decision(decision("later", ts=NOON + 3 * DAY))
    assert rewards.take_outcome(outcome()) is not None


def test_an_outcome_of_the_far_future_makes_nothing_old(rewards):
    rewards.take_decision(decision())
    rewards.take_outcome(outcome("odd", ts=NOON * 1000))
    rewards.forget()
    assert rewards.take_outcome(outcome()) is not None


@pytest.mark.parametrize(("first", "second"), [(False, True), (True, False), (True, True)])
def test_a_pair_is_learned_when_one_of_them_is_fresh(rewards, first, second):
    rewards.take_decision(decision(), fresh=first)
    assert rewards.take_outcome(outcome(), fresh=second) is not None


def test_a_pair_that_was_read_before_has_been_learned(rewards):
    rewards.take_decision(decision(), fresh=False)
    assert rewards.take_outcome(outcome(), fresh=False) is None
    assert rewards.take_outcome(outcome(), fresh=True) is None
    assert rewards.take_decision(decision(), fresh=True) is None


@pytest.mark.parametrize("horizon", [0.0, -1.0, math.inf, math.nan])
def test_a_horizon_that_is_none_is_refused(horizon):
    with pytest.raises(ValueError, match="label horizon"):
        Rewards(horizon)


decisions = st.builds(
    decision,
    st.sampled_from("rstu"),
    ts=st.floats(NOON, NOON + 5 * DAY),
    model=st.sampled_from("ab"),
    reason=st.sampled_from(["first choice", "explored", *NOT_DRAWN]),
)
outcomes = st.builds(
    outcome,
    st.sampled_from("rstu"),
    ts=st.floats(NOON, NOON + 5 * DAY),
    reward=st.sampled_from([None, 0.0, 0.5, 1.0, 7.0]),
    later=st.floats(0, 2 * DAY),
)


@settings(deadline=None)
@given(st.lists(st.one_of(decisions, outcomes, st.none())))
def test_the_counts_reconcile(events):
    rewards = Rewards(DAY)
    for event in events:
        if event is None:
            rewards.forget()
        elif event.__class__.__name__ == "Decision":
            rewards.take_decision(event)
        else:
            rewards.take_outcome(event)
    waiting = rewards.waiting

    def total(*names):
        return sum(n for (what, _), n in rewards.counts.items() if what in names)

    met = total("rewards")
    decided = met + total("late_decisions", "duplicate_decisions", "undrawn_decisions", "unmet_decisions")
    known = met + total("outcomes_without_reward", "refused_outcomes", "late_outcomes", "duplicate_outcomes")
    known += total("undrawn_outcomes", "unmet_outcomes")
    assert total("decisions", "outcomes") == decided + known + waiting
    assert 0 <= total("decisions") - decided <= waiting
    assert sum(event is not None for event in events) == total("decisions", "outcomes")
