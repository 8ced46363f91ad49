import re
import sys
import textwrap

import numpy as np
import pytest

from birdwatch.content import content
from birdwatch.detect.kind import Rule
from birdwatch.detect.rules import KINDS, check_rules, load_kinds, load_rules
from birdwatch.errors import SettingsError

from .scenes import case, draw, scores_pane

PLUGIN = """\
from typing import Literal

from birdwatch.detect.kind import Rule


class Steady(Rule):
    kind: Literal["steady"] = "steady"
    most: int = 3

    def subjects(self, pane, known):
        return []


class NotARuleButFine:
    def kind(self):
        return "nothing"
"""

USES = "rules:\n  - name: a\n    kind: steady\n    most: 4\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.yaml").write_text("rules:\n  - name: other\n    kind: silence\n")
    return tmp_path


def mistakes(folder):
    return [str(m).replace(f"{folder}/", "") for m in check_rules(folder)[1]]


def test_a_file_beside_the_rules_is_a_kind_like_any_other(folder):
    (folder / "steady.py").write_text(PLUGIN)
    (folder / "b.yaml").write_text(USES)
    found = {rule.name: rule for rule in load_rules(folder).rules}
    assert (type(found["a"]).__name__, found["a"].most, found["a"].window) == ("Steady", 4, 86_400)
    (folder / "b.yaml").write_text(USES.replace("most: 4", "mots: 4"))
    assert mistakes(folder) == ["b.yaml:4: unknown field 'mots': did you mean 'most'?"]
    (folder / "b.yaml").write_text(USES.replace("steady", "staedy"))
    assert mistakes(folder) == ["b.yaml:3: unknown kind 'staedy': did you mean 'steady'?"]


def test_the_registry_and_the_path_of_imports_stay_as_they_are(folder):
    before = (dict(KINDS), list(sys.path))
    (folder / "steady.py").write_text(PLUGIN)
    (folder / "b.yaml").write_text(USES)
    rule = load_rules(folder).rules[0]
    assert (KINDS, sys.path) == before
    assert "steady" not in sys.modules
    assert type(rule) is type(load_rules(folder).rules[0]), "a file that did not change is run once"


def test_a_file_may_hold_several_kinds(folder):
    (folder / "two.py").write_text(PLUGIN + PLUGIN[PLUGIN.index("class Steady") :].replace("teady", "haky"))
    assert set(load_kinds(folder)[0].loaded()) == {*KINDS, "steady", "shaky"}


@pytest.mark.parametrize("name", ["_draft.py", "test_steady.py", "conftest.py"])
def test_drafts_and_tests_are_no_plug_ins(folder, name):
    (folder / name).write_text("raise RuntimeError('never run')\n")
    assert mistakes(folder) == []
    assert (load_kinds(folder)[0].loaded(), load_kinds(folder)[1]) == (KINDS, [])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\n", "steady.py:1: defines no kind: write a subclass of `birdwatch.detect.kind.Rule` with `kind: L"),
        ("x = 1\ndef f(:\n", "steady.py:2: cannot be read as Python: invalid syntax; if it is no plug-in, begin its"),
        ("x = '\0'\n", "steady.py:1: cannot be read as Python: source code"),
        (PLUGIN.replace('"steady"]', '"rate"]'), "steady.py:6: there is a kind 'rate' already, among those built in"),
    ],
)
def test_what_its_source_shows_to_be_wrong_is_told_though_no_rule_uses_it(folder, source, said):
    (folder / "steady.py").write_text(source)
    found = mistakes(folder)
    assert len(found) == 1
    assert found[0].startswith(said)
    with pytest.raises(SettingsError, match=r"steady\.py:"):
        load_rules(folder)


def test_a_kind_stands_for_one_class(folder):
    (folder / "steady.py").write_text(PLUGIN)
    (folder / "steady_too.py").write_text("\n" + PLUGIN)
    assert mistakes(folder) == [
        "steady_too.py:7: there is a kind 'steady' already, at steady.py:6: choose another name",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "from birdwatch.detect.kind import Rule",
            "from birdwatch.detect.kind import Rules",
            "steady.py:3: cannot be loaded: ImportError: cannot import name 'Rules' from 'birdwatch.detect.kind'",
        ),
        (
            "from birdwatch.detect.kind import Rule",
            "from birdwatch.detect.kinds import Rule",
            "steady.py:3: cannot be loaded: ModuleNotFoundError: No module named 'birdwatch.detect.kinds'",
        ),
        (
            "from typing import Literal",
            "from typing import Literal\nimport json.nothing",
            "steady.py:2: cannot be loaded: ModuleNotFoundError: No module named 'json.nothing'",
        ),
        ("    most: int = 3", "    most: int = 1 / 0", "steady.py:8: cannot be loaded: ZeroDivisionError: division by"),
        ("    most: int = 3", "    most: 'Unheard' = 3", "steady.py:6: cannot be loaded: PydanticUndefinedAnnotation"),
        ("class Steady(Rule)", "import sys\nsys.exit(3)\nclass Steady(Rule)", "steady.py:7: cannot be loaded: SystemE"),
        ("class Steady(Rule)", "class Steady", "steady.py:6: Steady is no rule: make it a subclass of `birdwatch."),
    ],
)
def test_what_fails_when_it_is_run_is_told_once_where_it_failed(folder, old, new, said):
    (folder / "steady.py").write_text(PLUGIN.replace(old, new))
    assert mistakes(folder) == [], "no rule asks for it"
    (folder / "b.yaml").write_text(USES + USES.removeprefix("rules:\n").replace("name: a", "name: b"))
    (found,) = mistakes(folder)
    assert found.startswith(said)
    assert "\n" not in found
    assert [str(m).replace(f"{folder}/", "") for m in load_kinds(folder)[1]] == [found]


