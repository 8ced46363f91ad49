"""While a silence lasts, nobody is told; what was told before is told to its end, and what outlasts it is told then."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.alerts.acknowledgements import acknowledge
from birdwatch.alerts.delivery import deliver_due
from birdwatch.alerts.history import read_alerts, read_changes
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.matchers import parse_matcher
from birdwatch.alerts.outbox import subscribe
from birdwatch.alerts.silences import add_silence, expire_silence, read_silences, settle
from birdwatch.alerts.sinks.sink import Sink
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.errors import BirdwatchError, DeliveryError, SettingsError
from birdwatch.windows.store import Store


def finding(ts, model="a", *, active=True):
    return Finding(
        rule="pairs",
        subject=Subject(model, "1"),
        ts=ts,
        severity="page",
        active=active,
        over=not active,
        reason="moved",
    )


class Ear(Sink):
    """A receiver that may be ill."""

    def __init__(self):
        self.heard = []
        self.ill = False
        self.mute = False

    def send(self, alert, message_id):
        del message_id
        if self.ill:
            raise DeliveryError("down")
        self.heard.append((alert.model, alert.state))
        if self.mute:
            raise DeliveryError("no answer within 10 s", unsure=True)

    def close(self):
        pass


class World:
    """A store, a receiver, and a clock."""

    def __init__(self, path):
        self.store = Store(path, pane_seconds=60)
        subscribe(self.store, "log")
        self.ear = Ear()
        self.clock = 1000.0

    def raises(self, *findings):
        advance(self.store, findings, now=lambda: self.clock)

    def silence(self, *matchers, seconds=100.0, **more):
        return add_silence(
            self.store,
            [parse_matcher(text) for text in matchers],
            until=self.clock + seconds,
            author="ann",
            reason="maintenance",
            now=self.clock,
            **more,
        )

    def delivered(self, seconds=0.0):
        """Let time pass and give what the receiver has heard since it was asked last."""
        self.clock += seconds
        while deliver_due(self.store, {"log": self.ear}, lambda: self.clock)["log"].delivered:
            pass
        heard, self.ear.heard = self.ear.heard, []
        return heard


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "birdwatch.db")
    yield world
    world.store.close()


def test_what_is_silenced_is_in_the_history_marked_and_nobody_is_told(world):
    made = world.silence("model=a")
    world.raises(finding(60), finding(60, "b"))
    assert world.delivered() == [("b", "firing")]
    a, b = read_alerts(world.store, 0, 100)
    assert (a.silenced_by, a.silenced, b.silenced_by) == (str(made.id), True, "")
    (change,) = read_changes(world.store, a.fingerprint)
    assert (change.silenced_by, change.silenced) == (str(made.id), True)
    world.raises(finding(120, active=False))
    assert world.delivered(1000) == []


def test_what_outlasts_a_silence_is_told_when_it_ends(world):
    world.silence("model=a", seconds=100)
    world.raises(finding(60))
    assert world.delivered(99) == []
    assert world.delivered(1) == [("a", "firing")]
    (row,) = read_alerts(world.store, 0, 100)
    assert (row.silenced_by, row.silenced) == ("1", False)


def test_what_was_told_before_a_silence_is_told_to_its_end(world):
    world.raises(finding(60))
    assert world.delivered() == [("a", "firing")]
    world.silence("model=a")
    world.raises(finding(120, active=False))
    assert world.delivered() == [("a", "resolved")]


@pytest.mark.parametrize("outlasts", [False, True])
def test_whose_answer_was_lost_before_a_silence_hears_of_the_end_for_it_may_know_the_beginning(world, outlasts):
    world.ear.mute = True
    world.raises(finding(60))
    assert world.delivered() == [("a", "firing")]
    world.ear.mute = False
    made = world.silence("model=a", seconds=1000)
    assert world.delivered(100) == []
    if outlasts:
        expire_silence(world.store, made.id, now=world.clock)
        assert world.delivered() == [("a", "firing")]
    world.raises(finding(120, active=False))
    assert world.delivered() == [("a", "resolved")]
    assert world.delivered(5000) == []


def test_an_end_that_waits_when_a_silence_begins_is_told_to_whom_may_know_the_beginning(world):
    world.ear.mute = True
    world.raises(finding(60))
    world.delivered()
    world.raises(finding(120, active=False))
    world.ear.mute = False
    world.silence("model=a", seconds=1000)
    assert world.delivered(100) == [("a", "resolved")]


def test_nothing_is_told_twice_when_a_silence_ends(world):
    world.raises(finding(60))
    world.delivered()
    world.silence("model=a", seconds=10)
    assert world.delivered(20) == []


def test_what_waits_for_a_receiver_that_is_down_is_silenced_too(world):
    world.ear.ill = True
    world.raises(finding(60))
    world.delivered()
    world.silence("rule=pairs", seconds=100)
    world.ear.ill = False
    assert world.delivered(50) == []
    assert world.delivered(50) == [("a", "firing")]


def test_what_fires_and_is_over_at_once_is_silenced_whole(world):
    world.silence("model=a")
    world.raises(finding(60), finding(60, active=False))
    assert [row.state for row in read_alerts(world.store, 0, 100)] == ["resolved"]
    assert world.delivered(1000) == []


def test_a_silence_may_begin_later_and_be_ended_early(world):
    made = world.silence("model=a", seconds=100, since=world.clock + 50)
    world.raises(finding(60))
    assert world.delivered() == [("a", "firing")]
    world.raises(finding(120, active=False))
    world.clock += 60
    world.raises(finding(180))
    assert world.delivered() == [("a", "resolved")]
    assert expire_silence(world.store, made.id, now=world.clock).ends == world.clock
    assert world.delivered() == [("a", "firing")]


def test_silences_are_listed_until_they_end(world):
    first, second = world.silence("model=a", seconds=10), world.silence("model=b", "severity=page", seconds=100)
    assert read_silences(world.store, world.clock) == [first, second]
    assert [str(matcher) for matcher in second.matchers] == ["model=b", "severity=page"]
    assert read_silences(world.store, world.clock + 10) == [second]
    assert read_silences(world.store, world.clock + 10, expired=True) == [first, second]
    assert [first.state(t) for t in (0.0, world.clock, world.clock + 10)] == ["pending", "active", "expired"]


def test_all_matchers_must_be_met(world):
    world.silence("model=a", "severity=ticket")
    world.raises(finding(60))
    assert world.delivered() == [("a", "firing")]


@pytest.mark.parametrize(
    ("matchers", "seconds", "said"),
    [
        ([], 10, "would hold back everything"),
        (["model=~.*"], 10, "would hold back everything"),
        (["model=a"], 0, "is over before"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(world, matchers, seconds, said):
    with pytest.raises(SettingsError, match=said):
        world.silence(*matchers, seconds=seconds)


def test_a_silence_needs_an_author_and_a_reason(world):
    with pytest.raises(SettingsError, match="an author and a reason"):
        add_silence(world.store, [parse_matcher("model=a")], until=2e9, author="ann", reason=" ", now=0.0)


def test_what_is_no_silence_cannot_be_ended(world):
    with pytest.raises(BirdwatchError, match="there is no silence 7"):
        expire_silence(world.store, 7, now=0.0)
    made = world.silence("model=a", seconds=10)
    with pytest.raises(BirdwatchError, match="silence 1 ended at 1970-01-01 00:16"):
        expire_silence(world.store, made.id, now=world.clock + 11)


def test_where_nothing_changes_nothing_is_written(world):
    world.silence("model=a")
    world.raises(finding(60), finding(60, "b"))
    before = world.store.connection.total_changes()
    settle(world.store, world.clock)
    assert world.store.connection.total_changes() == before


def test_a_store_that_another_process_counts_into_can_be_silenced(world, tmp_path):
    world.store.claim()
    beside = Store(world.store.path)
    add_silence(beside, [parse_matcher("model=a")], until=2000.0, author="ann", reason="maintenance", now=1000.0)
    beside.close()
    world.raises(finding(60))
    assert world.delivered() == []


def test_who_looks_after_an_alert_does_so_until_it_resolves(world):
    world.raises(finding(60))
    (row,) = read_alerts(world.store, 0, 100)
    assert acknowledge(world.store, row.fingerprint[:6], author="ann", note="on it", now=5.0) == row.fingerprint
    (row,) = read_alerts(world.store, 0, 100)
    assert (row.acknowledged.author, row.acknowledged.at, row.acknowledged.note) == ("ann", 5.0, "on it")
    (change,) = read_changes(world.store, "")
    assert change.acknowledged == row.acknowledged
    world.raises(finding(120, active=False), finding(180))
    again = read_alerts(world.store, 0, 1000)[-1]
    assert again.acknowledged is None


def test_what_does_not_fire_cannot_be_acknowledged(world):
    with pytest.raises(BirdwatchError, match="no alert's fingerprint starts with 'ab'"):
        acknowledge(world.store, "ab", author="ann", now=0.0)
    world.raises(finding(60), finding(60, "b"))
    with pytest.raises(BirdwatchError, match="give more digits"):
        acknowledge(world.store, "", author="ann", now=0.0)
    (row, _) = read_alerts(world.store, 0, 100)
    world.raises(finding(120, active=False))
    with pytest.raises(BirdwatchError, match="does not fire"):
        acknowledge(world.store, row.fingerprint, author="ann", now=0.0)
    with pytest.raises(SettingsError, match="needs an author"):
        acknowledge(world.store, row.fingerprint, author="", now=0.0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("raise"), st.sampled_from("ab"), st.booleans()),
        st.tuples(st.just("silence"), st.sampled_from(["model=a", "model=b", "rule=pairs"]), st.integers(1, 60)),
        st.tuples(st.just("end"), st.integers(1, 4), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 40), st.booleans()),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_is_silenced_when_a_receiver_hears_of_beginnings_and_ends_in_turn_and_knows_in_the_end(
    tmp_path_factory, steps
):
    world = World(tmp_path_factory.mktemp("silences") / "birdwatch.db")
    heard, fires = [], {"a": False, "b": False}
    try:
        for ts, (step, what, how) in enumerate(steps, start=1):
            if step == "raise":
                world.raises(finding(60 * ts, what, active=how))
                fires[what] = how
            elif step == "silence":
                world.silence(what, seconds=float(how))
            elif step == "end" and any(s.id == what for s in read_silences(world.store, world.clock)):
                expire_silence(world.store, what, now=world.clock)
            elif step == "wait":
                world.ear.ill = how
                heard += world.delivered(what)
        world.ear.ill = False
        heard += world.delivered(1e6)
    finally:
        world.store.close()
    for model, firing in fires.items():
        states = [state for whom, state in heard if whom == model]
        assert states == ["firing", "resolved"] * (len(states) // 2) + ["firing"] * (len(states) % 2)
        assert (states[-1:] == ["firing"]) is firing
