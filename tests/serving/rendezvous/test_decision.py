import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from birdwatch.records import Score
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.rendezvous.decision import Wait, decide

RECEIVED = 1_000_000.0


class Box:
    """What `decide` looks at."""

    def __init__(self, *scores, override=None, deadline=1.0, request_id="r", key="k"):
        self.id = request_id
        self.key = key
        self.received_ts = RECEIVED
        self.deadline_seconds = deadline
        self.override = override
        self.scores = {score.model: score for score in scores}
        self.draws = {}


def score(model, value=0.5, error=None, version="1"):
    return Score(request_id="r", request_ts=0.0, ts=0.0, model=model, version=version, score=value, error=error)


def failed(model):
    return score(model, None, "ValueError: no")


def three_tiers(**changes):
    values = {
        "version": "7",
        "deadline_seconds": 1.0,
        "return_margin_seconds": 0.125,
        "default": 0.25,
        "tiers": [
            {"models": ["m3"]},
            {"models": ["m2"], "after_seconds": 0.25},
            {"models": ["m1"], "after_seconds": 0.5},
        ],
    }
    return parse_schedule(values | changes, place="test")


def test_the_first_tier_answers_as_soon_as_its_score_is_there():
    choice = decide(Box(score("m3", 0.9)), three_tiers(), RECEIVED)
    assert choice[:6] == ("m3", "1", 0.9, None, 0, "first choice")
    assert choice.propensities == {"m3": 1.0}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (math.nextafter(0.25, 0), Wait(RECEIVED + 0.25)),
        (0.25, ("m2", "1", 0.5, None, 1, "timed out")),
        (math.nextafter(0.25, 1) + 0.001, ("m2", "1", 0.5, None, 1, "timed out")),
    ],
)
def test_the_second_tier_opens_exactly_at_its_time(after, expected):
    # Not at RECEIVED, where floats are too coarse for the next one to 0.25.
    box = Box(score("m2"), score("m1"))
    box.received_ts = 0.0
    if isinstance(expected, Wait):
        expected = Wait(0.25)
    assert decide(box, three_tiers(), after)[: len(expected)] == expected


def test_a_lower_tier_does_not_answer_before_its_time_even_when_it_alone_has_a_score():
    box = Box(score("m1"))
    assert decide(box, three_tiers(), RECEIVED + 0.49) == Wait(RECEIVED + 0.5)
    assert decide(box, three_tiers(), RECEIVED + 0.5).model == "m1"


def test_a_preferred_score_still_wins_after_lower_tiers_have_opened():
    choice = decide(Box(score("m1"), score("m2"), score("m3")), three_tiers(), RECEIVED + 0.6)
    assert (choice.model, choice.tier, choice.reason) == ("m3", 0, "first choice")


@pytest.mark.parametrize("missing_since", [0.0, 0.3, 0.6, 0.8])
def test_with_nothing_in_the_mailbox_it_waits_until_the_next_boundary(missing_since):
    boundaries = [0.25, 0.5, 0.875]
    expected = min(b for b in boundaries if b > missing_since)
    assert decide(Box(), three_tiers(), RECEIVED + missing_since) == Wait(RECEIVED + expected)


def test_the_default_answers_when_the_return_margin_begins():
    choice = decide(Box(), three_tiers(), RECEIVED + 0.875)
    assert choice[:6] == ("default", "7", 0.25, None, -1, "default")


def test_within_the_return_margin_a_score_is_better_than_the_default():
    assert decide(Box(score("m1")), three_tiers(), RECEIVED + 0.9).model == "m1"


def test_after_the_deadline_only_the_default_is_given():
    assert decide(Box(score("m3")), three_tiers(), RECEIVED + 1.0).model == "default"


def test_it_moves_down_at_once_when_every_preferred_model_has_failed():
    choice = decide(Box(failed("m3"), score("m2")), three_tiers(), RECEIVED)
    assert (choice.model, choice.tier, choice.reason) == ("m2", 1, "all failed")
    choice = decide(Box(failed("m3"), failed("m2"), score("m1")), three_tiers(), RECEIVED)
    assert (choice.model, choice.tier, choice.reason) == ("m1", 2, "all failed")


