"""The watermark waits for the slowest source, but not for one that has fallen silent."""

import math

from birdwatch.streams import Partition
from birdwatch.windows.store import Source
from birdwatch.windows.watermark import Watermark

SCORES, REQUESTS = Partition("scores"), Partition("requests")


def test_it_is_the_minimum_over_partitions_and_models():
    mark = Watermark(idle_seconds=30)
    mark.see(SCORES, "a", 100.0, now=0)
    mark.see(SCORES, "b", 90.0, now=0)
    mark.see(REQUESTS, "", 110.0, now=0)
    assert mark.value(now=1) == 90.0


def test_it_never_goes_back():
    mark = Watermark(idle_seconds=30)
    mark.see(SCORES, "a", 100.0, now=0)
    assert mark.value(now=0) == 100.0
    mark.see(SCORES, "b", 50.0, now=0)
    assert mark.value(now=0) == 100.0


def test_a_partition_with_unread_messages_holds_it_up():
    mark = Watermark(idle_seconds=30)
    mark.await_(SCORES)
    mark.see(REQUESTS, "", 110.0, now=0)
    assert mark.value(now=100) == -math.inf
    mark.see(SCORES, "a", 105.0, now=100)
    assert mark.value(now=100) == 105.0


def test_a_stream_that_has_not_begun_is_waited_for_no_longer_than_it_is_told():
    mark = Watermark(idle_seconds=30)
    mark.await_(SCORES, until=30)
    mark.see(REQUESTS, "", 110.0, now=0)
    assert mark.value(now=30) == -math.inf
    mark.see(REQUESTS, "", 140.0, now=31)
    assert mark.value(now=31) == 140.0


def test_a_silent_source_holds_it_up_for_thirty_seconds_of_wall_time():
    mark = Watermark(idle_seconds=30)
    mark.see(SCORES, "dead", 90.0, now=0)
    mark.see(SCORES, "alive", 100.0, now=0)
    mark.see(SCORES, "alive", 140.0, now=30)
    assert mark.value(now=30) == 90.0
    mark.see(SCORES, "alive", 141.0, now=31)
    assert mark.value(now=31) == 141.0
    assert [s.model for s in mark.sources(now=31) if s.idle] == ["dead"]


def test_when_all_are_silent_event_time_goes_on_with_the_wall_clock():
    mark = Watermark(idle_seconds=30)
    mark.see(SCORES, "a", 100.0, now=1000)
    assert mark.value(now=1031) == 131.0


def test_a_recorded_stream_that_was_read_to_its_end_is_not_waited_for():
    mark = Watermark(idle_seconds=30)
    mark.see(SCORES, "a", 100.0, now=0)
    mark.see(REQUESTS, "", 300.0, now=0)
    mark.end(SCORES)
    assert mark.value(now=0) == 300.0


def test_it_goes_on_from_what_was_kept():
    mark = Watermark(idle_seconds=30)
    mark.restore([Source("scores", 0, "a", 100.0, idle=False), Source("scores", 0, "gone", 5.0, idle=True)], now=0)
    assert mark.value(now=0) == 100.0


def test_what_has_not_been_read_yet_is_not_silent():
    mark = Watermark(idle_seconds=30)
    mark.await_(SCORES, until=30)
    assert not mark.idle(now=30)
    assert mark.idle(now=31)
