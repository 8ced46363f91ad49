"""Dead letters are counted in the store, each once, with the reason and the place of the first."""

import numpy as np
import pytest

from birdwatch import records
from birdwatch.config import Settings
from birdwatch.deltas import LaneLetters
from birdwatch.streams import Message, open_streams
from birdwatch.testing import FakeClock
from birdwatch.windows.accounts import unreadable_table
from birdwatch.windows.decode import Fault
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, timestamp
from birdwatch.windows.tail import Tail
from birdwatch.windows.unreadable import letters_of, put_unreadable

from .traffic import START, traffic, write

HOUR = 3_600


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.db", pane_seconds=HOUR)
    yield store
    store.close()


def read_all(tail):
    while tail.step(500, 0.0):
        pass


def letter(n, reason="it is no JSON", *, stream="scores", kind="unreadable", first="scores/0@3"):
    return LaneLetters(stream=stream, kind=kind, n=n, reason=reason, first=first)


def test_faults_are_counted_by_stream_and_kind_with_the_first_of_each():
    def fault(stream, offset, reason, *kind):
        return Fault(Message(stream, 2, offset, b"", b""), reason, *kind)

    found = letters_of(
        [
            fault("scores", 5, "no JSON"),
            fault("scores", 7, "no number"),
            fault("scores", 9, "of 1970", "out of range"),
            fault("requests", 1, "no id"),
        ]
    )
    assert found == [
        letter(1, "no id", stream="requests", first="requests/2@1"),
        letter(1, "of 1970", kind="out of range", first="scores/2@9"),
        letter(2, "no JSON", first="scores/2@5"),
    ]


def test_a_step_adds_up_its_panes_and_tells_of_the_first(store):
    for start, n, reason in ((0, 2, "first"), (HOUR, 3, "second"), (4 * HOUR, 5, "third")):
        store.put(start, {})
        put_unreadable(store, start, [letter(n, reason)])
    put_unreadable(store, HOUR, [letter(10, "later in the same pane")])
    table = unreadable_table(store, Span(0, 6 * HOUR, 2 * HOUR))
    assert table[["n", "reason"]].to_numpy().tolist() == [[15, "first"], [5, "third"]]
    assert table["to"].tolist() == [timestamp(2 * HOUR), timestamp(6 * HOUR)]
    assert unreadable_table(store, Span(2 * HOUR, 4 * HOUR, HOUR)).empty


def test_a_store_of_before_has_none(store, tmp_path):
    store.put(0, {})
    old = Store(tmp_path / "store.db", readonly=True)
    assert unreadable_table(old, Span(0, HOUR, HOUR)).empty
    old.close()


def test_a_tail_that_dies_and_starts_again_counts_each_dead_letter_once(tmp_path):
    place = open_streams(f"sqlite:{tmp_path}/streams")
    events = traffic(seconds=400)
    dead = 0
    for i, event in enumerate(events):
        write(place, [event])
        if i % 97 == 0:
            place.append("scores", [(b"", b"{")])
            dead += 1
    late = records.Score(request_id="r", request_ts=1.0, ts=1.0, model="m", version="1", score=0.5)
    write(place, [(0, "scores", late)])
    chosen, rng = Settings(pane_seconds=60, champion="champion"), np.random.default_rng(5)
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    for _ in range(4):
        tail = Tail(place, store, chosen, finite=True, now=FakeClock(START + 10_000))
        for _ in range(rng.integers(4, 12)):
            tail.step(int(rng.integers(100, 400)), 0.0)
        tail.close()  # what was in memory only is gone
    tail = Tail(place, store, chosen, finite=True, now=FakeClock(START + 10_000))
    read_all(tail)
    tail.finish()
    tail.close()
    table = unreadable_table(store, Span(*store.closed_range(), 60))
    assert table.groupby("kind")["n"].sum().to_dict() == {"unreadable": dead, "out of range": 1}
    first = table[table["kind"] == "unreadable"].iloc[0]
    assert "truncated" in first["reason"]
    assert first["first"].startswith("scores/0@")
    store.close()
    place.close()


def test_what_a_step_that_was_undone_has_counted_is_counted_again_once(tmp_path):
    place = open_streams(f"sqlite:{tmp_path}/streams")
    place.append("scores", [(b"", b"{")])
    write(place, traffic(seconds=200))
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)

    def fail(_until):
        raise RuntimeError("the judge is ill")

    chosen, now = Settings(pane_seconds=60, champion="champion"), FakeClock(START + 10_000)
    ill = Tail(place, store, chosen, on_closed=fail, now=now)
    with pytest.raises(RuntimeError, match="ill"):
        read_all(ill)
    ill.close()
    tail = Tail(place, store, chosen, now=now)
    read_all(tail)
    tail.finish()
    assert unreadable_table(store, Span(*store.closed_range(), 60))["n"].tolist() == [1]
    tail.close()
    store.close()
    place.close()