def test_a_failed_model_opens_the_next_tier_but_not_the_one_after_it():
    assert decide(Box(failed("m3"), score("m1")), three_tiers(), RECEIVED) == Wait(RECEIVED + 0.5)


def test_the_default_answers_at_once_when_all_have_failed():
    choice = decide(Box(failed("m3"), failed("m2"), failed("m1")), three_tiers(), RECEIVED)
    assert choice[:6] == ("default", "7", 0.25, None, -1, "all failed")


def test_the_default_answers_at_once_when_every_model_is_retired():
    schedule = three_tiers().without({"m3", "m2", "m1"})
    assert decide(Box(score("m3")), schedule, RECEIVED)[:6] == ("default", "7", 0.25, None, -1, "all failed")
    forced = decide(Box(score("m3", 0.9), override="m3"), schedule, RECEIVED)
    assert (forced.model, forced.reason, forced.drawn) == ("m3", "override", "")


def test_a_null_score_without_an_error_counts_as_failed():
    assert decide(Box(score("m3", None), score("m2")), three_tiers(), RECEIVED).model == "m2"


def test_a_score_that_is_not_admitted_counts_as_failed():
    box = Box(score("m3", version="bad"), score("m2"))
    choice = decide(box, three_tiers(), RECEIVED, lambda s: s.version != "bad")
    assert (choice.model, choice.reason) == ("m2", "all failed")


def test_of_several_models_in_a_tier_the_first_named_that_has_a_score_answers():
    schedule = parse_schedule({"default": 0, "tiers": [{"models": ["a", "b"]}]}, place="test")
    assert decide(Box(score("b")), schedule, RECEIVED).model == "b"
    assert decide(Box(score("b"), score("a")), schedule, RECEIVED).model == "a"


def test_a_tier_waits_for_its_last_model_before_the_next_one_opens():
    tiers = [{"models": ["a", "b"]}, {"models": ["c"], "after_seconds": 0.5}]
    schedule = parse_schedule({"default": 0, "tiers": tiers}, place="test")
    assert decide(Box(failed("a"), score("c")), schedule, RECEIVED) == Wait(RECEIVED + 0.5)
    assert decide(Box(failed("a"), failed("b"), score("c")), schedule, RECEIVED).model == "c"


def test_an_override_forces_the_named_model():
    choice = decide(Box(score("m3"), score("shadow"), override="shadow"), three_tiers(), RECEIVED)
    assert (choice.model, choice.reason) == ("shadow", "override")
    assert decide(Box(score("m3"), override="shadow"), three_tiers(), RECEIVED + 0.6) == Wait(RECEIVED + 0.875)


def test_an_override_falls_to_the_default_in_time():
    choice = decide(Box(score("m3"), override="dead"), three_tiers(), RECEIVED + 0.875)
    assert (choice.model, choice.reason) == ("default", "default")
    choice = decide(Box(score("m3"), failed("bad"), override="bad"), three_tiers(), RECEIVED)
    assert (choice.model, choice.reason) == ("default", "all failed")


def test_a_request_with_a_shorter_deadline_is_answered_within_it():
    assert decide(Box(deadline=0.2), three_tiers(), RECEIVED) == Wait(RECEIVED + 0.2 - 0.125)
    assert decide(Box(score("m1"), deadline=0.2), three_tiers(), RECEIVED + 0.1).model == "m1"


states = st.sampled_from(["missing", "failed", "there"])


@given(m3=states, m2=states, m1=states, elapsed=st.floats(0, 1.5))
def test_it_always_answers_or_waits_for_a_later_time_before_the_deadline(m3, m2, m1, elapsed):
    given_states = {"m3": m3, "m2": m2, "m1": m1}
    box = Box(*(score(m) if s == "there" else failed(m) for m, s in given_states.items() if s != "missing"))
    now = RECEIVED + elapsed
    choice = decide(box, three_tiers(), now)
    if isinstance(choice, Wait):
        assert now < choice.until <= RECEIVED + 0.875
    else:
        assert choice.model == "default" or given_states[choice.model] == "there"
        assert (choice.model == "default") == (choice.tier == -1)


# Policies: who is drawn, whether it is waited for, and with what probability it was.

N = 4000


