import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.records import Control, Score
from birdwatch.serving.control.fleet import Fleet
from birdwatch.serving.control.schedule import parse_schedule


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


def test_what_is_retired_or_rolled_back_is_not_brought_to_answer_by_anybody(fleet):
    for change in (control("retire", "new"), control("rollback", "cheap", "2")):
        fleet.apply(change)
    before = fleet.schedule
    for action in ("warm", "champion", "override"):
        assert "it is retired: register it again first" in fleet.apply(control(action, "new", "2"))
    assert "it is retired" in fleet.apply(ramp(anyway=True))
    assert "rolled back" in fleet.apply(control("champion", "cheap", "2"))
    assert fleet.schedule == before
    assert fleet.apply(ramp(percent=0)) is None
    fleet.apply(control("register", "new", "2"))
    assert fleet.apply(control("champion", "new", "2")) is None


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


# The life of a version: registered, warm, ramped up, champion; or rolled back.


def ramp(model="new", version="2", percent=10, **params):
    return control("ramp", model, version, percent=percent, **params)


def standing(fleet, model):
    return next(s for s in fleet.standing() if s.model == model)


def test_a_version_goes_from_shadow_over_warm_and_ramp_to_champion(fleet):
    fleet.apply(control("register", "new", "2", target="a:b"))
    assert standing(fleet, "new").stage == "shadow"
    assert fleet.apply(control("warm", "new", "2")) is None
    assert standing(fleet, "new")[:3] == ("new", "warm", "2")
    assert fleet.apply(ramp(guard="rollback")) is None
    assert standing(fleet, "new") == ("new", "ramp", "2", 10, "rollback", "")
    assert fleet.schedule.tiers[0].ramps == {"new": 10}
    assert fleet.apply(control("champion", "new", "2")) is None
    assert standing(fleet, "new")[:3] == ("new", "first tier", "2")
    assert [t.models for t in fleet.schedule.tiers] == [("new",), ("cheap",)]


def test_a_version_that_is_not_warm_is_not_ramped_up_unless_somebody_means_it(fleet):
    fleet.apply(control("register", "new", "2"))
    assert "not warm" in fleet.apply(ramp())
    assert fleet.schedule.tiers[0].ramps == {}
    assert fleet.apply(ramp(anyway=True)) is None
    assert fleet.schedule.tiers[0].ramps == {"new": 10}


def test_only_the_version_that_is_ramped_up_answers(fleet):
    fleet.apply(ramp(anyway=True))
    assert not fleet.admits(score("new", "1"))
    assert fleet.admits(score("new", "2"))
    fleet.apply(ramp(percent=0))
    assert fleet.admits(score("new", "1"))


def test_a_rollback_ends_the_ramp_and_the_version_is_not_ramped_up_again_before_it_is_registered(fleet):
    fleet.apply(control("warm", "new", "2"))
    fleet.apply(ramp())
    fleet.apply(control("rollback", "new", "2", to="1"))
    assert fleet.schedule.models == ("champion", "cheap")
    assert standing(fleet, "new").stage == "shadow"
    assert "rolled back" in fleet.apply(ramp(anyway=True))
    assert "rolled back" in fleet.apply(control("warm", "new", "2"))
    fleet.apply(control("register", "new", "2"))
    assert "not warm" in fleet.apply(ramp())  # what was seen of it before counts no more


def test_a_rollback_of_another_version_leaves_the_ramp(fleet):
    fleet.apply(ramp(anyway=True))
    fleet.apply(control("rollback", "new", "1"))
    assert fleet.schedule.tiers[0].ramps == {"new": 10}


def test_a_champion_that_is_rolled_back_gives_way_to_the_one_before(fleet):
    before = fleet.schedule.tiers
    fleet.apply(control("champion", "new", "2"))
    fleet.apply(control("rollback", "new", "2"))
    assert fleet.schedule.tiers == before
    fleet.apply(control("register", "new", "2"))
    fleet.apply(control("champion", "new", "2"))
    fleet.apply(control("rollback", "new", "2", to="1"))
    assert fleet.schedule.models == ("new", "cheap")
    assert fleet.admits(score("new", "1"))
    assert not fleet.admits(score("new", "3"))


def test_to_roll_back_a_former_champion_leaves_the_one_in_service(fleet):
    fleet.apply(control("champion", "second", "1"))
    fleet.apply(control("champion", "third", "1"))
    fleet.apply(control("rollback", "second", "1"))
    assert fleet.schedule.models == ("third", "cheap")
    fleet.apply(control("rollback", "third", "1"))
    assert fleet.schedule.models == ("second", "cheap")


