"""What was raised can be read while the tail writes."""

import pytest

from birdwatch.alerts.delivery import deliver_due
from birdwatch.alerts.history import read_alerts, read_changes
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.sinks import Log
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.windows.store import Store


def tell(store, ts, *, active, model="m", sinks=()):
    found = Finding(
        rule="shift",
        subject=Subject(model, "1"),
        ts=ts,
        severity="ticket",
        active=active,
        over=not active,
        reason="moved" if active else "retired",
    )
    advance(store, [found], sinks=sinks)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    yield store
    store.close()


def test_nothing_was_raised_where_nothing_was_judged(store):
    assert read_alerts(store, 0, 1000) == []
    assert read_changes(store, "") == []


def test_a_row_is_an_episode(store):
    for ts, active in [(60, True), (120, False), (130, True), (140, False), (180, True)]:
        tell(store, ts, active=active)
    first, _, second = read_alerts(store, 0, 1000)
    assert (first.state, first.started, first.fired, first.resolved, first.reason) == ("resolved", 60, 60, 120, "moved")
    assert (second.state, second.fired, second.resolved) == ("firing", 180, None)
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("since", "until", "seen"),
    [(0, 60, []), (0, 61, ["a"]), (120, 180, ["a"]), (121, 180, []), (150, 181, ["b"]), (9000, 9001, ["b"])],
)
def test_a_range_has_what_fired_during_it(store, since, until, seen):
    tell(store, 60, active=True, model="a")
    tell(store, 120, active=False, model="a")
    tell(store, 180, active=True, model="b")
    assert [row.model for row in read_alerts(store, since, until)] == seen


def test_a_row_says_who_has_been_told_and_when(store, tmp_path):
    tell(store, 60, active=True, sinks=["log", "webhook"])
    deliver_due(store, {"log": Log(tmp_path / "log")}, lambda: 1234.5)
    beside = Store(store.path, readonly=True)
    (row,) = read_alerts(beside, 0, 100)
    beside.close()
    assert row.delivered == {"log": 1234.5, "webhook": None}


def test_the_changes_of_an_alert_are_found_by_its_first_digits(store):
    tell(store, 60, active=True)
    tell(store, 120, active=False)
    tell(store, 60, active=True, model="another")
    (row, _) = read_alerts(store, 0, 1000)
    changes = read_changes(store, row.fingerprint[:8])
    assert [(change.alert.state, change.alert.reason) for change in changes] == [
        ("firing", "moved"),
        ("resolved", "retired"),
    ]
    assert len(read_changes(store, "")) == 3