def one_tier(policy, models=("a", "b", "c"), ramps=None, **changes):
    tiers = [{"models": models, "policy": policy, "ramps": ramps or {}}]
    return parse_schedule({"default": 0, "tiers": tiers} | changes, place="test")


def answers(schedule, scores, *, keys=None, posteriors=None):
    """Decide for many requests with the same scores; count the models, and collect the propensities."""
    models, propensities = Counter(), []
    for number in range(N):
        key = f"k{number}" if keys is None else keys[number]
        box = Box(*scores, request_id=f"r{number}", key=key)
        choice = decide(box, schedule, RECEIVED, posteriors=posteriors)
        models[choice.model] += 1
        propensities.append(choice.propensities)
    return models, propensities


POLICIES = {
    "weights": {"kind": "weights", "weights": {"a": 5, "b": 3, "c": 2}},
    "epsilon": {"kind": "epsilon", "epsilon": 0.3},
    "thompson": {"kind": "thompson"},
}
POSTERIORS = {"a": (30.0, 70.0), "b": (35.0, 65.0), "c": (3.0, 4.0)}


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("ramps", [{}, {"d": 20}, {"d": 20, "e": 50}])
@pytest.mark.parametrize("down", [(), ("a",), ("b", "d")])
def test_logged_propensities_match_the_frequencies_whoever_has_failed(kind, ramps, down):
    schedule = one_tier(POLICIES[kind], ramps=ramps)
    scores = [failed(model) if model in down else score(model) for model in ("a", "b", "c", "d", "e")]
    models, propensities = answers(schedule, scores, posteriors=POSTERIORS)
    expected = propensities[0]
    assert all(other == expected for other in propensities)
    assert math.fsum(expected.values()) == pytest.approx(1)
    assert set(expected) == {m for m in ("a", "b", "c", *ramps) if m not in down}
    # Exact binomial tests, together at one in a thousand: the draws are fixed, so this never flickers.
    for model, propensity in expected.items():
        assert stats.binomtest(models[model], N, propensity).pvalue > 1e-3 / len(expected)


def test_weights_are_the_probabilities():
    _, propensities = answers(one_tier(POLICIES["weights"]), [score(m) for m in "abc"])
    assert propensities[0] == pytest.approx({"a": 0.5, "b": 0.3, "c": 0.2})


def test_epsilon_leaves_the_first_named_what_the_others_do_not_get():
    _, propensities = answers(one_tier(POLICIES["epsilon"]), [score(m) for m in "abc"])
    assert propensities[0] == pytest.approx({"a": 0.8, "b": 0.1, "c": 0.1})


def test_thompson_sampling_chooses_as_often_as_a_model_is_likely_the_best():
    import numpy as np

    _, propensities = answers(one_tier(POLICIES["thompson"]), [score(m) for m in "abc"], posteriors=POSTERIORS)
    chance = np.random.default_rng(7)
    drawn = np.stack([chance.beta(*POSTERIORS[m], size=400_000) for m in "abc"])
    best = np.bincount(drawn.argmax(axis=0), minlength=3) / drawn.shape[1]
    assert [propensities[0][m] for m in "abc"] == pytest.approx(best, abs=4e-3)


def test_a_model_that_another_than_the_usual_is_drawn_for_is_explored():
    reasons = Counter()
    for number in range(N):
        box = Box(*(score(m) for m in "abc"), request_id=f"r{number}")
        choice = decide(box, one_tier(POLICIES["epsilon"]), RECEIVED)
        reasons[choice.reason, choice.model == "a"] += 1
    assert set(reasons) == {("first choice", True), ("explored", False)}


@given(percent=st.integers(1, 99), more=st.integers(0, 50))
def test_raising_a_ramp_only_adds_keys_and_those_it_has_stay(percent, more):
    scores = [score("a"), score("new")]

    def keys_of_new(at):
        schedule = one_tier({"kind": "priority"}, models=("a",), ramps={"new": min(at, 100)})
        boxes = [Box(*scores, key=f"user-{number}", request_id=f"r{at}-{number}") for number in range(200)]
        return {box.key for box in boxes if decide(box, schedule, RECEIVED).model == "new"}

    assert keys_of_new(percent) <= keys_of_new(percent + more)


