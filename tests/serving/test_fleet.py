import pytest

from birdwatch.records import Control, Score
from birdwatch.serving.fleet import Fleet
from birdwatch.serving.schedule import parse_schedule


def control(action, model="", version="", **params):
    return Control(ts=0.0, action=action, author="ann", reason="a test", model=model, version=version, params=params)


def score(model, version="1"):
    return Score(request_id="r", request_ts=0.0, ts=0.0, model=model, version=version, score=0.5)


@pytest.fixture
def fleet():
    tiers = [{"models": ["champion"]}, {"models": ["cheap"], "after_seconds": 0.4}]
    return Fleet(parse_schedule({"default": 0.1, "tiers": tiers}, place="test"))


def test_the_schedules_models_are_live_from_the_start(fleet):
    assert fleet.live == ("champion", "cheap")


def test_a_registered_model_is_live_and_not_in_the_schedule(fleet):
    fleet.apply(control("register", "challenger", "1", target="a:b"))
    assert "challenger" in fleet.live
    assert "challenger" not in fleet.schedule.models


def test_a_model_is_live_once_it_has_been_heard_from(fleet):
    fleet.hear("shadow")
    fleet.hear("bird", canary=True)
    assert fleet.live == ("bird", "champion", "cheap", "shadow")


def test_a_retired_model_is_not_live_and_may_not_answer_until_it_is_registered_again(fleet):
    fleet.apply(control("retire", "champion"))
    assert fleet.live == ("cheap",)
    assert fleet.schedule.models == ("cheap",)
    assert not fleet.admits(score("champion"))
    fleet.hear("champion")
    assert "champion" not in fleet.live
    fleet.apply(control("register", "champion", "2"))
    assert fleet.schedule.models == ("champion", "cheap")
    assert fleet.admits(score("champion", "2"))


def test_a_version_rolled_back_may_not_answer_and_the_other_may(fleet):
    fleet.apply(control("rollback", "champion", "2", to="1"))
    assert not fleet.admits(score("champion", "2"))
    assert fleet.admits(score("champion", "1"))
    fleet.apply(control("register", "champion", "2"))
    assert fleet.admits(score("champion", "2"))


def test_a_version_that_was_rolled_back_answers_again_when_another_is_rolled_back_to_it(fleet):
    fleet.apply(control("rollback", "champion", "2", to="1"))
    fleet.apply(control("rollback", "champion", "3", to="2"))
    assert fleet.admits(score("champion", "2"))


def test_a_retired_version_may_not_answer(fleet):
    fleet.apply(control("retire", "champion", "1"))
    assert not fleet.admits(score("champion", "1"))
    assert "champion" in fleet.live


def test_the_champion_becomes_the_first_tier(fleet):
    assert fleet.apply(control("champion", "challenger")) is None
    assert [t.models for t in fleet.schedule.tiers] == [("challenger",), ("cheap",)]


def test_a_schedule_on_control_changes_what_it_names_and_leaves_the_rest(fleet):
    assert fleet.apply(control("schedule", version="9", tiers=[{"models": ["cheap"]}], default=0.7)) is None
    assert (fleet.schedule.version, fleet.schedule.models, fleet.schedule.default) == ("9", ("cheap",), 0.7)
    assert fleet.schedule.deadline_seconds == 1.0


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (control("schedule", tiers=[]), "tiers"),
        (control("schedule", tiers=[{"models": ["bird"]}], canary=[]), "bird"),
        (control("schedule", nonsense=1), "nonsense"),
        (control("champion", "bird"), "canary"),
        (control("champion", "default"), "default"),
        (control("champion"), "no model"),
        (control("register"), "no model"),
    ],
)
def test_a_record_that_cannot_be_is_refused_with_a_reason_and_changes_nothing(fleet, record, reason):
    fleet.hear("bird", canary=True)
    before = fleet.schedule, fleet.live
    refused = fleet.apply(record)
    assert refused is not None
    assert reason in refused
    assert "by ann" in refused
    assert (fleet.schedule, fleet.live) == before


@pytest.mark.parametrize(
    "becomes_canary",
    [
        lambda fleet: fleet.hear("champion", canary=True),
        lambda fleet: fleet.apply(control("register", "champion", "1", role="canary")),
    ],
)
def test_a_canary_leaves_the_schedule_for_good(fleet, becomes_canary):
    becomes_canary(fleet)
    assert "champion" not in fleet.schedule.models
    assert not fleet.admits(score("champion"))
    fleet.apply(control("register", "champion", "2", target="a:b"))
    fleet.apply(control("champion", "champion"))
    assert "champion" not in fleet.schedule.models
    assert "champion" in fleet.live


def test_the_canary_that_a_schedule_names_never_answers():
    plan = parse_schedule({"default": 0, "tiers": [{"models": ["a"]}], "canary": ["bird"]}, place="test")
    fleet = Fleet(plan)
    assert not fleet.admits(score("bird"))
    assert fleet.apply(control("schedule", tiers=[{"models": ["bird"]}], canary=[])) is not None
