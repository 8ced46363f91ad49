"""`birdwatch reference` freezes, lists and shows."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from birdwatch.cli.reference import app
from birdwatch.detect.frozen import load
from birdwatch.errors import ReferenceMissingError, SettingsError
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Store

HOUR, DAY = 3_600, 86_400


@pytest.fixture(autouse=True)
def _store(tmp_path, monkeypatch):
    """Ten days of hourly scores of one model and its partner."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    store = Store("birdwatch.db", pane_seconds=HOUR)
    rng = np.random.default_rng(1)
    with store.transaction():
        for hour in range(10 * 24):
            scores = rng.beta(2, 8, 20)
            pane = {Series("score", "m", "1"): Counts.of(bins_of(scores, "probability"))}
            pane[Series("difference", "m", "1", "c")] = Counts.of(bins_of(scores - 0.2))
            store.put(hour * HOUR, pane)
    store.close()


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_all_that_is_closed_is_frozen_by_day():
    result = run("freeze", "--out", "all.json.gz")
    assert "10 blocks of 1d from 1970-01-01 00:00 to 1970-01-11 00:00; scores: m 4,800" in result.output
    found = load(Path("all.json.gz"))
    assert (found.name, found.until, len(found.blocks)) == ("all", 10 * DAY, 10)


def test_a_stretch_is_cut_into_whole_blocks_that_begin_where_windows_begin():
    Path("birdwatch.yaml").write_text(f"windows_start_seconds: {8 * HOUR}\n")
    result = run("freeze", "--since", "1970-01-02", "--until", "1970-01-06", "--out", "part.json", "--json")
    found = json.loads(result.output)
    assert (found["since"], found["until"], found["blocks"]) == (DAY + 8 * HOUR, 4 * DAY + 8 * HOUR, 3)
    result = run("freeze", "--since", "1970-01-02", "--block", "6h", "--name", "short", "--out", "short.json", "--json")
    found = json.loads(result.output)
    assert (found["name"], found["block_seconds"], found["since"]) == ("short", 6 * HOUR, DAY + 2 * HOUR)


def test_what_is_frozen_is_listed_and_shown():
    run("freeze", "--out", "refs/all.json")
    assert "10 of 1d" in run("list", "refs").output
    assert [r["name"] for r in json.loads(run("list", "refs/all.json", "--json").output)] == ["all"]
    shown = run("show", "refs/all.json").output
    assert "m - c" in shown
    series = {s["of"]: s for s in json.loads(run("show", "refs/all.json", "--json").output)["series"]}
    assert (series["m"]["n"], series["m"]["blocks"]) == (4_800, 10)
    assert series["m"]["mean"] == pytest.approx(0.2, abs=0.01)
    assert series["m - c"]["mean"] == pytest.approx(0.0, abs=0.01)


def test_the_settings_say_which_references_there_are():
    run("freeze", "--out", "all.json")
    assert "no references" in run("list").output
    Path("birdwatch.yaml").write_text("references: [all.json]\n")
    assert "all.json" in run("list").output


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["--since", "soon"], SettingsError, "--since: 'soon' is no time"),
        (["--block", "long"], SettingsError, "--block: 'long' is no duration"),
        (["--block", "30d"], ReferenceMissingError, "no whole block of 30d"),
        (["--block", "10m"], ReferenceMissingError, "made of panes of 1h"),
        (["--since", "2013-01-01", "--until", "2013-02-01"], ReferenceMissingError, "nothing was counted"),
    ],
)
def test_what_cannot_be_frozen_is_refused(arguments, error, said):
    with pytest.raises(error, match=said):
        run("freeze", "--out", "x.json", *arguments)


def test_a_store_without_panes_has_nothing_to_freeze():
    Store("empty.db", pane_seconds=HOUR).close()
    with pytest.raises(ReferenceMissingError, match="no closed pane"):
        run("freeze", "--out", "x.json", "--store", "empty.db")
