"""What is in the outbox reaches every sink at least once, each by itself."""

from functools import partial

import pytest

from birdwatch.alerts import delivery
from birdwatch.alerts.attempts import Attempts
from birdwatch.alerts.delivery import RESOLVED_FOR_SECONDS, deliver_once, repeat
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.outbox import JITTER, due, put, subscribe, waiting
from birdwatch.alerts.receivers import disabled, enable, enter
from birdwatch.alerts.sinks.sink import Sink
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.errors import DeliveryError, GoneError, StoreBusyError
from birdwatch.windows.store import Store

deliver_due = partial(delivery.deliver_due, jitter=lambda: 0.0)


class Receiver(Sink):
    """Takes alerts, unless it is told to fail."""

    def __init__(self):
        self.down = False
        self.error = OSError("the receiver is down")
        self.got = []
        self.heard_again = []

    def send(self, alert, message_id):
        if self.down:
            raise self.error
        self.got.append((alert.state, message_id))

    def repeat(self, alerts):
        if self.down:
            raise self.error
        self.heard_again.append([alert.state for alert in alerts])


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
    assert tried == [0, 5, 305, 2105, 9305, 16505]


def test_a_wait_is_longer_by_chance_so_that_not_all_ask_at_once(store, clock):
    sink = Receiver()
    sink.down = True
    tell(store, 60, sinks=["sink"])
    deliver_due(store, {"sink": sink}, clock, jitter=lambda: 0.5)
    assert due(store, "sink", clock.now + 5 * (1 + JITTER / 2) - 0.01) == []
    assert len(due(store, "sink", clock.now + 5 * (1 + JITTER / 2))) == 1


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


def test_a_receiver_that_is_down_for_an_hour_gets_everything_in_order(store, clock):
    sink = Receiver()
    sink.down = True
    for minute in range(60):
        tell(store, 60 * (minute + 1), active=minute % 20 == 0, over=minute % 20 == 10, sinks=["sink"])
        for _ in range(60):
            deliver_due(store, {"sink": sink}, clock)
            clock.now += 1
    assert sink.got == []
    kept = waiting(store)["sink"]
    sink.down = False
    for _ in range(7200):
        deliver_due(store, {"sink": sink}, clock)
        clock.now += 1
    assert [state for state, _ in sink.got] == ["firing", "resolved"] * 3
    assert (kept, waiting(store)) == (6, {})


def test_a_receiver_that_asks_for_time_is_given_it_for_all_that_is_due(store, clock):
    sinks = {"busy": Receiver(), "other": Receiver()}
    sinks["busy"].down, sinks["busy"].error = True, DeliveryError("answered 429", retry_after=120.0)
    for model in "abc":
        tell(store, 60, model=model, sinks=sinks)
    assert deliver_due(store, sinks, clock) == {"busy": Attempts(0, 1), "other": Attempts(3, 0)}
    sinks["busy"].down = False
    clock.now += 119
    tell(store, 120, model="d")
    assert deliver_due(store, {"busy": sinks["busy"]}, clock)["busy"] == Attempts()
    clock.now += 1
    assert deliver_due(store, {"busy": sinks["busy"]}, clock)["busy"] == Attempts(4, 0)


def gone(store, clock):
    sink = Receiver()
    sink.down, sink.error = True, GoneError("answered 410 Gone")
    for model in "ab":
        tell(store, 60, model=model, sinks=["sink"])
    enter(store, "sink", "here")
    assert deliver_due(store, {"sink": sink}, clock)["sink"] == Attempts(0, 1)
    sink.down = False
    clock.now += 1_000_000
    assert deliver_due(store, {"sink": sink}, clock)["sink"] == Attempts()
    return sink


def test_a_receiver_that_is_gone_is_disabled_loudly_and_nothing_is_thrown_away(store, clock, caplog):
    gone(store, clock)
    (found,) = disabled(store).values()
    assert (found.sink, found.since, found.why, found.waiting) == ("sink", 1000.0, "answered 410 Gone", 2)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "2 changes wait" in caplog.text
    assert "`birdwatch alerts enable sink`" in caplog.text
    assert waiting(store) == {"sink": 2}


def test_a_sink_that_is_enabled_again_gets_what_waited(store, clock):
    sink = gone(store, clock)
    enable(store, "sink")
    assert disabled(store) == {}
    assert deliver_due(store, {"sink": sink}, clock)["sink"] == Attempts(2, 0)


