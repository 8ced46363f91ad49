import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.errors import SettingsError
from birdwatch.records import Score
from birdwatch.serving.schedule import Choice, Schedule, Wait, decide, load_schedule, parse_schedule

RECEIVED = 1_000_000.0


class Box:
    """What `decide` looks at."""

    def __init__(self, *scores, override=None, deadline=1.0):
        self.received_ts = RECEIVED
        self.deadline_seconds = deadline
        self.override = override
        self.scores = {score.model: score for score in scores}


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
    assert decide(Box(score("m3", 0.9)), three_tiers(), RECEIVED) == Choice("m3", "1", 0.9, None, 0, "first choice")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (math.nextafter(0.25, 0), Wait(RECEIVED + 0.25)),
        (0.25, Choice("m2", "1", 0.5, None, 1, "timed out")),
        (math.nextafter(0.25, 1) + 0.001, Choice("m2", "1", 0.5, None, 1, "timed out")),
    ],
)
def test_the_second_tier_opens_exactly_at_its_time(after, expected):
    # Not at RECEIVED, where floats are too coarse for the next one to 0.25.
    box = Box(score("m2"), score("m1"))
    box.received_ts = 0.0
    if isinstance(expected, Wait):
        expected = Wait(0.25)
    assert decide(box, three_tiers(), after) == expected


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
    assert decide(Box(), three_tiers(), RECEIVED + 0.875) == Choice("default", "7", 0.25, None, -1, "default")


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
    assert choice == Choice("default", "7", 0.25, None, -1, "all failed")


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


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"default": math.nan}, "default"),
        ({"default": "high"}, "default = 'high'"),
        ({"deadline_seconds": -1}, "deadline_seconds = -1"),
        ({"deadline": 1}, "deadline"),
        ({"return_margin_seconds": 1.0}, "return_margin_seconds = 1.0"),
        ({"tiers": []}, "tiers"),
        ({"tiers": [{"models": []}]}, "tiers.0.models"),
        ({"tiers": [{"models": ["a"], "after_seconds": 0.1}]}, "tiers.0.after_seconds = 0.1"),
        ({"tiers": [{"models": ["a"]}, {"models": ["b"]}]}, "tiers.1.after_seconds = 0.0"),
        ({"tiers": [{"models": ["a"]}, {"models": ["b"], "after_seconds": 0.9}]}, "tiers.1.after_seconds = 0.9"),
        ({"tiers": [{"models": ["a"]}, {"models": ["a"], "after_seconds": 0.1}]}, "tiers.1.models names 'a'"),
        ({"tiers": [{"models": ["default"]}]}, "tiers.0.models names 'default'"),
        ({"canary": ["m2"]}, "tiers.1.models names 'm2', the canary"),
    ],
)
def test_a_mistake_is_named_with_its_place(changes, place):
    with pytest.raises(SettingsError) as raised:
        three_tiers(**changes)
    assert str(raised.value).startswith("test: ")
    assert place in str(raised.value)


def test_a_schedule_is_read_from_yaml(tmp_path):
    path = tmp_path / "schedule.yaml"
    path.write_text("version: 3\ndefault: 0.2\ntiers:\n  - models: [a]\n  - models: [b]\n    after_seconds: 0.4\n")
    schedule = load_schedule(path)
    assert (schedule.version, schedule.models, schedule.deadline_seconds) == ("3", ("a", "b"), 1.0)


@pytest.mark.parametrize("text", [None, "tiers: [", "- a\n", "", "default: 1\ntiers: [{models: a}]\n"])
def test_a_file_that_is_no_schedule_is_named(tmp_path, text):
    path = tmp_path / "schedule.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=r"schedule\.yaml"):
        load_schedule(path)


def test_a_schedule_without_some_models_loses_their_empty_tiers():
    assert [t.models for t in three_tiers().without({"m2"}).tiers] == [("m3",), ("m1",)]
    nothing = three_tiers().without({"m1", "m2", "m3"})
    assert decide(Box(), nothing, RECEIVED).model == "default"


def test_a_promoted_model_is_alone_in_the_first_tier():
    promoted = three_tiers().promote("new")
    assert [t.models for t in promoted.tiers] == [("new",), ("m2",), ("m1",)]
    promoted = three_tiers().promote("m2")
    assert [(t.models, t.after_seconds) for t in promoted.tiers] == [(("m2",), 0.0), (("m1",), 0.5)]
    assert isinstance(promoted, Schedule)
