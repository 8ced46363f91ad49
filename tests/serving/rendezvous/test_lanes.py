import pytest

from birdwatch.errors import StreamError
from birdwatch.serving.rendezvous.lanes import Lanes
from birdwatch.streams import Changes, Committed, Message, Partition
from birdwatch.testing import FakeClock

NAMES = ("requests", "results")
REQUESTS, RESULTS = Partition("requests", 1), Partition("results", 1)
NOTHING = Changes(frozenset(), {})


class Reader:
    """Says what the test says."""

    def __init__(self, clock):
        self.clock = clock
        self.held = {}
        self.news = NOTHING
        self.member = True
        self.asked = 0
        self.takes = 0.0

    def give(self, taken=(), **at):
        given = {Partition(stream, 1): Committed(offset) for stream, offset in at.items()}
        self.held |= {partition: kept.offset for partition, kept in given.items()}
        self.news = Changes(frozenset(taken), given)

    def read_to(self, **at):
        self.held |= {Partition(stream, 1): offset for stream, offset in at.items()}

    def poll(self, _limit, timeout):
        self.clock.sleep(timeout + self.takes)
        return []

    def changes(self):
        news, self.news = self.news, NOTHING
        return news

    def positions(self):
        return dict(self.held)

    def confirm(self):
        self.asked += 1
        return self.member


class Streams:
    def __init__(self):
        self.log = {}

    def ends(self, names):
        if self.log is None:
            raise StreamError("nobody is there")
        return {at: end for at, end in self.log.items() if at.stream in names}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def reader(clock):
    return Reader(clock)


@pytest.fixture
def streams():
    return Streams()


@pytest.fixture
def lanes(streams, reader, clock):
    return Lanes(streams, reader, NAMES, clock)


def test_a_lane_is_answered_once_all_that_lay_in_it_when_it_came_is_read(streams, reader, lanes):
    streams.log = {REQUESTS: 10, RESULTS: 20}
    reader.give(requests=4, results=8)
    lanes.poll(1000, 0.0)
    assert lanes.answered == set()
    streams.log = {REQUESTS: 99, RESULTS: 99}  # what comes later need not be waited for
    reader.read_to(requests=10)
    lanes.poll(1000, 0.0)
    assert lanes.answered == set()
    reader.read_to(results=20)
    lanes.poll(1000, 0.0)
    assert lanes.answered == {1}


def test_a_lane_of_which_a_part_comes_later_is_not_answered_before(streams, reader, lanes):
    streams.log = {REQUESTS: 10, RESULTS: 20}
    reader.give(requests=10)
    lanes.poll(1000, 0.0)
    assert lanes.answered == set()
    reader.give(results=8)
    lanes.poll(1000, 0.0)
    assert lanes.answered == set()
    reader.read_to(results=20)
    lanes.poll(1000, 0.0)
    assert lanes.answered == {1}


def test_a_lane_that_comes_after_long_is_read_before_it_is_answered_however_late_its_first_messages_are(
    clock, streams, reader, lanes
):
    streams.log = {REQUESTS: 10}
    clock.sleep(60.0)
    reader.give(requests=4)
    lanes.poll(1000, 0.5)
    lanes.poll(1000, 0.5)
    assert lanes.answered == set()
    reader.read_to(requests=10)
    lanes.poll(1000, 0.5)
    assert lanes.answered == {1}


def test_a_lane_that_comes_back_may_have_been_anothers_for_a_moment(streams, reader, lanes):
    reader.give(requests=0)
    lanes.poll(1000, 0.0)
    assert lanes.answered == {1}
    streams.log = {REQUESTS: 10}
    reader.news = Changes(frozenset(), {}, frozenset({REQUESTS}))
    assert lanes.poll(1000, 0.0) == ([], set())
    assert lanes.answered == set()
    reader.read_to(requests=10)
    lanes.poll(1000, 0.0)
    assert lanes.answered == {1}


