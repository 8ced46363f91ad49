"""As long as the judge works it says so, and otherwise it is no trouble to anybody."""

import pytest

from birdwatch.alerts.delivery import deliver_due
from birdwatch.alerts.history import read_alerts, read_changes
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.matchers import parse_matcher
from birdwatch.alerts.outbox import due, subscribe, waiting
from birdwatch.alerts.silences import add_silence
from birdwatch.alerts.sinks.sink import Sink
from birdwatch.alerts.standing import fired_by_rule
from birdwatch.alerts.tables import alert_table
from birdwatch.alerts.watchdog import WATCHDOG_FINGERPRINT, Watchdog
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.errors import StoreError
from birdwatch.testing import FakeClock
from birdwatch.windows.store import Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    yield store
    store.close()


@pytest.fixture
def clock():
    return FakeClock(1000.0)


class Ear(Sink):
    def __init__(self):
        self.heard = []

    def send(self, alert, message_id):
        self.heard.append((alert.rule, alert.severity, alert.state, alert.ts, message_id))

    def close(self):
        pass


def hear(store, clock):
    ear = Ear()
    deliver_due(store, {"log": ear}, clock)
    return ear.heard


def test_it_is_said_at_once_and_then_on_its_schedule(store, clock):
    dog = Watchdog(store, 60, sinks=["log"], now=clock)
    said = []
    for _ in range(7):
        dog.beat()
        said += [moment for _, _, _, moment, _ in hear(store, clock)]
        clock.sleep(20)
    assert said == [1000, 1060, 1120]


def test_each_time_it_is_a_message_of_its_own_that_fires(store, clock):
    dog = Watchdog(store, 60, sinks=["log"], now=clock)
    heard = []
    for _ in range(2):
        dog.beat()
        heard += hear(store, clock)
        clock.sleep(60)
    assert [one[:3] for one in heard] == [("watchdog", "info", "firing")] * 2
    assert len({message_id for *_, message_id in heard}) == 2


def test_a_receiver_that_was_away_hears_the_newest_alone(store, clock):
    dog = Watchdog(store, 60, sinks=["log"], now=clock)
    for _ in range(5):
        dog.beat()
        clock.sleep(60)
    (item,) = due(store, "log", clock())
    assert (item.alert.ts, item.alert.started) == (1240, 1000)
    subscribe(store, "late")
    assert waiting(store) == {"late": 1, "log": 1}


def test_a_clock_that_is_put_back_does_not_keep_it_from_being_said(store, clock):
    dog = Watchdog(store, 60, now=clock)
    assert dog.beat()
    clock.now = 500.0
    assert dog.beat()
    assert not dog.beat()


def test_it_is_no_trouble_and_no_silence_holds_it_back(store, clock):
    add_silence(store, [parse_matcher("rule=~.+")], until=2e9, author="ann", reason="holiday", now=0.0)
    Watchdog(store, 60, sinks=["log"], now=clock).beat()
    advance(store, [], now=clock)
    assert read_alerts(store, 0, 2e9) == []
    assert alert_table(store, 0, 2e9).empty
    assert fired_by_rule(store, "info", 0, 2e9) == {}
    assert [rule for rule, *_ in hear(store, clock)] == ["watchdog"]
    (change,) = read_changes(store, WATCHDOG_FINGERPRINT)
    assert "if it stays away, nobody watches" in change.alert.reason


def test_it_leaves_other_alerts_alone(store, clock):
    dog = Watchdog(store, 60, sinks=["log"], now=clock)
    dog.beat()
    advance(store, [Finding(rule="r", subject=Subject("m"), ts=60, severity="page", active=True, reason="moved")])
    clock.sleep(60)
    dog.beat()
    assert [row.rule for row in read_alerts(store, 0, 100)] == ["r"]
    assert sorted(rule for rule, *_ in hear(store, clock)) == ["r", "watchdog"]


def test_a_judge_whose_store_was_taken_over_falls_silent(store, clock):
    store.claim()
    other = Store(store.path)
    other.claim()
    with pytest.raises(StoreError, match="has taken over"):
        Watchdog(store, 60, now=clock).beat()
    assert read_changes(store, "") == []
    other.close()
