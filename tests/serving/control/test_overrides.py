import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from birdwatch.serving.control.overrides import OverrideRule, forced, matches


def rule(name="rule", model="m", **when):
    return OverrideRule(name=name, when=when, model=model)


@pytest.mark.parametrize(
    ("condition", "meets", "misses"),
    [
        ("JFK", ["JFK"], ["jfk", "", None, 1, ["JFK"]]),
        (5, [5, 5.0], [5.5, "5", True, None]),
        (1, [1, 1.0], [True]),
        (True, [True], [1, 1.0, "true", False]),
        (["JFK", "EWR"], ["JFK", "EWR"], ["LGA", ["JFK", "EWR"]]),
        ([1, 2.5], [1, 2.5], [2, True]),
        ({"at_least": 2}, [2, 2.0, 1e300], [1.999, "3", None, True, [3]]),
        ({"below": 2}, [1.999, -1e300, 0], [2, 2.0, "1", None, False]),
        ({"at_least": -1, "below": 1}, [-1, 0, 0.999], [1, -1.001]),
    ],
)
def test_a_condition_is_a_value_one_of_several_or_a_range(condition, meets, misses):
    made = rule(x=condition)
    assert [value for value in meets if not matches(made, {"x": value})] == []
    assert [value for value in misses if matches(made, {"x": value})] == []


def test_all_conditions_must_hold_and_other_features_do_not_matter():
    made = rule(hour={"at_least": 20}, origin="JFK")
    assert matches(made, {"hour": 21, "origin": "JFK", "dest": "LAX"})
    assert not matches(made, {"hour": 21, "origin": "EWR"})
    assert not matches(made, {"hour": 21})


def test_a_rule_without_conditions_forces_its_model_on_every_request():
    assert matches(rule(), {})


def test_the_first_rule_that_matches_forces_its_model():
    rules = [rule("a", origin="JFK"), rule("b", hour={"below": 12}), rule("c", hour={"below": 13})]
    assert forced(rules, {"origin": "EWR", "hour": 11}).name == "b"
    assert forced(rules, {"origin": "JFK", "hour": 11}).name == "a"
    assert forced(rules, {"origin": "EWR", "hour": 13}) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"name": "r", "model": "m", "when": {"x": {"over": 3}}},
            "'over' is no end of a range: write at_least or below",
        ),
        ({"name": "r", "model": "m", "when": {"x": {}}}, "needs at_least, below, or both"),
        (
            {"name": "r", "model": "m", "when": {"x": {"at_least": 3, "below": 3}}},
            "no number is at_least 3.0 and below 3",
        ),
        ({"name": "r", "model": "m", "when": {"x": {"at_least": "3"}}}, "from number to number, not '3'"),
        ({"name": "r", "model": "m", "when": {"x": {"below": True}}}, "from number to number, not True"),
        ({"name": "r", "model": "m", "when": {"x": []}}, r"the list \[\] must name"),
        ({"name": "r", "model": "m", "when": {"x": [{}]}}, r"the list \[\{\}\] must name"),
        ({"name": "r", "model": "m", "when": {"x": None}}, "None must be a text, a number"),
        ({"name": "r", "model": "m", "when": {"x": float("nan")}}, "nan must be a text, a number"),
        ({"name": "request", "model": "m"}, "'request' marks what a client asks for"),
        ({"name": "", "model": "m"}, "name"),
        ({"name": "r", "model": ""}, "model"),
        ({"name": "r", "model": "m", "if": {}}, "if"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_in_plain_words(values, words):
    with pytest.raises(ValidationError, match=words):
        OverrideRule.model_validate(values)


def test_a_fault_is_said_once():
    with pytest.raises(ValidationError) as caught:
        OverrideRule.model_validate({"name": "r", "model": "m", "when": {"x": {"over": 3}}})
    assert [fault["loc"] for fault in caught.value.errors()] == [("when", "x")]


scalars = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.dictionaries(st.text(min_size=1), scalars | st.lists(scalars, min_size=1), max_size=3))
def test_a_rule_survives_the_way_through_control(when):
    made = OverrideRule(name="r", when=when, model="m")
    assert OverrideRule.model_validate(made.model_dump()) == made
    assert OverrideRule.model_validate_json(made.model_dump_json()) == made


@given(
    st.dictionaries(st.text(min_size=1), scalars, max_size=3), st.dictionaries(st.text(min_size=1), scalars, max_size=3)
)
def test_values_are_compared_as_json_compares_them(when, features):
    """A request whose features are the rule's own values meets it, whatever else it carries."""
    assert matches(OverrideRule(name="r", when=when, model="m"), {**features, **when})