def test_what_was_lost_and_given_again_is_forgotten_and_read_again(streams, reader, lanes):
    reader.give(requests=0)
    lanes.poll(1000, 0.0)
    streams.log = {REQUESTS: 10}
    reader.give(taken={REQUESTS}, requests=2)
    assert lanes.poll(1000, 0.0) == ([], {1})
    assert lanes.answered == set()


def test_while_a_group_changes_nothing_is_answered_and_nothing_forgotten(reader, lanes):
    reader.give(requests=0)
    lanes.poll(1000, 0.0)
    reader.held = {}  # given back, and not yet given out
    assert lanes.poll(1000, 0.0) == ([], set())
    assert lanes.answered == set()
    reader.read_to(requests=0)
    lanes.poll(1000, 0.0)
    assert lanes.answered == {1}


def test_who_loses_another_stream_of_a_lane_still_holds_it(reader, lanes):
    reader.give(requests=0, results=0)
    lanes.poll(1000, 0.0)
    del reader.held[RESULTS]
    reader.give(taken={RESULTS})
    assert lanes.poll(1000, 0.0) == ([], set())
    assert lanes.answered == {1}


def test_what_is_no_message_at_the_end_of_a_partition_is_not_waited_for(streams, reader, lanes):
    streams.log = {REQUESTS: 11}  # of which the last is the marker of a transaction
    reader.give(requests=0)
    reader.read_to(requests=10)
    lanes.poll(1000, 0.5)
    assert lanes.answered == set()
    for _ in range(40):
        lanes.poll(1000, 0.5)
    assert lanes.answered == {1}


def test_a_silence_because_nobody_is_there_is_no_end(streams, reader, lanes):
    streams.log = {REQUESTS: 11}
    reader.give(requests=0)
    lanes.poll(1000, 0.5)
    streams.log = None
    with pytest.raises(StreamError, match="nobody is there"):
        list(iter(lambda: lanes.poll(1000, 0.5), None))
    assert lanes.answered == set()


def test_who_was_away_for_a_while_asks_before_it_writes(clock, reader, lanes):
    lanes.poll(1000, 0.5)
    assert lanes.sure()
    assert reader.asked == 0
    clock.sleep(7.0)
    assert lanes.sure()
    assert reader.asked == 1
    clock.sleep(7.0)
    reader.member = False
    assert not lanes.sure()


def test_a_pause_within_a_poll_is_one_too_and_so_is_one_between_two_steps(clock, reader, lanes):
    reader.takes = 7.0
    lanes.poll(1000, 0.5)
    reader.member = False
    assert not lanes.sure()
    reader.takes, reader.member = 0.0, True
    lanes.poll(1000, 0.5)
    assert lanes.sure()
    clock.sleep(7.0)
    lanes.poll(1000, 0.5)
    reader.member = False
    assert not lanes.sure()


def test_a_clock_that_was_set_back_hides_no_pause(clock, reader, lanes):
    lanes.poll(1000, 0.5)
    clock.sleep(-3600.0)
    reader.member = False
    assert not lanes.sure()


def test_one_of_more_instances_than_lanes_is_ready_without_any(clock, streams, lanes):
    streams.log = {REQUESTS: 0}
    began = clock()
    lanes.await_first(lambda *_: None)
    assert lanes.answered == set()
    assert clock() - began == pytest.approx(10.0)


def test_where_there_is_no_stream_yet_nobody_waits(clock, lanes):
    began = clock()
    lanes.await_first(lambda *_: None)
    assert clock() == began


def test_messages_are_taken_before_what_was_behind_them_is_answered(streams, reader, lanes):
    streams.log = {REQUESTS: 1}
    reader.give(requests=0)
    message = Message("requests", 1, 0, b"", b"")

    def poll(_limit, _timeout):
        reader.read_to(requests=1)
        return [message]

    reader.poll = poll
    taken = []
    lanes.await_first(lambda messages, gone: taken.extend((messages, gone)))
    assert taken == [[message], set()]
    assert lanes.answered == {1}
