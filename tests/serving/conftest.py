import pytest

from birdwatch.testing import FakeClock, MemoryStreams


class Remote(MemoryStreams):
    """Streams far away: who does not wait for the first message gets none, since it is still being fetched."""

    def reader(self, streams, **options):
        reader = super().reader(streams, **options)
        poll, fetched = reader.poll, []

        def poll_over_the_net(limit=1000, timeout=1.0):
            arrived = bool(fetched) or timeout > 0
            fetched.append(True)
            return poll(limit, timeout) if arrived else []

        reader.poll = poll_over_the_net
        return reader


@pytest.fixture
def remote():
    clock = FakeClock(1_368_532_800.0)
    return Remote(clock=clock, sleep=clock.sleep)
