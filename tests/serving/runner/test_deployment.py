import pytest

from birdwatch.records import Control
from birdwatch.serving.runner.deployment import Deployment
from birdwatch.serving.runner.model import Spec

FIRST = Spec("1", "models:make", "one.skops")


def control(action, version="", model="m", **params):
    return Control(ts=0.0, action=action, author="ann", reason="a test", model=model, version=version, params=params)


@pytest.fixture
def deployment():
    return Deployment("m", FIRST)


def test_the_last_registered_version_is_wanted(deployment):
    deployment.apply(control("register", "2", target="new:score"))
    deployment.apply(control("register", "3", target="newer:make", artifact="three.skops"))
    assert deployment.wanted == Spec("3", "newer:make", "three.skops")


def test_a_new_artifact_alone_goes_through_the_same_target(deployment):
    deployment.apply(control("register", "2", artifact="two.skops"))
    assert deployment.wanted == Spec("2", "models:make", "two.skops")
    deployment.apply(control("register", "3"))
    assert deployment.wanted == Spec("3", "models:make", "two.skops")


def test_options_stay_with_their_target_until_others_are_given(deployment):
    deployment.apply(control("register", "2", target="onnx", artifact="2.onnx", options={"output": "p"}))
    deployment.apply(control("register", "3", artifact="3.onnx"))
    assert deployment.wanted == Spec("3", "onnx", "3.onnx", {"output": "p"})
    deployment.apply(control("register", "4", options={}))
    assert deployment.wanted == Spec("4", "onnx", "3.onnx", {})
    deployment.apply(control("register", "5", options={"output": "q"}))
    deployment.apply(control("register", "6", target="a:b"))
    assert deployment.wanted == Spec("6", "a:b")


def test_other_models_are_ignored(deployment):
    deployment.apply(control("register", "2", model="other", target="a:b"))
    deployment.apply(control("rollback", "1", model="other"))
    deployment.apply(control("retire", model="other"))
    assert deployment.wanted == FIRST
    assert not deployment.retired


def test_a_rollback_goes_to_the_version_it_names_or_to_the_one_before(deployment):
    deployment.apply(control("register", "2", target="a:b"))
    deployment.apply(control("register", "3", target="c:d"))
    deployment.apply(control("rollback", "3", to="1"))
    assert deployment.wanted == FIRST
    deployment.apply(control("register", "4", target="e:f"))
    deployment.apply(control("rollback", "4"))
    assert deployment.wanted == FIRST


def test_a_rollback_of_another_version_than_the_one_that_serves_only_rules_it_out(deployment):
    deployment.apply(control("register", "2", target="a:b"))
    deployment.apply(control("register", "3", target="c:d"))
    deployment.apply(control("rollback", "2", to="1"))
    assert deployment.wanted.version == "3"
    deployment.apply(control("rollback", "3"))
    assert deployment.wanted.version == "1"


def test_a_version_that_cannot_be_loaded_gives_way_to_the_one_before_it(deployment):
    deployment.apply(control("register", "2", target="a:b"))
    deployment.apply(control("register", "3", target="not:there"))
    assert deployment.refuse(deployment.wanted)
    assert deployment.wanted.version == "2"
    deployment.apply(control("rollback", "2", to="1"))
    assert deployment.wanted == FIRST
    assert not deployment.refuse(FIRST)
    assert deployment.wanted == FIRST


@pytest.mark.parametrize("params", [{"to": "0.9"}, {"to": ["1"]}, {}])
def test_a_rollback_to_a_version_never_seen_is_refused(deployment, params):
    refused = deployment.apply(control("rollback", "1", **params))
    assert "never registered" in refused
    assert deployment.wanted == FIRST


@pytest.mark.parametrize("params", [{"target": 3}, {"artifact": ["a"]}, {"options": "fast"}, {"options": None}])
def test_a_registration_of_other_kinds_of_values_is_refused(deployment, params):
    assert "target and artifact are text, options an object" in deployment.apply(control("register", "2", **params))
    assert deployment.wanted == FIRST


def test_a_model_is_retired_as_a_whole_or_by_the_version_that_serves(deployment):
    deployment.apply(control("retire", "0"))
    assert not deployment.retired
    deployment.apply(control("retire", "1"))
    assert deployment.retired
    deployment.apply(control("register", "2", target="a:b"))
    assert not deployment.retired
    deployment.apply(control("retire"))
    assert deployment.retired
