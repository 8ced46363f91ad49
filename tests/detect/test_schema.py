"""What editors are told of the rules is what the rules are."""

import jsonschema
import pytest
import yaml

from birdwatch.content import content
from birdwatch.detect.rules import check_rules, load_kinds
from birdwatch.detect.schema import rules_schema

from . import test_rules

KINDS = load_kinds(content("detectors"))[0].loaded()
SCHEMA = rules_schema(KINDS)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

RULE = {"name": "a", "kind": "latency", "stage": "model", "objective": "200ms"}


def faults(document):
    return [error.message for error in VALIDATOR.iter_errors(document)]


def file_of(**more):
    return {"rules": [RULE | more]}


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("file", sorted(content("detectors").glob("*.yaml")), ids=lambda file: file.name)
def test_the_starter_rules_keep_to_it(file):
    assert faults(yaml.safe_load(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_of_every_kind_keeps_to_it_and_its_mistakes_do_not(kind):
    said = {"name": "a", "kind": kind, **KINDS[kind].example}
    assert faults({"rules": [said]}) == []
    for wrong in (
        {"windw": "1d"},
        {"window": "soon"},
        {"weight": 0},
        {"severity": "loud"},
        {"name": "A b"},
        {"for": 0},
    ):
        assert faults({"rules": [said | wrong]}), wrong
    assert faults({"rules": [{name: value for name, value in said.items() if name != "kind"}]})


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind):
    (part,) = [p for p in SCHEMA["$defs"].values() if p["properties"].get("kind", {}).get("const") == kind]
    fields = {field.alias or name for name, field in KINDS[kind].model_fields.items()}
    assert set(part["properties"]) == fields
    assert all(field["description"] for field in part["properties"].values())
    assert part["additionalProperties"] is False


@pytest.mark.parametrize("window", ["15s", "10m", "1.5h", "1d", " 4 w ", "3600", 3600])
def test_durations_are_text_or_seconds(window):
    assert faults(file_of(window=window)) == []


@pytest.mark.parametrize("window", ["1 fortnight", "-1d", "", 0, -5, True, None])
def test_what_is_no_duration_is_refused(window):
    assert faults(file_of(window=window))


def test_times_are_of_any_size():
    assert [faults(file_of(objective=seconds)) for seconds in (0.2, "200ms", "0.2")] == [[], [], []]
    assert faults(file_of(objective=-0.2))


def test_the_budget_is_a_section_of_its_own():
    assert faults({"budget": {"pages": 2, "per": "7d"}}) == []
    assert faults({"budget": {"pages": 0}})
    assert faults({"budgets": {"pages": 1}})


# What only the reading of a whole file, or of several fields together, can find.
BEYOND_IT = {
    "reference: write either": "what fields are to each other",
    "write `warn`": "what fields are to each other",
    "stands here twice": "YAML keeps the last of two keys",
    "cannot be read as YAML": "it is no document",
    "finite number": "JSON has no infinity",
    "no rule in any file": "other files may hold the rules",
}


@pytest.mark.parametrize(("text", "said"), test_rules.MISTAKES)
def test_what_the_check_finds_the_schema_refuses_too(text, said, tmp_path):
    if any(part in said for part in BEYOND_IT):
        return
    (tmp_path / "a.yaml").write_text(text)
    assert check_rules(tmp_path)[1]
    assert faults(yaml.safe_load(text))