def test_a_sink_of_another_address_is_enabled_and_one_of_the_same_is_not(store, clock):
    sink = gone(store, clock)
    enter(store, "sink", "here")
    assert list(disabled(store)) == ["sink"]
    enter(store, "sink", "elsewhere")
    assert disabled(store) == {}
    assert deliver_due(store, {"sink": sink}, clock)["sink"] == Attempts(2, 0)


def test_what_waits_for_a_disabled_sink_is_not_passed_over_in_silence(store, clock):
    sink = gone(store, clock)
    sink.place = "here"
    assert deliver_once(store.path, {"sink": sink}) == 2


def test_what_stands_is_said_again_while_it_fires_and_for_five_minutes_more(store, clock):
    sink = Receiver()
    tell(store, 60, model="fires", sinks=["sink"])
    tell(store, 60, model="ends")
    deliver_due(store, {"sink": sink}, clock)
    tell(store, 120, model="ends", active=False, over=True)
    tell(store, 120, model="not taken yet")
    repeat(store, "sink", sink, clock.now)
    deliver_due(store, {"sink": sink}, clock)
    for seconds in (0, RESOLVED_FOR_SECONDS - 1, RESOLVED_FOR_SECONDS):
        repeat(store, "sink", sink, clock.now + seconds)
    both = ["firing", "resolved", "firing"]
    assert sink.heard_again == [["firing", "firing"], both, both, ["firing", "firing"]]


def test_what_cannot_be_said_again_now_is_said_the_next_time(store, clock, caplog):
    sink = Receiver()
    tell(store, 60, sinks=["sink"])
    deliver_due(store, {"sink": sink}, clock)
    sink.down = True
    repeat(store, "sink", sink, clock.now)
    assert "could not be said again: the receiver is down" in caplog.text
    sink.down = False
    repeat(store, "sink", sink, clock.now + 60)
    assert sink.heard_again == [["firing"]]


def test_a_store_from_before_receivers_were_known_is_taken_up(store, clock):
    sink = Receiver()
    tell(store, 60, sinks=["sink"])
    store.connection.execute("DROP TABLE receivers")
    assert disabled(store) == {}
    subscribe(store, "sink")
    assert deliver_due(store, {"sink": sink}, clock)["sink"] == Attempts(1, 0)


class Takes(Receiver):
    """Takes several at once, none where one of them is bad, and counts how often it was asked."""

    def __init__(self, batch, bad=None):
        super().__init__()
        self.batch, self.bad, self.asked = batch, bad, []

    def send_all(self, changes):
        self.asked.append(len(changes))
        if self.bad in {alert.model for alert, _ in changes}:
            raise DeliveryError("answered 400")
        super().send_all(changes)


def thousand(store, sinks):
    finding = {"rule": "shift", "ts": 60, "severity": "page", "active": True, "reason": "moved"}
    return advance(store, [Finding(subject=Subject(f"m{n}", "1"), **finding) for n in range(1000)], sinks=sinks)


def test_a_thousand_alerts_at_once_are_taken_in_batches_where_a_receiver_takes_batches(store, clock):
    sinks = {"many": Takes(100), "single": Takes(1)}
    ids = [("firing", f"{alert.fingerprint}-60-firing") for alert in thousand(store, sinks)]
    commits = []
    store.connection.set_commit_hook(lambda: bool(commits.append(1)))
    made = deliver_due(store, {"many": sinks["many"]}, clock, most=1000)
    assert (made["many"], sinks["many"].asked, len(commits)) == (Attempts(1000, 0), 10 * [100], 10)
    assert deliver_due(store, {"single": sinks["single"]}, clock, most=1000)["single"].delivered == 1000
    assert sinks["single"].asked == 1000 * [1]
    assert sinks["many"].got == sinks["single"].got == ids
    assert waiting(store) == {}


def test_one_that_a_receiver_never_takes_holds_up_only_itself(store, clock):
    sinks = {"many": Takes(100, bad="m7")}
    thousand(store, sinks)
    assert deliver_due(store, sinks, clock, most=1000)["many"] == Attempts(900, 100)
    clock.now += 5
    assert deliver_due(store, sinks, clock, most=1000)["many"] == Attempts(99, 1)
    assert waiting(store) == {"many": 1}