@pytest.mark.parametrize("percent", [1, 10, 50, 99, 100])
def test_a_ramp_at_p_percent_selects_p_percent_of_the_keys(percent):
    schedule = one_tier({"kind": "priority"}, models=("a",), ramps={"new": percent})
    models, propensities = answers(schedule, [score("a"), score("new")])
    assert propensities[0] == pytest.approx({"new": percent / 100, "a": 1 - percent / 100})
    assert stats.binomtest(models["new"], N, percent / 100).pvalue > 1e-3


def test_a_key_that_is_not_a_ramps_never_gets_its_model_even_when_all_others_failed():
    schedule = one_tier({"kind": "priority"}, models=("a",), ramps={"new": 10})
    models, _ = answers(schedule, [failed("a"), score("new")])
    assert set(models) == {"new", "default"}
    assert stats.binomtest(models["new"], N, 0.1).pvalue > 1e-3


def test_the_model_that_was_drawn_is_waited_for_until_the_next_tier_opens():
    tiers = [
        {"models": ["a", "b"], "policy": {"kind": "weights", "weights": {"a": 1, "b": 1}}},
        {"models": ["c"], "after_seconds": 0.5},
    ]
    schedule = parse_schedule({"default": 0, "tiers": tiers}, place="test")
    drawn = decide(Box(score("a"), score("b")), schedule, RECEIVED).model
    other = {"a": "b", "b": "a"}[drawn]
    assert decide(Box(score(other), score("c")), schedule, RECEIVED + 0.49) == Wait(RECEIVED + 0.5)
    late = decide(Box(score(other), score("c")), schedule, RECEIVED + 0.5)
    assert (late.model, late.tier, late.reason, late.drawn) == (other, 0, "timed out", drawn)
    assert decide(Box(failed(drawn), score(other)), schedule, RECEIVED).reason == "first choice"


def test_the_model_of_a_ramp_is_waited_for_too():
    schedule = one_tier({"kind": "priority"}, models=("a",), ramps={"new": 100}, return_margin_seconds=0.25)
    assert decide(Box(score("a")), schedule, RECEIVED) == Wait(RECEIVED + 0.75)
    late = decide(Box(score("a")), schedule, RECEIVED + 0.75)
    assert (late.model, late.reason, late.drawn) == ("a", "timed out", "new")


def test_where_the_model_of_a_ramp_has_failed_nobody_is_waited_for_longer_than_without_it():
    schedule = one_tier({"kind": "priority"}, models=("a", "b"), ramps={"new": 100})
    choice = decide(Box(failed("new"), score("b")), schedule, RECEIVED)
    assert (choice.model, choice.reason, choice.drawn) == ("b", "first choice", "")


def test_a_draw_holds_for_a_request_whatever_is_learnt_meanwhile():
    schedule = one_tier(POLICIES["thompson"], models=("a", "b"))
    for number in range(50):
        box = Box(request_id=f"r{number}")
        assert isinstance(decide(box, schedule, RECEIVED, posteriors={"a": (90.0, 10.0), "b": (10.0, 90.0)}), Wait)
        box.scores = {"a": score("a"), "b": score("b")}
        choice = decide(box, schedule, RECEIVED, posteriors={"a": (10.0, 90.0), "b": (90.0, 10.0)})
        assert choice.model == "a"
        assert choice.propensities["a"] > 0.999


def test_a_new_schedule_is_drawn_by_anew():
    box = Box(score("a"), score("b"))
    assert decide(box, one_tier({"kind": "priority"}, models=("a",)), RECEIVED).model == "a"
    assert decide(box, one_tier({"kind": "priority"}, models=("b",)), RECEIVED).model == "b"


def test_the_same_request_gets_the_same_draw_again():
    schedule = one_tier(POLICIES["weights"])
    first, _ = answers(schedule, [score(m) for m in "abc"])
    again, _ = answers(schedule, [score(m) for m in "abc"])
    salted, _ = answers(one_tier(POLICIES["weights"], salt="x"), [score(m) for m in "abc"])
    assert first == again != salted


def test_an_override_tells_what_the_schedule_would_have_chosen():
    choice = decide(Box(score("m3"), score("shadow"), override="shadow"), three_tiers(), RECEIVED)
    assert (choice.drawn, choice.propensities) == ("m3", {"shadow": 1.0})
