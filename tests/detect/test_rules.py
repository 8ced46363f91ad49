from pathlib import Path

import pytest

from birdwatch.content import content
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.rules import KINDS, check_rules, load_kinds, load_rules
from birdwatch.errors import SettingsError

GOOD = """\
budget: {pages: 2, per: 7d}
rules:
  - name: scores
    kind: distribution
    window: 1h
    reference: {trailing: 7d}
  - name: pairs
    kind: paired
    for: 2
"""


def mistakes(tmp_path, text, file="a.yaml"):
    (tmp_path / file).write_text(text)
    return [str(m).removeprefix(f"{tmp_path}/") for m in check_rules(tmp_path)[1]]


def rule(*lines):
    return "rules:\n  - name: a\n" + "".join(f"    {line}\n" for line in lines)


def test_rules_are_read_by_name_with_their_budget(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    found = load_rules(tmp_path)
    assert [r.name for r in found.rules] == ["pairs", "scores"]
    assert (found.budget.pages, found.budget.per, found.folder) == (2, 7 * 86_400, tmp_path)
    pairs, scores = found.rules
    assert isinstance(pairs, PairedRule)
    assert (pairs.for_windows, pairs.severity, scores.window, scores.severity) == (2, "page", 3600, "ticket")


MISTAKES = [
    (rule("kind: distributon"), "a.yaml:3: unknown kind 'distributon': did you mean 'distribution'?"),
    (rule("window: 1d"), "a.yaml:2: a rule needs a `kind`"),
    (rule("kind: paired", "windw: 1d"), "a.yaml:4: unknown field 'windw': did you mean 'window'?"),
    (rule("kind: paired", "window: soon"), "a.yaml:4: window: 'soon' is no duration"),
    (
        rule("kind: paired", "severity: pages"),
        "a.yaml:4: severity: 'pages' should be 'page', 'ticket' or 'info'; did",
    ),
    (
        rule("kind: paired", "tolerance: big"),
        "a.yaml:4: tolerance: 'big' should be 'auto' or 'big' should be a valid n",
    ),
    (rule("kind: paired", "reference: {trailin: 1d}"), "unknown field 'trailin': did you mean 'trailing'?"),
    (rule("kind: paired", "reference:", "  trailing: x"), "a.yaml:5: reference.trailing: 'x' is no duration"),
    (rule("kind: paired", "reference: {}"), "a.yaml:4: reference: write either `trailing: 28d` or `frozen: NAME`"),
    (rule("kind: latency", "stage: model"), "a.yaml:2: objective: is missing"),
    (rule("kind: paired", "weight: 0"), "a.yaml:4: weight: 0 should be greater than 0"),
    (rule("kind: paired", "weight: .inf"), "a.yaml:4: weight: inf should be a finite number"),
    (rule("kind: paired", "dry_run: maybe"), "a.yaml:4: dry_run: 'maybe' should be a valid boolean"),
    (rule("kind: paired", "must_have_data: 2"), "a.yaml:4: must_have_data: 2 should be a valid boolean"),
    (rule("kind: threshold", "statistic: ks"), "a.yaml:2: write `warn`, `fail`, or both"),
    (rule("kind: paired", "for: 0"), "a.yaml:4: for: 0 should be greater than or equal to 1"),
    (rule("kind: paired", "kind: paired"), "a.yaml:4: 'kind' stands here twice"),
    ("rules:\n  - name: A b\n    kind: paired\n", "a.yaml:2: name: 'A b' should"),
    (
        rule("kind: paired").replace("name: a", "name: watchdog"),
        "a.yaml:2: 'watchdog' is the dead man's alert: give the rule another name",
    ),
    ("rules:\n  - just words\n", "a.yaml:2: 'just words' is no rule"),
    ("rules: {}\nbudgets: {}\n", "a.yaml:2: unknown section 'budgets': did you mean 'budget'?"),
    ("rules: {name: x}\n", "a.yaml:1: rules are a list, not dict"),
    ("- name: x\n", "a.yaml:1: holds list, not `rules:` and a list"),
    ("budget: {pages: 0}\n", "a.yaml:1: pages: 0 should be greater than 0"),
    ("rules:\n  - name: [\n", "a.yaml:3: cannot be read as YAML"),
    ("", "a.yaml:1: no rule in any file"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_is_named_with_file_and_line(tmp_path, text, said):
    found = mistakes(tmp_path, text)
    assert len(found) == 1
    assert said in found[0]


def test_a_rule_wakes_people_by_its_share_of_the_budget_unless_it_says_otherwise(tmp_path):
    (tmp_path / "a.yaml").write_text(rule("kind: paired", "weight: 2.5", "dry_run: true", "must_have_data: true"))
    (tmp_path / "b.yaml").write_text(rule("kind: paired").replace("name: a", "name: b"))
    said, plain = load_rules(tmp_path).rules
    assert (said.weight, said.dry_run, said.must_have_data) == (2.5, True, True)
    assert (plain.weight, plain.dry_run, plain.must_have_data) == (1.0, False, False)


def test_all_mistakes_are_told_at_once_and_what_is_right_is_kept(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(rule("kind: paired", "windw: 1d", "severity: loud"))
    found, wrong = check_rules(tmp_path)
    assert [m.line for m in wrong] == [4, 5]
    assert len(found.rules) == 2
    with pytest.raises(SettingsError, match=r"bad.yaml:4: .*\n.*bad.yaml:5: "):
        load_rules(tmp_path)


def test_a_name_stands_for_one_rule_and_there_is_one_budget(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    found = mistakes(tmp_path, GOOD.replace("scores", "others"), "later.yaml")
    assert len(found) == 2
    assert "later.yaml:7: there is a rule 'pairs' already, at" in found[1]
    assert "good.yaml:7" in found[1]
    assert "later.yaml:1: there is a budget already" in found[0]


def test_a_folder_without_rules_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"holds no \*\.yaml"):
        check_rules(tmp_path)
    with pytest.raises(SettingsError, match="is no folder"):
        check_rules(tmp_path / "nowhere")


def test_the_starter_rules_are_right_and_say_what_they_are_for():
    found = load_rules(content("detectors"))
    left_out = {"threshold": "its number is the user's own, and so are its false alarms"}
    assert {r.kind for r in found.rules} == set(KINDS) - set(left_out)
    for starter in found.rules:
        assert starter.description, starter.name
        assert starter.runbook, starter.name


def test_every_kind_and_every_starter_rule_is_documented():
    page = Path(content("detectors") / "README.md").read_text(encoding="utf-8")
    kinds, mistakes = load_kinds(content("detectors"))
    assert mistakes == []
    for kind, model in kinds.loaded().items():
        assert f"### `{kind}`" in page
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}`" in page, (kind, name)
    for starter in load_rules(content("detectors")).rules:
        assert f"`{starter.name}`" in page, starter.name
