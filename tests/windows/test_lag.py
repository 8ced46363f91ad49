"""Lag: what is not yet read is noted with what was counted, seldom, and found again by pane and by partition."""

import pytest

from birdwatch.config import Settings
from birdwatch.streams import Partition, open_streams
from birdwatch.testing import FakeClock
from birdwatch.windows.accounts import lag_table
from birdwatch.windows.lag import EVERY_SECONDS, Lag, forget_lag, put_lag, read_lag
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span
from birdwatch.windows.tail import Tail

from .traffic import START, traffic, write

HOUR = 3_600
SCORES = [Partition("scores", number) for number in range(2)]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.db", pane_seconds=HOUR)
    yield store
    store.close()


def test_streams_are_asked_once_in_a_while_however_often_one_reads():
    asked = []
    lag = Lag(lambda: asked.append(1) or {SCORES[0]: 7})
    found = [lag.step(now) for now in (0.0, 1.0, EVERY_SECONDS - 0.1, EVERY_SECONDS, EVERY_SECONDS + 1)]
    assert [bool(each) for each in found] == [True, False, False, True, False]
    assert len(asked) == 2
    assert lag.step(-100.0)  # the clock was set back: who waited for it to come round again would be silent for as long


def test_the_most_there_was_stands_by_stream_and_pane_and_how_it_is_now_by_partition(store):
    for start, first, second in ((0, 5, 10), (0, 400, 20), (0, 0, 3), (HOUR, 1, 0)):
        store.put(start, {})
        put_lag(store, start, {SCORES[0]: first, SCORES[1]: second}, of_all=True)
    assert read_lag(store) == {SCORES[0]: 1, SCORES[1]: 0}
    table = lag_table(store, Span(0, 3 * HOUR, HOUR))
    assert table["stream"].tolist() == ["scores"] * 3
    assert table["behind"].tolist() == pytest.approx([420, 1, float("nan")], nan_ok=True)
    assert lag_table(store, Span(0, 4 * HOUR, 2 * HOUR))["behind"].tolist()[0] == 420


def test_a_lane_says_how_it_stands_of_its_own_partitions_alone(store):
    store.put(0, {})
    put_lag(store, 0, {SCORES[0]: 5})
    put_lag(store, 0, {SCORES[1]: 6})
    assert read_lag(store) == {SCORES[0]: 5, SCORES[1]: 6}
    assert lag_table(store, Span(0, HOUR, HOUR))["behind"].tolist() == [11]


def test_while_nobody_answers_what_was_known_stays(store):
    put_lag(store, 0, {SCORES[0]: 5})
    put_lag(store, 0, {}, of_all=True)
    assert read_lag(store) == {SCORES[0]: 5}


def test_partitions_that_nobody_reads_any_more_are_forgotten(store):
    put_lag(store, 0, dict.fromkeys(SCORES, 5), of_all=True)
    put_lag(store, 0, {SCORES[1]: 4}, of_all=True)
    assert read_lag(store) == {SCORES[1]: 4}
    forget_lag(store)
    assert read_lag(store) == {}


def test_a_store_at_rest_is_left_alone(store):
    put_lag(store, 0, {SCORES[0]: 0}, of_all=True)
    before = store.connection.total_changes()
    put_lag(store, 0, {SCORES[0]: 0}, of_all=True)
    assert store.connection.total_changes() == before


def test_a_store_of_before_has_none(store, tmp_path):
    store.put(0, {})
    old = Store(tmp_path / "store.db", readonly=True)
    assert read_lag(old) == {}
    assert lag_table(old, Span(0, HOUR, HOUR)).empty
    old.close()


def test_what_was_noted_before_any_pane_closed_stands_with_the_first(store):
    put_lag(store, -(2**62), {SCORES[0]: 9})
    store.put(5 * HOUR, {})
    assert lag_table(store, Span(5 * HOUR, 7 * HOUR, HOUR))["behind"].tolist()[0] == 9
    assert lag_table(store, Span(6 * HOUR, 7 * HOUR, HOUR)).empty


def test_a_tail_keeps_what_it_has_not_read_yet(tmp_path):
    place = open_streams(f"sqlite:{tmp_path}/streams")
    events = traffic()
    write(place, events)
    written = place.ends(["requests", "scores"])
    store, clock = Store(tmp_path / "birdwatch.db", pane_seconds=60), FakeClock(START + 10_000)
    tail = Tail(place, store, Settings(pane_seconds=60, champion="champion"), now=clock)
    read = tail.step(500, 0.0)
    behind = read_lag(store)
    assert sum(behind.values()) == len(events) - read
    assert all(0 <= behind[at] <= end for at, end in written.items())
    while tail.step(500, 0.0):
        clock.now += EVERY_SECONDS
    clock.now += EVERY_SECONDS
    tail.step(500, 0.0)
    assert set(read_lag(store).values()) == {0}
    closed = store.closed_range()
    assert lag_table(store, Span(*closed, 60))["behind"].max() > 0
    tail.close()
    store.close()
    place.close()
