"""Rows at times at which nothing can have happened are dead letters: they close no pane, and hold none up."""

import json

import pytest
from msgspec import structs

from birdwatch.config import Settings
from birdwatch.streams import Partition
from birdwatch.testing import FakeClock, MemoryStreams
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

from .traffic import START, traffic, write

LENGTH, LATENESS, SECONDS, HOUR = 60, 30.0, 300, 3600
WRONG = {
    "an hour ahead": lambda ts: ts + HOUR,
    "from 1970": lambda ts: ts - START,
    "from 9999": lambda ts: ts + 253_402_300_799 - START,
    "in milliseconds": lambda ts: ts * 1000,
}


@pytest.fixture
def clock():
    return FakeClock(START + SECONDS + 60)


def place_of(clock, events):
    streams = MemoryStreams(clock=clock, sleep=clock.sleep)
    write(streams, events)
    return streams


def with_their_clock(event, wrong):
    """Give an event as its writer would have, had its clock been wrong."""
    ts, stream, record = event
    changed = {name: wrong(getattr(record, name)) for name in ("ts", "request_ts") if hasattr(record, name)}
    return ts, stream, structs.replace(record, **changed)


def read(streams, store, clock, **changes):
    """Count all that is there, without closing what is open; give the tail."""
    settings = Settings(pane_seconds=LENGTH, champion="champion", lateness_seconds=LATENESS, **changes)
    tail = Tail(streams, store, settings, now=clock)
    while tail.step(97, 0.0):
        pass
    tail.close()
    return tail


def counted(streams, path, clock, **changes):
    store = Store(path, pane_seconds=LENGTH)
    read(streams, store, clock, **changes)
    return store


def letters(streams):
    return [json.loads(m.value) for m in streams.reader(["deadletters"]).poll(100_000, 0.0)]


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_panes_and_watermark_are_those_without_the_rows_that_are_out_of_range(tmp_path, clock, wrong):
    events = traffic(seconds=SECONDS)
    clean = counted(place_of(clock, events), tmp_path / "clean.db", clock)
    mixed = [(e, with_their_clock(e, wrong)) if n % 4 == 0 else (e,) for n, e in enumerate(events)]
    streams = place_of(clock, [e for both in mixed for e in both])
    found = counted(streams, tmp_path / "found.db", clock)
    assert found.digest() == clean.digest()
    assert found.closed_range() == clean.closed_range()
    assert found.closed_range()[1] < START + SECONDS  # what is open is open still
    assert len(letters(streams)) == sum(len(both) == 2 for both in mixed)
    assert all("is out of range" in letter["reason"] for letter in letters(streams))


def test_what_is_an_hour_behind_is_late_and_no_dead_letter(tmp_path, clock):
    clock.now += HOUR
    events = [with_their_clock(e, lambda ts: ts + HOUR) for e in traffic(seconds=SECONDS)]
    behind = [
        (ts, stream, structs.replace(with_their_clock((ts, stream, record), lambda ts: ts - HOUR)[2], request_id="old"))
        for ts, stream, record in events
        if stream == "scores"
    ][:20]
    streams = place_of(clock, events)
    store = counted(streams, tmp_path / "a.db", clock)
    closed = store.closed_range()
    write(streams, behind)
    read(streams, store, clock)
    assert letters(streams) == []
    assert store.arrivals(0, 2**40)["scores"].late == len(behind)
    assert store.closed_range()[1] == closed[1]


def test_what_is_out_of_range_is_counted_apart_from_what_is_unreadable(tmp_path, clock):
    events = traffic(seconds=SECONDS)
    streams = place_of(clock, events)
    write(streams, [with_their_clock(e, WRONG["in milliseconds"]) for e in events[:7]])
    streams.append("scores", [(b"", b"{")] * 3)
    tail = read(streams, Store(tmp_path / "a.db", pane_seconds=LENGTH), clock)
    assert (tail.reading.dead_letters, tail.reading.out_of_range) == (10, 7)


def test_the_settings_say_what_is_in_range(tmp_path, clock):
    events = [with_their_clock(e, WRONG["from 1970"]) for e in traffic(seconds=SECONDS)]
    streams = place_of(clock, events)
    store = counted(streams, tmp_path / "a.db", clock, earliest=0.0)
    assert letters(streams) == []
    assert store.closed_range() is not None
    assert store.checkpoints()[Partition("requests")].position == sum(e[1] == "requests" for e in events)
