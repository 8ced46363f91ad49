"""`birdwatch rules check` lists rules, or names mistakes."""

import json

import pytest
from typer.testing import CliRunner

from birdwatch.cli.rules import app
from birdwatch.errors import SettingsError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments):
    result = CliRunner().invoke(app, ["check", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.yaml").write_text("rules:\n  - name: drift\n    kind: distribution\n    description: Has it moved?\n")
    return folder


def test_the_starter_rules_are_listed_by_default():
    result = run()
    assert result.exit_code == 0
    assert "pairs" in result.output
    assert "at most 1 expected false pages in 30d" in result.output


def test_a_folder_is_listed_as_a_table_or_as_json(mine):
    assert "Has it moved?" in run(str(mine)).output
    found = json.loads(run(str(mine), "--json").output)
    assert found["mistakes"] == []
    assert found["budget"] == {"pages": 1.0, "per": 2_592_000}
    assert [(r["name"], r["window"], r["for"]) for r in found["rules"]] == [("drift", 86_400, 1)]


def test_mistakes_exit_1_with_file_and_line(mine):
    (mine / "b.yaml").write_text("rules:\n  - name: b\n    kind: distributions\n")
    result = run(str(mine))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.strip().endswith("b.yaml:3: unknown kind 'distributions': did you mean 'distribution'?")
    said = run(str(mine), "--json")
    assert said.exit_code == 1
    assert [(m["line"], len(m["message"]) > 0) for m in json.loads(said.stdout)["mistakes"]] == [(3, True)]


def test_the_settings_say_where_the_rules_are(mine, tmp_path):
    (tmp_path / "birdwatch.yaml").write_text("rules: mine\n")
    assert "drift" in run().output


def test_a_folder_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match="is no folder"):
        run("nowhere")


PLUGIN = """\
from typing import Literal
from birdwatch.detect.kind import Rule

class Steady(Rule):
    kind: Literal["steady"] = "steady"
"""


def test_plug_ins_are_listed_though_no_rule_uses_them_with_what_they_need(mine):
    (mine / "steady.py").write_text(PLUGIN + PLUGIN[PLUGIN.index("class") :].replace("teady", "haky"))
    (mine / "wanting.py").write_text("import nowhere_to_be_found\n" + PLUGIN.replace("steady", "wanting"))
    said = run(str(mine)).output
    assert "steady.py adds the kinds shaky, steady\n" in said
    assert "wanting.py adds the kind wanting, but needs the package 'nowhere_to_be_found'" in said
    found = json.loads(run(str(mine), "--json").output)["plugins"]
    assert [(p["kind"], p["needs"]) for p in found] == [
        ("steady", ""),
        ("shaky", ""),
        ("wanting", "nowhere_to_be_found"),
    ]


def test_a_plug_in_that_cannot_be_run_is_a_mistake_though_no_rule_uses_it(mine):
    (mine / "steady.py").write_text(PLUGIN + "1 / 0\n")
    result = run(str(mine))
    assert result.exit_code == 1
    assert "steady.py:6: cannot be loaded: ZeroDivisionError: division by zero; mend it, or" in result.stderr


def test_how_a_rule_stands_beside_the_others_is_listed(mine):
    text = "rules:\n  - {name: a, kind: rate, of: errors, weight: 2, dry_run: true}\n"
    (mine / "b.yaml").write_text(text + "  - {name: b, kind: silence, must_have_data: true}\n")
    lines = {line.split()[0]: line for line in run(str(mine)).output.splitlines() if line.strip()}
    assert " 2 " in lines["a"]
    assert "ticket, dry run" in lines["a"]
    assert "ticket, must have data" in lines["b"]


def test_the_schema_knows_the_plug_ins_that_are_there(mine):
    (mine / "steady.py").write_text(PLUGIN)
    (mine / "wanting.py").write_text("import nowhere_to_be_found\n" + PLUGIN.replace("steady", "wanting"))
    result = CliRunner().invoke(app, ["schema", str(mine)])
    assert result.exit_code == 0
    kinds = [p["properties"].get("kind", {}).get("const") for p in json.loads(result.stdout)["$defs"].values()]
    assert "steady" in kinds
    assert "wanting" not in kinds
    assert result.stderr == "the kind 'wanting' is left out: it needs the package 'nowhere_to_be_found'\n"
