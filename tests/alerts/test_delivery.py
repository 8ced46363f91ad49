"""What is in the outbox reaches every sink at least once, each by itself."""

import pytest

from birdwatch.alerts.delivery import Attempts, deliver_due
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.outbox import BACKOFF_SECONDS, due, put, subscribe, waiting
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.errors import StoreBusyError
from birdwatch.windows.store import Store


class Receiver:
    """Takes alerts, unless it is told to fail."""

    def __init__(self):
        self.down = False
        self.got = []

    def send(self, alert, message_id):
        if self.down:
            raise OSError("the receiver is down")
        self.got.append((alert.state, message_id))

    def close(self):
        pass


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    yield store
    store.close()


@pytest.fixture
def clock():
    return Clock()


def tell(store, ts, *, active=True, model="m", over=False, sinks=()):
    found = Finding(
        rule="shift", subject=Subject(model, "1"), ts=ts, severity="page", active=active, over=over, reason="moved"
    )
    return advance(store, [found], sinks=sinks)


def test_every_subscribed_sink_is_told_once(store, clock):
    sinks = {"one": Receiver(), "two": Receiver()}
    (alert,) = tell(store, 60, sinks=sinks)
    assert deliver_due(store, sinks, clock) == {"one": Attempts(1, 0), "two": Attempts(1, 0)}
    assert deliver_due(store, sinks, clock) == {"one": Attempts(), "two": Attempts()}
    assert sinks["one"].got == sinks["two"].got == [("firing", f"{alert.fingerprint}-60-firing")]
    assert waiting(store) == {}


def test_a_change_said_twice_is_told_once(store, clock):
    sink = Receiver()
    (alert,) = tell(store, 60, sinks=["sink"])
    put(store, alert)
    for _ in range(2):
        deliver_due(store, {"sink": sink}, clock)
    assert len(sink.got) == 1


def test_a_sink_that_fails_is_tried_again_later_and_later(store, clock):
    sink = Receiver()
    sink.down = True
    tell(store, 60, sinks=["sink"])
    tried = []
    while clock.now < 20_000:
        if deliver_due(store, {"sink": sink}, clock)["sink"].failed:
            tried.append(clock.now - 1000)
        clock.now += 1
    assert tried == [0, 5, 35, 335, 2135, 9335, 16535]
    assert BACKOFF_SECONDS[0] == 5


def test_the_same_message_id_is_sent_until_it_is_taken(store, clock):
    sink = Receiver()
    sink.down = True
    tell(store, 60, sinks=["sink"])
    deliver_due(store, {"sink": sink}, clock)
    (before,) = due(store, "sink", clock.now + 5)
    sink.down = False
    clock.now += 5
    deliver_due(store, {"sink": sink}, clock)
    assert sink.got == [("firing", before.message_id)]
    assert waiting(store) == {}


def test_a_sink_that_fails_holds_up_no_other(store, clock):
    sinks = {"down": Receiver(), "up": Receiver()}
    sinks["down"].down = True
    tell(store, 60, sinks=sinks)
    assert deliver_due(store, sinks, clock) == {"down": Attempts(0, 1), "up": Attempts(1, 0)}
    assert waiting(store) == {"down": 1}


def test_nobody_hears_resolved_before_firing(store, clock):
    sink = Receiver()
    sink.down = True
    tell(store, 60, sinks=["sink"])
    deliver_due(store, {"sink": sink}, clock)
    tell(store, 120, active=False, over=True)
    tell(store, 120, model="other")
    sink.down = False
    assert deliver_due(store, {"sink": sink}, clock)["sink"] == Attempts(1, 0)
    clock.now += 5
    for _ in range(2):
        deliver_due(store, {"sink": sink}, clock)
    other, firing, resolved = sink.got
    assert other[0] == "firing"
    assert (firing[0], resolved[0]) == ("firing", "resolved")


def test_one_that_was_sent_but_not_marked_is_sent_again(store, clock):
    class Dies(Receiver):
        def send(self, alert, message_id):
            super().send(alert, message_id)
            raise KeyboardInterrupt  # the process is killed between the answer and the mark

    dying, sink = Dies(), Receiver()
    tell(store, 60, sinks=["sink"])
    with pytest.raises(KeyboardInterrupt):
        deliver_due(store, {"sink": dying}, clock)
    deliver_due(store, {"sink": sink}, clock)
    assert sink.got == dying.got


def test_a_sink_new_to_the_store_is_told_what_fires_now_and_no_history(store, clock):
    tell(store, 60, model="gone")
    tell(store, 120, model="gone", active=False, over=True)
    tell(store, 180, model="fires", sinks=["old"])
    tell(store, 240, model="gone")
    tell(store, 240, model="gone for good")
    tell(store, 300, model="gone for good", active=False, over=True)
    sink = Receiver()
    subscribe(store, "new")
    subscribe(store, "new")
    deliver_due(store, {"new": sink}, clock)
    assert [message.split("-")[1:] for _, message in sink.got] == [["180", "firing"], ["240", "firing"]]


def test_what_a_sink_raised_is_kept_for_people(store, clock):
    sink = Receiver()
    sink.down = True
    tell(store, 60, sinks=["sink"])
    deliver_due(store, {"sink": sink}, clock)
    assert store.connection.execute("SELECT attempts, error FROM outbox").fetchone() == (1, "the receiver is down")


def test_a_backlog_does_not_keep_news_waiting(store, clock):
    sink = Receiver()
    sink.down = True
    for number in range(10):
        tell(store, 60, model=f"old{number}", sinks=["sink"])
    deliver_due(store, {"sink": sink}, clock)
    clock.now += 6
    tell(store, 60, model="new")
    sink.down = False
    deliver_due(store, {"sink": sink}, clock, most=1)
    (new,) = store.connection.execute("SELECT alert FROM outbox WHERE delivered IS NOT NULL").fetchone()
    assert new == 11


def test_a_transaction_that_only_reads_at_first_keeps_other_writers_waiting(store):
    # Otherwise a delivery marked between its first read and its first write would make the tail's transaction fail.
    deliverer = Store(store.path)
    deliverer.connection.set_busy_timeout(0)
    with store.transaction():
        waiting(store)
        with pytest.raises(StoreBusyError):
            subscribe(deliverer, "sink")
    subscribe(deliverer, "sink")
    deliverer.close()


def test_the_outbox_of_a_store_without_alerts_is_empty(store):
    assert waiting(store) == {}
