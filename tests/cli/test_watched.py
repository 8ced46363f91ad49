"""What reads says that it works after each step that went well, and falls silent in trouble."""

import pytest

from birdwatch.alerts.history import read_changes
from birdwatch.alerts.watchdog import Watchdog
from birdwatch.cli.following import Following
from birdwatch.cli.judging import Watched, watchdog
from birdwatch.config import Settings
from birdwatch.errors import StreamError
from birdwatch.testing import FakeClock, MemoryStreams
from birdwatch.windows.reading import Reading
from birdwatch.windows.store import Store


class Reads:
    """Reads a message a step, a second long, unless it is broken."""

    def __init__(self, clock):
        streams = MemoryStreams()
        self.reading = Reading(streams, streams.reader([]), None, list)
        self.clock = clock
        self.broken = False
        self.closed = False

    def step(self):
        self.clock.sleep(1)
        if self.broken:
            raise StreamError("the log is gone")
        return 1

    def close(self):
        self.closed = True


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    yield store
    store.close()


def test_a_judge_in_trouble_falls_silent_and_speaks_again_when_it_is_over(store):
    clock = FakeClock(1000.0)
    dog = Watchdog(store, 10, now=clock)
    reads = Reads(clock)
    following = Following(lambda: Watched(reads, dog), clock=clock, sleep=clock.sleep)

    def last_said():
        return [change.alert.ts for change in read_changes(store, "")]

    for _ in range(15):
        following.step()
    assert last_said() == [1011]
    reads.broken = True
    while clock() < 1100:
        following.step()
    assert last_said() == [1011]
    assert reads.closed
    reads.broken = False
    while last_said() == [1011]:
        following.step()
    assert 1100 < last_said()[0] < 1115


def test_it_is_off_unless_the_settings_ask_for_it(store):
    assert watchdog(store, Settings(streams="files:x")) is None
    asked = watchdog(store, Settings(streams="sqlite:x", watchdog_seconds=60))
    assert asked is not None
    asked.beat()
    assert store.connection.execute("SELECT sink FROM outbox").fetchall() == [("stream",)]
    quiet = Watched(Reads(FakeClock(0.0)), None)
    assert quiet.step() == 1
