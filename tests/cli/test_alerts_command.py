"""`birdwatch alerts` delivers, lists and shows."""

import json

import pytest
from typer.testing import CliRunner

from birdwatch.alerts.delivery import deliver_due
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.sinks import Log
from birdwatch.cli.alerts import app
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.errors import BirdwatchError, SettingsError, StoreError
from birdwatch.windows.store import Store

MAY_14 = 1_368_489_600


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def store():
    """A page that has resolved and is in the log, and a ticket that fires and has been sent nowhere."""
    store = Store("birdwatch.db", pane_seconds=3600)
    page = {
        "rule": "disagreement",
        "subject": Subject("challenger", "2", "champion"),
        "severity": "page",
        "attribution": "the model changed",
    }
    advance(store, [Finding(ts=MAY_14, active=True, reason="54 % disagree", **page)], sinks=["log", "webhook"])
    advance(store, [Finding(ts=MAY_14 + 86_400, active=False, over=True, reason="version 2 was retired", **page)])
    inputs = Finding(
        ts=MAY_14 + 172_800, active=True, rule="shift", subject=Subject(), severity="ticket", reason="snow"
    )
    advance(store, [inputs])
    log = Log(store.path.with_name("alerts.jsonl"))
    deliver_due(store, {"log": log}, lambda: MAY_14 + 60.0, most=1)
    yield store
    store.close()


def test_list_shows_what_fires_and_what_has_resolved(store):
    out = run("list").stdout
    page, ticket = [line for line in out.splitlines() if "page" in line or "ticket" in line]
    assert "2013-05-14 00:00" in page
    assert "2013-05-15 00:00" in page
    assert "challenger 2 against champion" in page
    assert "webhook waits" in page
    assert "the fleet" in ticket


def test_an_input_is_named_and_is_no_model(store):
    finding = Finding(
        ts=MAY_14,
        active=True,
        rule="inputs",
        subject=Subject(feature="visib"),
        severity="info",
        attribution="an input moved",
        reason="visib lie 0.9 (KS) from the trailing 28d",
    )
    advance(store, [finding])
    (line,) = [line for line in run("list").stdout.splitlines() if "info" in line]
    assert "the input visib: an input moved" in line
    number = next(row["fingerprint"] for row in json.loads(run("list", "--json").stdout) if row["feature"] == "visib")
    assert run("show", number).stdout.splitlines()[1] == "the input visib"


def test_list_gives_machines_the_same(store):
    first, second = json.loads(run("list", "--json").stdout)
    assert (first["state"], first["fired"], first["resolved"]) == ("resolved", MAY_14, MAY_14 + 86_400)
    assert first["delivered"] == {"log": MAY_14 + 60.0, "webhook": None}
    assert second["state"] == "firing"


@pytest.mark.parametrize("since", ["2013-05-16", "2013-05-15T20:00-04:00", str(MAY_14 + 172_800)])
def test_list_since_leaves_out_what_had_resolved(store, since):
    assert [row["severity"] for row in json.loads(run("list", "--since", since, "--json").stdout)] == ["ticket"]


def test_list_says_when_there_is_nothing():
    Store("birdwatch.db", pane_seconds=60).close()
    assert run("list").stdout == "no alerts\n"
    assert json.loads(run("list", "--json").stdout) == []


def test_list_refuses_a_time_that_is_none(store):
    with pytest.raises(SettingsError, match="'last tuesday' is no time: write 2013-05-14"):
        run("list", "--since", "last tuesday")


def test_list_without_a_store_says_what_makes_one():
    with pytest.raises(StoreError, match="start `birdwatch tail"):
        run("list", "--store", "nowhere.db")


def test_show_tells_an_alert_from_beginning_to_end(store):
    fingerprint = json.loads(run("list", "--json").stdout)[0]["fingerprint"]
    out = run("show", fingerprint[:6]).stdout
    assert out.startswith(f"{fingerprint}  page  disagreement  the model changed\nchallenger 2 against champion\n")
    assert "2013-05-14 00:00  firing: 54 % disagree\n  log: delivered 2013-05-14 00:01\n  webhook: waits\n" in out
    assert "2013-05-15 00:00  resolved: version 2 was retired\n" in out
    changes = json.loads(run("show", fingerprint, "--json").stdout)
    assert [change["alert"]["state"] for change in changes] == ["firing", "resolved"]


def test_show_wants_a_fingerprint_that_is_there_and_clear(store):
    with pytest.raises(BirdwatchError, match="no alert's fingerprint starts with 'zz'"):
        run("show", "zz")
    with pytest.raises(BirdwatchError, match="give more digits"):
        run("show", "")


def test_deliver_once_takes_its_receivers_from_the_settings(store, tmp_path):
    (tmp_path / "birdwatch.yaml").write_text("alert_log: kept.jsonl\nstreams: sqlite:streams\n")
    assert run("deliver", "--once").exit_code == 0
    kept = [json.loads(line)["state"] for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert kept == ["resolved", "firing"]


def test_deliver_without_a_receiver_says_how_to_name_one(store):
    with pytest.raises(SettingsError, match="give --webhook, --log or --streams"):
        run("deliver", "--streams", "files:recorded", "--once")


def test_deliver_once_makes_no_store(tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        run("deliver", "--store", "nowhere.db", "--once", "--log", "log")
    assert not (tmp_path / "nowhere.db").exists()
