"""`birdwatch reference` freezes, lists and shows."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from birdwatch.cli.reference import app
from birdwatch.detect.frozen import load
from birdwatch.errors import ReferenceMissingError, SettingsError
from birdwatch.records import encode
from birdwatch.stats.grid import bins_of
from birdwatch.streams import open_streams
from birdwatch.testing import a_score
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Store

HOUR, DAY = 3_600, 86_400
MAY_14 = 1_368_489_600


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


def test_what_the_rules_learn_is_frozen_with_it_and_shown():
    run("freeze", "--out", "all.json")
    (scores,) = (t for t in json.loads(run("show", "all.json", "--json").output)["tolerances"] if t["rule"] == "scores")
    assert (scores["of"], scores["at"], scores["frozen"]) == ("m", None, True)
    (kept,) = (row for row in json.loads(Path("all.json").read_text())["tolerances"] if row["rule"] == "scores")
    assert kept["learned"] == scores["learned"]
    assert kept["learned"]["blocks"] == 10
    said = " ".join(run("show", "all.json").output.split())
    assert f"scores m tolerance {scores['learned']['tolerance']:.3g}" in said
    assert "frozen" in said


def test_what_rules_that_came_later_would_learn_is_shown_as_such():
    run("freeze", "--out", "all.json")
    Path("mine").mkdir()
    Path("mine/rules.yaml").write_text("rules:\n  - name: mine\n    kind: distribution\n    severity: page\n")
    found = json.loads(run("show", "all.json", "--rules", "mine", "--json").output)["tolerances"]
    known = {row["rule"]: row["frozen"] for row in found}
    assert (known["scores"], known["mine"]) == (True, False)


def test_recorded_streams_are_counted_and_frozen_at_once():
    place = open_streams("files:recorded")
    for n in range(49):
        ts = MAY_14 + n * HOUR + 1.0
        score = a_score(request_id=str(n), request_ts=ts, ts=ts, model="m", score=0.5)
        place.append("scores", [(b"", encode(score))])
    place.append("scores", [(b"", b"{")])
    place.close()
    Path("birdwatch.db").unlink()
    result = run("freeze", "--streams", "files:recorded", "--out", "it.json")
    assert "2 blocks of 1d from 2013-05-14 00:00 to 2013-05-16 00:00; scores: m 48" in result.output
    assert "1 rows could not be read" in result.output
    assert not Path("birdwatch.db").exists()
    with pytest.raises(SettingsError, match="are not recorded: write `files:DIR`"):
        run("freeze", "--streams", "kafka://host", "--out", "it.json")


def test_a_reference_is_retired_with_a_reason():
    run("freeze", "--out", "all.json.gz")
    assert "is retired: a storm" in run("retire", "all.json.gz", "--reason", "a storm").output
    with pytest.raises(ReferenceMissingError, match=r"was retired \(a storm\)"):
        run("show", "all.json.gz")


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
