"""A process that reads streams goes on after trouble that passes, and ends by that which does not."""

import pytest

from birdwatch.cli.following import Following
from birdwatch.errors import DiskFullError, LostError, MovedError, StoreError, StreamError
from birdwatch.testing import FakeClock, MemoryStreams
from birdwatch.windows.reading import Reading


class Reads:
    """Gives what the script says, or raises it."""

    def __init__(self, script):
        self.script = script
        streams = MemoryStreams()
        self.reading = Reading(streams, streams.reader([]), None, list)
        self.closed = False

    def step(self):
        act = self.script.pop(0)
        if isinstance(act, Exception):
            raise act
        self.reading.note(act, [], [])
        return act

    def close(self):
        self.closed = True


@pytest.fixture
def follow():
    made, clock = [], FakeClock(0.0)

    def make(*script):
        script = list(script)

        def another():
            if made and script and isinstance(script[0], StreamError) and script[0].args[-1] == "when made":
                raise script.pop(0)
            made.append(Reads(script))
            return made[-1]

        return Following(another, clock=clock, sleep=clock.sleep), made

    return make


@pytest.mark.parametrize("passing", [StreamError, MovedError, DiskFullError])
def test_after_trouble_that_passes_it_is_made_anew_and_counts_on(follow, passing, capsys):
    following, made = follow(5, passing("no room"), 7, 2)
    steps = [following.step() for _ in range(20) if following.reading.messages < 14]
    assert [step for step in steps if step] == [5, 7, 2]
    assert len(made) == 2
    assert made[0].closed
    assert following.reading.messages == 14
    assert "no room" in capsys.readouterr().err
    assert following.trouble.reason is None


def test_while_it_lasts_it_says_so_once_and_waits_longer_each_time(follow, capsys):
    gone = [StreamError("gone", "when made") for _ in range(5)]
    following, made = follow(StreamError("gone"), *gone, 3)
    turns = 0
    while not following.reading.messages:
        following.step()
        turns += 1
        assert following.trouble.reason is not None or following.reading.messages
    begun, over = capsys.readouterr().err.splitlines()
    assert begun == "trying again: gone"
    assert over.startswith("it is over: ")
    assert len(made) == 2
    assert turns > 100  # half a second, one, two, four, eight and ten, in turns of a tenth: it may be asked to stop


@pytest.mark.parametrize("lasting", [StoreError("taken over"), LostError("gone for good")])
def test_what_does_not_pass_ends_it(follow, lasting):
    following, _ = follow(lasting)
    with pytest.raises(type(lasting)):
        following.step()
