import pytest

from birdwatch.errors import SettingsError
from birdwatch.serving.control.schedule import Schedule, load_schedule, parse_schedule


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


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"default": float("nan")}, "default"),
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
        ({"tiers": [{"models": ["a"], "ramps": {"a": 5}}]}, "tiers.0.models names 'a' a second time"),
        ({"tiers": [{"models": ["a"], "ramps": {"b": 0}}]}, "tiers.0.ramps.b = 0"),
        ({"tiers": [{"models": ["a"], "policy": {"kind": "luck"}}]}, "tiers.0.policy"),
        ({"tiers": [{"models": ["a"], "policy": {"kind": "weights", "weights": {"b": 1}}}]}, "weights names b"),
        ({"tiers": [{"models": ["a"], "policy": {"kind": "weights", "weights": {"a": 0}}}]}, "weights.a = 0"),
        ({"tiers": [{"models": ["a"], "policy": {"kind": "epsilon", "epsilon": 2}}]}, "epsilon = 2"),
        ({"overrides": [{"name": "n", "model": "bird"}], "canary": ["bird"]}, "rule 'n', names 'bird', the canary"),
        ({"acceptance": {"threshold": 0.5, "accepts": "above"}}, "acceptance.accepts = 'above'"),
        ({"dithering": {"epsilon": 0.5}}, "dithering.epsilon = 0.5"),
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
    assert three_tiers().without({"m1", "m2", "m3"}).tiers == ()


def test_a_promoted_model_is_alone_in_the_first_tier():
    promoted = three_tiers().promote("new")
    assert [t.models for t in promoted.tiers] == [("new",), ("m2",), ("m1",)]
    promoted = three_tiers().promote("m2")
    assert [(t.models, t.after_seconds) for t in promoted.tiers] == [(("m2",), 0.0), (("m1",), 0.5)]
    assert isinstance(promoted, Schedule)


def test_a_ramp_keeps_the_policy_of_the_tier_and_leaves_the_others():
    weights = {"kind": "weights", "weights": {"a": 1, "b": 3}}
    before = three_tiers(tiers=[{"models": ["a", "b"], "policy": weights}, {"models": ["c"], "after_seconds": 0.25}])
    ramped = before.ramp("c", 5).ramp("d", 10).ramp("c", 20)
    assert list(ramped.tiers[0].ramps.items()) == [("c", 20), ("d", 10)]
    assert ramped.tiers[0].policy == before.tiers[0].policy
    assert [t.models for t in ramped.tiers] == [("a", "b")]  # who is ramped up is not waited for a second time
    assert ramped.ramp("c", 0).ramp("d", 0).tiers[0] == before.tiers[0]
    with pytest.raises(SettingsError, match="it needs no ramp"):
        before.ramp("a", 5)


def test_without_a_model_the_weights_of_the_others_stay():
    weights = {"kind": "weights", "weights": {"a": 1, "b": 3}}
    schedule = three_tiers(tiers=[{"models": ["a", "b"], "policy": weights, "ramps": {"c": 5}}])
    assert schedule.without({"a"}).tiers[0].policy.weights == {"b": 3}
    assert schedule.without({"a", "b"}).tiers[0].models == ("c",)


def test_a_schedule_survives_the_control_stream():
    schedule = three_tiers(
        tiers=[{"models": ["a", "b"], "policy": {"kind": "thompson", "half_life_seconds": 60}, "ramps": {"c": 5}}],
        overrides=[{"name": "n", "when": {"dest": ["LEX"], "distance": {"at_least": 5}}, "model": "z"}],
        acceptance={"threshold": 0.5, "accepts": "below", "rate": 0.02},
        dithering={"epsilon": 2},
        salt="s",
    )
    assert parse_schedule(schedule.model_dump(mode="json"), place="test") == schedule


@pytest.mark.parametrize(
    ("tiers", "said"),
    [
        ([{"model": ["a"]}], "t: tiers.0.models: must be given\nt: tiers.0.model = ['a']: there is no such field"),
        ([{"models": "a"}], "t: tiers.0.models = 'a': write a list"),
    ],
)
def test_a_fault_in_a_tier_is_said_once_and_where_it_lies(tiers, said):
    with pytest.raises(SettingsError) as refused:
        parse_schedule({"default": 0, "tiers": tiers}, place="t")
    assert str(refused.value) == said
