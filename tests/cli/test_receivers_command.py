"""`birdwatch alerts test` and `enable`; a sink that is disabled is seen wherever alerts are looked at."""

import json

import pytest
from typer.testing import CliRunner

from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.outbox import due
from birdwatch.alerts.receivers import disable, disabled
from birdwatch.alerts.sinks import Log
from birdwatch.cli.alerts import app
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.errors import SettingsError, StoreError
from birdwatch.records import Alert, decode
from birdwatch.windows.store import Store


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birdwatch.yaml").write_text(
        "streams: files:recorded\nsinks: {kept: {kind: log, path: alerts.jsonl}, other: {kind: log, path: other.jsonl}}"
    )


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def store(tmp_path):
    """An alert that waits for a sink that is disabled."""
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    found = Finding(rule="shift", subject=Subject("m", "2"), ts=60, severity="page", active=True, reason="moved")
    advance(store, [found], sinks=["kept"])
    disable(store, "kept", 1000.0, "answered 410 Gone")
    yield store
    store.close()


def test_a_test_alert_goes_through_one_sink_at_once_and_says_what_it_is(tmp_path):
    result = run("test", "kept")
    assert result.exit_code == 0
    assert result.stdout.startswith("kept took the test alert, after ")
    (line,) = (tmp_path / "alerts.jsonl").read_bytes().splitlines()
    alert = decode(line, Alert)
    assert (alert.rule, alert.state, alert.severity, alert.attribution) == ("test", "firing", "info", "this is a test")
    assert "There is nothing to do" in alert.reason
    assert not (tmp_path / "other.jsonl").exists()
    assert not (tmp_path / "birdwatch.db").exists()


def test_a_test_alert_is_as_urgent_as_it_is_told_to_be(tmp_path):
    run("test", "kept", "--severity", "page")
    assert decode((tmp_path / "alerts.jsonl").read_bytes(), Alert).severity == "page"
    assert run("test", "kept", "--severity", "dire").exit_code == 2


def test_a_test_alert_that_is_not_taken_says_why(monkeypatch):
    def fails(self, alert, message_id):
        raise OSError("the disk is away")

    monkeypatch.setattr(Log, "send", fails)
    result = run("test", "kept")
    assert (result.exit_code, result.stdout) == (1, "kept did not take the test alert: the disk is away\n")
    result = run("test", "kept", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (told["sink"], told["taken"], told["error"]) == ("kept", False, "the disk is away")


def test_a_test_alert_that_is_taken_is_so_in_json_too():
    told = json.loads(run("test", "kept", "--json").stdout)
    assert (told["sink"], told["taken"], told["error"]) == ("kept", True, "")
    assert told["seconds"] >= 0


def test_a_sink_that_is_not_there_is_named():
    with pytest.raises(SettingsError, match="there is no sink 'keep': there are kept, other"):
        run("test", "keep")


def test_a_disabled_sink_is_seen_beside_the_alerts_and_not_in_their_json(store):
    for command in (["list"], ["list", "--json"], ["show", ""], ["show", "", "--json"]):
        result = run(*command)
        assert "kept is disabled: answered 410 Gone; 1 change waits: give it another address" in result.stderr
        assert "disabled" not in result.stdout
    json.loads(run("list", "--json").stdout)


def test_deliver_once_fails_while_something_waits_for_a_disabled_sink(store, tmp_path):
    assert run("deliver", "--once").exit_code == 1
    assert len((tmp_path / "other.jsonl").read_text().splitlines()) == 1
    run("enable", "kept")
    assert run("deliver", "--once").exit_code == 0
    assert len((tmp_path / "alerts.jsonl").read_text().splitlines()) == 1


def test_a_sink_that_is_enabled_is_given_what_waits_now(store):
    assert run("enable", "kept").stdout == "kept is enabled: 1 change is due now\n"
    assert disabled(store) == {}
    assert len(due(store, "kept", 0.0)) == 1


def test_only_a_sink_that_is_there_is_enabled_and_no_store_is_made(store, tmp_path):
    with pytest.raises(SettingsError, match="there is no sink 'keep': there are kept, other"):
        run("enable", "keep")
    with pytest.raises(StoreError, match="there is no store"):
        run("enable", "kept", "--store", "nowhere.db")
    assert not (tmp_path / "nowhere.db").exists()
