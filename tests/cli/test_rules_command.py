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
