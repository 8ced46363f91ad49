"""`birdwatch alerts show --picture`, and what is said where alerts go without pictures."""

import importlib.util
import json
import struct

import pytest
from typer.testing import CliRunner

from birdwatch.alerts.lifecycle import advance
from birdwatch.cli.alerts import app
from birdwatch.cli.picturing import draw, open_pictures
from birdwatch.config import load_settings
from birdwatch.detect.verdict import Finding, Subject, Verdict, create_table, put_verdicts
from birdwatch.errors import BirdwatchError, SettingsError
from birdwatch.windows.store import Store

DAY = 86_400


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A rate that rose, and an alert that rests on nothing that was measured."""
    monkeypatch.chdir(tmp_path)
    store = Store("birdwatch.db", pane_seconds=3600)
    create_table(store)
    share = {"rule": "errors", "kind": "rate", "subject": Subject("m", "1"), "statistic": "share", "reason": "so many"}
    put_verdicts(
        store,
        [
            Verdict(start=0, end=DAY, status="ok", value=0.01, tolerance=0.02, **share),
            Verdict(start=DAY, end=2 * DAY, status="drifting", value=0.3, tolerance=0.02, effect=0.28, **share),
        ],
    )
    told = {"ts": 2 * DAY, "severity": "ticket", "active": True, "reason": "so many"}
    advance(
        store, [Finding(rule="errors", subject=Subject("m", "1"), **told), Finding(rule="x", subject=Subject(), **told)]
    )
    yield store
    store.close()


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def fingerprints():
    return {row["rule"]: row["fingerprint"] for row in json.loads(run("list", "--json").stdout)}


def test_a_picture_is_written_to_a_file(store, tmp_path):
    run("show", fingerprints()["errors"], "--picture", "shown.png")
    png = (tmp_path / "shown.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (1600, 900)


def test_what_cannot_be_drawn_or_written_is_said(store):
    with pytest.raises(BirdwatchError, match=r"there is nothing to draw of [0-9a-f]{16}: nothing was measured"):
        run("show", fingerprints()["x"], "--picture", "shown.png")
    with pytest.raises(BirdwatchError, match=r"nowhere/shown\.png cannot be written: No such file or directory"):
        run("show", fingerprints()["errors"], "--picture", "nowhere/shown.png")


@pytest.fixture
def without_the_extra(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("birdwatch.cli.picturing.find_spec", lambda name: None if name == "vl_convert" else found(name))


@pytest.mark.usefixtures("without_the_extra")
def test_without_what_draws_alerts_go_without_which_is_said_once(store, tmp_path, caplog):
    with pytest.raises(SettingsError, match=r"--picture: what draws .* pip install 'birdwatch\[pictures\]'"):
        run("show", fingerprints()["errors"], "--picture", "shown.png")
    (tmp_path / "birdwatch.yaml").write_text("pictures_url: https://watch.test\nalert_log: kept.jsonl\n")
    assert open_pictures(load_settings(), served=True) is None
    assert [record.getMessage() for record in caplog.records] == [
        "alerts go without pictures: what draws pictures is not installed: pip install 'birdwatch[pictures]'"
    ]


def test_pictures_are_opened_only_where_somebody_is_shown_any(store, tmp_path, caplog):
    settings = tmp_path / "birdwatch.yaml"
    for text, served, there in [
        ("alert_log: kept.jsonl", True, False),
        ("pictures_url: https://watch.test", True, True),
        ("pictures_url: https://watch.test", False, False),
        ("sinks: {team: {kind: apprise, urls: ['json://h']}}", False, True),
        ("sinks: {team: {kind: apprise, urls: ['json://h'], pictures: false}}", True, False),
    ]:
        settings.write_text(text)
        assert (open_pictures(load_settings(), served=served) is not None) == there
    assert caplog.text.count("`pictures_url` is set, and nobody serves it: give --health-port") == 1


def test_the_settings_say_how_scores_are_counted(store, monkeypatch):
    asked = []
    monkeypatch.setattr("birdwatch.charts.picture.draw_behind", lambda _, __, scale: asked.append(scale))
    from birdwatch.testing import an_alert

    assert draw(store, an_alert(), scale="real") is None
    assert asked == ["real"]
