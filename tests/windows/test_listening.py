"""Silence counts only by the time up to which everything was heard."""

import pytest

from birdwatch.errors import StreamError
from birdwatch.streams import Partition
from birdwatch.testing import MemoryStreams
from birdwatch.windows.listening import Listening

A, B = Partition("a"), Partition("b")


class Place:
    """Streams whose ends the test sets, and their reader."""

    def __init__(self):
        self.at = {A: 0, B: 0}
        self.end = {A: 0, B: 0}
        self.gone = False

    def ends(self, topics):
        assert topics == ["a", "b"]
        if self.gone:
            raise StreamError("nobody answers")
        return dict(self.end)

    def positions(self):
        return dict(self.at)


@pytest.fixture
def place():
    return Place()


@pytest.fixture
def listening(place):
    return Listening(place, place, ["a", "b"], idle_seconds=30, now=0.0)


def test_who_has_read_all_has_heard_until_now(listening):
    assert [listening.step(now, busy=False) for now in (0.0, 1.0, 2.0)] == [0.0, 0.0, 1.0]


def test_what_was_not_read_yet_was_not_heard(place, listening):
    place.end = {A: 100, B: 5}
    listening.step(1.0, busy=True)
    place.at = {A: 60, B: 5}
    assert listening.step(40.0, busy=True) == 0.0
    place.at = {A: 100, B: 5}
    assert listening.step(50.0, busy=True) == 1.0  # all that was there when it was asked


def test_one_that_is_always_a_little_behind_hears_all_the_same(place, listening):
    for now in range(1, 60):
        place.end = {A: 100 * now, B: 0}
        heard = listening.step(float(now), busy=True)
        place.at = {A: 100 * now - 10, B: 0}
    assert heard >= 56


def test_while_nobody_can_be_asked_nobody_is_heard(place, listening):
    listening.step(1.0, busy=False)
    place.gone = True
    assert listening.step(100.0, busy=False) == 1.0
    assert listening.step(200.0, busy=False) == 1.0


def test_an_end_beyond_what_can_be_read_is_a_transactions_mark(place, listening):
    place.end = {A: 1, B: 0}
    listening.step(1.0, busy=True)
    assert listening.step(2.0, busy=False) == 1.0


def test_what_is_paused_is_not_waited_for(place, listening):
    place.end = {A: 100, B: 0}
    listening.step(1.0, busy=True)
    assert listening.step(2.0, busy=True, paused={A}) == 1.0


def test_streams_in_memory_are_heard_as_they_are_read():
    streams = MemoryStreams()
    streams.append("a", [(b"", b"1")])
    reader = streams.reader(["a"])
    listening = Listening(streams, reader, ["a"], idle_seconds=30, now=0.0)
    listening.step(0.0, busy=True)
    assert listening.step(5.0, busy=True) == 0.0
    reader.poll(timeout=0.0)
    assert listening.step(6.0, busy=True) == 0.0  # as of when it was asked
    assert listening.step(7.0, busy=True) == 6.0


def test_after_an_outage_who_writes_has_time_to_come_back(place, listening):
    listening.step(1.0, busy=False)
    place.gone = True
    assert [listening.step(float(now), busy=False) for now in range(2, 62)][-1] == 1.0
    place.gone = False
    assert [listening.step(float(now), busy=False) for now in range(62, 92)][-1] == 1.0
    assert [listening.step(float(now), busy=False) for now in range(92, 95)][-1] >= 92.0