def test_to_roll_back_a_champion_leaves_what_else_was_said_since(fleet):
    fleet.apply(control("champion", "new", "2"))
    fleet.apply(control("override", "cheap", name="far", when={"x": 1}))
    fleet.apply(control("schedule", version="9", default=0.7))
    fleet.apply(control("rollback", "new", "2", to=None))
    assert fleet.schedule.models == ("champion", "cheap")
    assert [rule.name for rule in fleet.schedule.overrides] == ["far"]
    assert (fleet.schedule.version, fleet.schedule.default) == ("9+1", 0.7)


def test_to_roll_back_a_champion_leaves_tiers_that_were_put_in_force_since(fleet):
    fleet.apply(control("champion", "new", "2"))
    fleet.apply(
        control("schedule", version="9", tiers=[{"models": ["new"]}, {"models": ["other"], "after_seconds": 0.5}])
    )
    fleet.apply(control("rollback", "new", "2"))
    assert fleet.schedule.models == ("new", "other")
    assert not fleet.admits(score("new", "2"))


def test_a_champion_is_rolled_back_though_the_tiers_before_no_longer_fit_the_deadline(fleet):
    fleet.apply(control("champion", "cheap", "2"))
    assert fleet.apply(control("schedule", version="9", deadline_seconds=0.3)) is None
    assert fleet.apply(control("rollback", "cheap", "2")) is None
    assert fleet.schedule.models == ("champion", "cheap")
    assert not fleet.admits(score("cheap", "2"))


def test_a_ramp_that_is_held_is_not_raised_but_lowered_or_raised_anyway(fleet):
    assert "not being ramped" in fleet.apply(control("hold", "new"))
    fleet.apply(control("warm", "new", "2"))
    fleet.apply(ramp(percent=20))
    assert fleet.apply(control("hold", "new")) is None
    assert standing(fleet, "new").held == "a test"
    assert "held (a test)" in fleet.apply(ramp(percent=30))
    assert fleet.apply(ramp(percent=10)) is None
    assert "held" in fleet.apply(ramp(percent=20))
    assert fleet.apply(ramp(percent=30, anyway=True)) is None
    assert fleet.apply(ramp(percent=40)) is None


@pytest.mark.parametrize("percent", [-1, 101, "ten", None, True, float("nan")])
def test_a_percentage_that_is_none_is_refused(fleet, percent):
    assert "percent" in fleet.apply(ramp(percent=percent, anyway=True))
    assert fleet.schedule.tiers[0].ramps == {}


def test_an_unknown_guard_is_refused(fleet):
    assert "guard = 'pray'" in fleet.apply(ramp(guard="pray", anyway=True))
    assert fleet.guard("new") is None


def test_a_rule_that_forces_a_model_is_added_in_front_replaced_and_cleared(fleet):
    fleet.apply(control("override", "cheap", name="one", when={"x": 1}))
    fleet.apply(control("override", "champion"))
    assert [(r.name, r.model) for r in fleet.schedule.overrides] == [("champion", "champion"), ("one", "cheap")]
    fleet.apply(control("override", "champion", name="one", when={"x": 2}))
    assert [r.model for r in fleet.schedule.overrides] == ["champion", "champion"]
    fleet.apply(control("override", name="one", clear=True))
    assert [r.name for r in fleet.schedule.overrides] == ["champion"]
    assert "no rule 'one'" in fleet.apply(control("override", name="one", clear=True))
    assert "when" in fleet.apply(control("override", "cheap", name="two", when="x"))


def test_each_change_to_the_schedule_gives_it_another_version(fleet):
    seen = [fleet.schedule.version]
    for change in (ramp(anyway=True), ramp(percent=20, anyway=True), control("champion", "new", "2")):
        fleet.apply(change)
        seen.append(fleet.schedule.version)
    assert seen == ["1", "1+1", "1+2", "1+3"]
    fleet.apply(control("schedule", version="2", tiers=[{"models": ["cheap"]}]))
    assert fleet.schedule.version == "2"


actions = st.sampled_from(
    ["register", "warm", "ramp", "hold", "champion", "rollback", "retire", "override", "schedule"]
)


@given(
    records=st.lists(
        st.tuples(actions, st.sampled_from(["bird", "champion", "cheap"]), st.sampled_from("12")), max_size=30
    )
)
def test_whatever_is_put_on_control_the_canary_never_may_answer(records):
    fleet = Fleet(parse_schedule({"default": 0.1, "tiers": [{"models": ["champion"]}], "canary": ["bird"]}, place="t"))
    for action, model, version in records:
        params = {"percent": 50, "anyway": True, "tiers": [{"models": [model], "ramps": {}}], "canary": []}
        if action != "schedule":
            params.pop("tiers")
        fleet.apply(control(action, model, version, **params))
        assert "bird" not in fleet.schedule.models
        assert all(rule.model != "bird" for rule in fleet.schedule.overrides)
        assert not fleet.admits(score("bird", "1"))
        assert not fleet.admits(score("bird", "2"))
