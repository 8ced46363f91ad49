"""A stretch is read to its end, and no further; what is missing at its end holds nobody up."""

import pytest

from birdwatch.streams import Partition
from birdwatch.streams.stretch import read_until
from birdwatch.testing import FakeClock, MemoryStreams

SCORES = Partition("scores")


@pytest.fixture
def streams():
    clock = FakeClock()
    streams = MemoryStreams(clock=clock, sleep=clock.sleep)
    streams.append("scores", [(b"", b"%d" % n) for n in range(10)])
    return streams


def values(reader, begin, end, **options):
    return [int(m.value) for batch in read_until(reader, {SCORES: begin}, {SCORES: end}, **options) for m in batch]


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_it_ends_where_it_is_said_to(streams, limit):
    reader = streams.reader(["scores"])
    reader.seek({SCORES: 2})
    assert values(reader, 2, 7, limit=limit) == [2, 3, 4, 5, 6]


def test_nothing_is_read_of_what_is_empty(streams):
    assert values(streams.reader(["scores"]), 4, 4) == []


def test_offsets_at_the_end_without_messages_hold_nobody_up(streams):
    """As those of a transaction's marks."""
    assert values(streams.reader(["scores"]), 0, 12) == list(range(10))


def test_partitions_that_another_reader_holds_hold_nobody_up():
    clock = FakeClock()
    streams = MemoryStreams(clock=clock, sleep=clock.sleep)
    assert values(streams.reader(["scores"]), 0, 3) == []
    assert clock() > FakeClock()()
