"""What a bandit believes of its arms is kept beside the panes, once, whoever reads the snapshots and however often."""

import pandas as pd
import pytest
from scipy.stats import beta

from birdwatch.records import Snapshot, decode, encode
from birdwatch.serving.bandit.learner import Learner
from birdwatch.streams import open_streams
from birdwatch.streams.deadletters import DEADLETTERS, DeadLetter
from birdwatch.testing import FakeClock, a_decision, an_outcome
from birdwatch.windows.accounts import posterior_table
from birdwatch.windows.merge import Merge
from birdwatch.windows.posteriors import read_posteriors
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span
from birdwatch.windows.tail import Tail

from .test_tail import Clock, follow, settings
from .traffic import START

HOUR = 3600
NOON = START // HOUR * HOUR


@pytest.fixture
def place(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}/streams")
    yield streams
    streams.close()


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store.db", pane_seconds=60)
    yield opened
    opened.close()


def say(place, latest, arms, component="bandit"):
    state = {"latest": latest, "arms": arms, "posterior": {}}
    place.append("snapshots", [(b"", encode(Snapshot(component=component, by="one", ts=latest or 0.0, state=state)))])


def tailed(place, store):
    tail = Tail(place, store, settings(), now=Clock())
    follow(tail)
    tail.close()
    return read_posteriors(store, 0, 2**40)


def merged(place, store):
    merge = Merge(place, store, settings(), group="g", now=Clock())
    while merge.step(500, 0.0):
        pass
    merge.close()
    return read_posteriors(store, 0, 2**40)


@pytest.mark.parametrize("read", [tailed, merged])
def test_of_each_hour_the_last_word_on_each_arm_is_kept(place, store, read):
    say(place, NOON + 10.0, {"a": [2.0, 3.0]})
    say(place, NOON + 50.0, {"a": [4.0, 3.0], "b": [1.0, 2.0]})
    say(place, NOON + HOUR + 1.0, {"a": [5.0, 3.0], "b": [1.0, 2.0]})
    hour, next_hour = NOON, NOON + HOUR
    assert read(place, store) == [
        (hour, "a", 4.0, 3.0),
        (hour, "b", 1.0, 2.0),
        (next_hour, "a", 5.0, 3.0),
        (next_hour, "b", 1.0, 2.0),
    ]


@pytest.mark.parametrize("read", [tailed, merged])
def test_who_starts_again_reads_on_and_keeps_what_was_kept(place, store, read):
    say(place, NOON + 10.0, {"a": [2.0, 3.0]})
    read(place, store)
    say(place, NOON + 20.0, {"a": [3.0, 3.0]})
    assert read(place, store) == [(NOON, "a", 3.0, 3.0)]


def test_a_learner_that_repeats_what_was_known_takes_nothing_back(place, store):
    say(place, NOON + 50.0, {"a": [9.0, 3.0]})
    say(place, NOON + 10.0, {"a": [2.0, 3.0]})
    assert tailed(place, store) == [(NOON, "a", 9.0, 3.0)]


def test_others_and_those_that_know_nothing_yet_are_passed_by(place, store):
    say(place, NOON, {"a": [9.0, 3.0]}, component="rendezvous")
    say(place, None, {})
    state = {"latest": NOON, "posterior": {}}  # as it was before learners said their arms
    place.append("snapshots", [(b"", encode(Snapshot(component="bandit", by="old", ts=NOON, state=state)))])
    assert tailed(place, store) == []


@pytest.mark.parametrize("arms", [{"a": [0.0, 1.0]}, {"a": [1.0]}, {"a": "x"}])
def test_what_cannot_be_read_is_a_dead_letter(place, store, arms):
    say(place, NOON, arms)
    say(place, NOON, {"b": [1.0, 1.0]})
    assert tailed(place, store) == [(NOON, "b", 1.0, 1.0)]
    (letter,) = [decode(m.value, DeadLetter) for m in place.reader([DEADLETTERS]).poll(timeout=0.0)]
    assert "not the snapshot of a bandit" in letter.reason


def test_it_is_what_the_learner_believes(place, store):
    clock = FakeClock(NOON + 5 * HOUR)
    learner = Learner(place, clock=clock)
    learner.start()
    for number in range(30):
        arm, won = ("a", "b")[number % 2], float(number % 3 == 0)
        decision = a_decision(request_id=f"r{number}", request_ts=NOON + number, model=arm, ts=NOON + number)
        outcome = an_outcome(request_id=f"r{number}", request_ts=NOON + number, ts=NOON + number + 60, reward=won)
        place.append("metrics", [(decision.request_id.encode(), encode(decision))])
        place.append("outcomes", [(outcome.request_id.encode(), encode(outcome))])
    assert learner.step() == 60
    learner.save()
    learner.close()
    found = {arm: (alpha, other) for _, arm, alpha, other in tailed(place, store)}
    # A uniform prior, and a success or a failure for each: fifteen tries of each arm, of which five succeed.
    assert found == {"a": (6.0, 11.0), "b": (6.0, 11.0)}


def test_the_table_has_the_range_and_what_was_believed_before(store, place):
    say(place, NOON - 7 * HOUR, {"a": [3.0, 7.0], "gone": [1.0, 1.0]})
    say(place, NOON + 10.0, {"a": [30.0, 70.0]})
    say(place, NOON + 5 * HOUR, {"a": [1.0, 99.0]})
    tailed(place, store)
    table = posterior_table(store, Span(NOON, NOON + 2 * HOUR, HOUR))
    assert table["arm"].tolist() == ["a", "gone", "a"]
    assert table["time"].tolist() == [pd.Timestamp(t, unit="s", tz="UTC") for t in (NOON, NOON, NOON + HOUR)]
    told = table.iloc[-1]
    assert [told["low"], told["mean"], told["high"]] == pytest.approx(
        [*beta.ppf([0.05], 30, 70), 0.3, *beta.ppf([0.95], 30, 70)]
    )
