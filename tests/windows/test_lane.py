"""What a lane makes of messages that were gone before it read them, and of rows that are much too old."""

import pytest

from birdwatch.config import Settings
from birdwatch.records import encode
from birdwatch.streams import Gap, Message, Partition
from birdwatch.testing import a_score
from birdwatch.windows.counting import Counting
from birdwatch.windows.lane import Lane
from birdwatch.windows.pane import Series, counters
from birdwatch.windows.store import Checkpoint

AT = Partition("scores", 2)
START = 1_700_000_040
SETTINGS = Settings(pane_seconds=60, lateness_seconds=0)


@pytest.fixture
def lane():
    return Lane(Counting(SETTINGS, now=lambda: START + 1e6), SETTINGS)


def scores(offset, *seconds, name="r"):
    return [
        Message(
            *AT,
            offset + n,
            b"",
            encode(a_score(request_id=f"{name}{offset + n}", request_ts=START + second, model="m")),
        )
        for n, second in enumerate(seconds)
    ]


def events(counted):
    return {one.start - START: counters(one.built.pane.get(Series("counts", "m", "1")))["events"] for one in counted}


def test_what_was_never_read_is_lost(lane):
    lane.take(AT, scores(0, 1, 2, 3), now=0.0)
    assert lane.lose(Gap(AT, 3, 50, "trimmed")) == Gap(AT, 3, 50, "trimmed")
    lane.take(AT, scores(50, 4), now=0.0)
    assert events(lane.close(START + 60)) == {0: 4}


def test_what_was_only_to_be_read_again_for_late_rows_is_not(lane):
    lane.resume({AT: Checkpoint(10, 40)}, in_closed={AT: 40}, closed_until=START + 60)
    assert lane.lose(Gap(AT, 10, 35, "trimmed")) is None


def test_of_what_was_in_open_panes_all_is(lane):
    lane.resume({AT: Checkpoint(10, 40)}, in_closed={AT: 20}, closed_until=START + 60)
    assert lane.lose(Gap(AT, 10, 35, "trimmed")) == Gap(AT, 20, 35, "trimmed")


def test_a_topic_that_was_made_anew_counts_from_its_beginning_though_its_offsets_were_counted_before(lane):
    lane.take(AT, scores(0, 1, 2, 3, 61), now=0.0)
    assert events(lane.close(START + 60)) == {0: 3}
    assert lane.lose(Gap(AT, 4, 0, "made anew")) == Gap(AT, 4, 0, "made anew")
    lane.take(AT, scores(0, 62, 63, name="new"), now=0.0)
    assert lane.checkpoints() == {AT: Checkpoint(0, 2)}  # what is open is read again from the new one's beginning
    assert events(lane.close(START + 120)) == {60: 3}


def test_a_row_from_long_before_what_has_closed_is_a_mistake_in_somebodys_clock(lane):
    lane.take(AT, scores(0, 1), now=0.0)
    lane.close(START + 60)
    (fault,) = lane.take(AT, scores(1, -40 * 86_400, 61), now=0.0)
    assert (fault.kind, fault.message.offset) == ("out of range", 1)
    assert "31 days before" in fault.reason
    assert lane.settle() == []
    assert events(lane.close(START + 120)) == {60: 1}