def test_a_package_is_missed_only_by_the_rules_that_need_it(folder):
    (folder / "steady.py").write_text("import nowhere_to_be_found.at_all\n" + PLUGIN)
    assert mistakes(folder) == []
    assert (load_kinds(folder)[0].loaded(), load_kinds(folder)[1]) == (KINDS, [])
    (folder / "b.yaml").write_text(USES)
    (found,) = mistakes(folder)
    assert found.startswith("b.yaml:3: the kind 'steady' of steady.py needs the package 'nowhere_to_be_found', which")
    assert found.endswith("install it, such as with `pip install nowhere_to_be_found`")
    assert [rule.name for rule in check_rules(folder)[0].rules] == ["other"]


def test_a_plug_in_that_was_mended_is_read_again(folder):
    (folder / "b.yaml").write_text(USES)
    (folder / "steady.py").write_text(PLUGIN.replace("most: int", "less: int"))
    assert mistakes(folder) == ["b.yaml:4: unknown field 'most': there are " + fields("less")]
    (folder / "steady.py").write_text(PLUGIN + "# mended\n")
    assert mistakes(folder) == []


def fields(extra):
    return ", ".join(sorted({field.alias or name for name, field in Rule.model_fields.items()} | {extra}))


def test_the_example_of_the_readme_is_a_plug_in(folder):
    page = (content("detectors") / "README.md").read_text(encoding="utf-8")
    (folder / "stuck.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    (folder / "b.yaml").write_text(re.search(r"```yaml\n(rules:\n  - name: stuck-scores.*?)```", page, re.DOTALL)[1])
    rule = next(r for r in load_rules(folder).rules if r.kind == "stuck")
    assert (rule.name, rule.window, rule.patience) == ("stuck-scores", 3600, 2)
    alive = draw(np.random.default_rng(0))
    stuck = {**alive, "challenger": np.full(800, 0.25)}
    (challenger,) = [s for s in rule.subjects(scores_pane(alive), []) if s.model == "challenger"]
    told, state = [], {}
    for scores in (stuck, alive, stuck, stuck):
        verdict, state = rule.judge(case(scores_pane(scores), (challenger.model, challenger.version)), state, 4.0)
        told.append(verdict.status)
    assert told == ["ok", "ok", "ok", "drifting"]
    assert verdict.reason == "100% of the scores are alike, for 2 windows"
    few, kept = rule.judge(case({}, ("challenger", "1")), state, 4.0)
    assert (few.status, kept) == ("no data", state)


def test_a_private_base_is_no_kind_and_annotations_may_be_text(folder):
    (folder / "steady.py").write_text(
        textwrap.dedent("""\
        from __future__ import annotations

        import typing

        from birdwatch.detect.kind import Rule


        class Base(Rule):
            most: typing.Annotated[int, "many"] = 3


        class Steady(Base):
            kind: typing.Literal["steady"] = "steady"
        """)
    )
    (folder / "b.yaml").write_text(USES)
    assert [rule.name for rule in load_rules(folder).rules] == ["a", "other"]
    assert set(load_kinds(folder)[0].loaded()) == {*KINDS, "steady"}
