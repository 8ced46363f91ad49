"""`birdwatch alerts` silences and acknowledges, and its lists say so."""

import json
import time

import pytest
from typer.testing import CliRunner

from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.outbox import waiting
from birdwatch.cli.alerts import app
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.errors import BirdwatchError, SettingsError, StoreError
from birdwatch.windows.store import Store

MAY_14 = 1_368_489_600


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("LOGNAME", "ann")


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def store():
    """A page that fires, which nobody has heard of yet."""
    store = Store("birdwatch.db", pane_seconds=3600)
    page = Finding(
        ts=MAY_14,
        active=True,
        rule="disagreement",
        subject=Subject("challenger", "2", "champion"),
        severity="page",
        attribution="the model changed",
        reason="54 % disagree",
        statistic="share",
        value=0.54,
        tolerance=0.23,
        effect=0.31,
        since=MAY_14 - 7200,
        evidence=9.0,
        cost=1 / 4380,
        runbook="Roll the version back.",
    )
    advance(store, [page], sinks=["log"])
    yield store
    store.close()


def test_a_silence_holds_an_alert_back_until_it_is_ended(store):
    out = run("silence", "model=challenger", "severity=~page|ticket", "--for", "2h", "--reason", "retraining").stdout
    assert out.startswith("silence 1: model=challenger severity=~page|ticket until ")
    assert waiting(store) == {}
    (line,) = [line for line in run("list").stdout.splitlines() if "page" in line]
    assert "the model changed; silenced by 1" in line
    (row,) = json.loads(run("list", "--json").stdout)
    assert (row["silenced_by"], row["silenced"], row["acknowledged"]) == ("1", True, None)
    assert "  silenced by 1\n" in run("show", row["fingerprint"]).stdout
    assert run("unsilence", "1").stdout == "silence 1 has ended\n"
    assert waiting(store) == {"log": 1}
    assert "was silenced by 1" in run("list").stdout


def test_silences_are_listed_with_who_made_them_and_why(store):
    assert run("silences").stdout == "no silences\n"
    made = json.loads(run("silence", "rule=~[ab].*", "--for", "2h", "--reason", "moving", "--json").stdout)
    assert made["ends"] - made["starts"] == pytest.approx(7200)
    run("silence", "rule=x", "--for", "1d", "--reason", "later", "--since", str(time.time() + 3600), "--author", "bob")
    out = run("silences").stdout
    first, second = [line for line in out.splitlines() if "rule=" in line]
    for said in ("1", "active", "rule=~[ab].*", "ann", "moving"):
        assert said in first
    assert "from 20" in second
    assert "bob" in second
    run("unsilence", "1")
    assert [one["id"] for one in json.loads(run("silences", "--json").stdout)] == [2]
    states = [one["state"] for one in json.loads(run("silences", "--expired", "--json").stdout)]
    assert states == ["expired", "pending"]


def test_who_acknowledges_an_alert_is_shown_with_it(store):
    (row,) = json.loads(run("list", "--json").stdout)
    out = run("ack", row["fingerprint"][:6], "--note", "looking").stdout
    assert out == f"{row['fingerprint']} is acknowledged by ann\n"
    assert "acknowledged by ann" in run("list").stdout
    assert ": looking\n" in run("show", row["fingerprint"]).stdout
    (row,) = json.loads(run("list", "--json").stdout)
    assert (row["acknowledged"]["author"], row["acknowledged"]["note"]) == ("ann", "looking")
    assert json.loads(run("ack", row["fingerprint"], "--author", "bob", "--json").stdout)["author"] == "bob"


def test_show_says_how_far_it_moved_since_when_what_it_cost_and_what_to_do(store):
    (row,) = json.loads(run("list", "--json").stdout)
    out = run("show", row["fingerprint"]).stdout
    assert "  share 0.54 since 2013-05-13 22:00, 0.31 beyond the 0.23 that is in order\n" in out
    assert "  cost of this look: 0.00023 false pages to be expected at the most\n" in out
    assert "  runbook: Roll the version back.\n" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model=a"], "say how long: give --for 2h, or --until"),
        (["model=a", "--for", "2h", "--until", "2100-01-01"], "say how long: give --for 2h, or --until"),
        (["model=a", "--for", "soon"], "--for: 'soon' is no duration"),
        (["model=a", "--until", "soon"], "--until: 'soon' is no time"),
        (["model=a", "--until", "2013-05-14"], "is over before it begins"),
        (["modle=a", "--for", "2h"], "did you mean 'model'"),
        (["model=~.*", "--for", "2h"], "would hold back everything"),
    ],
)
def test_a_silence_that_cannot_be_understood_says_why(store, arguments, said):
    with pytest.raises(SettingsError, match=said):
        run("silence", *arguments, "--reason", "x")


def test_without_a_store_none_is_made(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        run("silence", "model=a", "--for", "2h", "--reason", "x", "--store", "nowhere.db")
    with pytest.raises(StoreError, match="there is no store"):
        run("ack", "ab", "--store", "nowhere.db")
    assert not (tmp_path / "nowhere.db").exists()


def test_what_is_not_there_is_named(store):
    with pytest.raises(BirdwatchError, match="there is no silence 7"):
        run("unsilence", "7")
    with pytest.raises(BirdwatchError, match="no alert's fingerprint starts with 'zz'"):
        run("ack", "zz")
