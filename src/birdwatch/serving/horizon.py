"""Where a process that keeps its state in memory reads on after a restart: a horizon before where it was.

Requests, results and decisions of the last while are read again from the log, so that after ``kill -9`` no request is
answered twice and none is lost.
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from birdwatch.streams import Message, Positions, Reader, Streams

__all__ = ["Horizon", "catch_up"]

_EVERY_SECONDS: Final = 1.0
_SILENCE_SECONDS: Final = 5.0


class Horizon:
    """Commits, for a reader's group, the positions it had a while ago.

    Parameters
    ----------
    seconds
        How long ago.
    """

    def __init__(self, reader: Reader, seconds: float) -> None:
        self._reader = reader
        self._seconds = seconds
        self._past: deque[tuple[float, Positions]] = deque()
        self._committed: Positions = {}

    def keep(self, now: float, oldest: float = math.inf, pending: Callable[[], Positions] = dict) -> None:
        """Take note of the positions, and commit those that have become old enough.

        Parameters
        ----------
        now
            The wall clock.
        oldest
            When the oldest message was read that is still needed: it stays after the committed positions.
        pending
            Gives the first message by partition that was read before one that it belongs to, in another partition: whoever
            reads that one again must read this one as well.
        """
        if self._past and now - self._past[-1][0] < _EVERY_SECONDS:
            return
        reached = self._reader.positions()
        for partition, first in pending().items():
            if partition in reached:
                reached[partition] = min(first, reached[partition])
        self._past.append((now, reached))
        until = min(now - self._seconds, oldest)
        old: Positions = {}
        while self._past[0][0] < until:
            _, old = self._past.popleft()
        if old and old != self._committed:
            self._reader.commit(old)
            self._committed = old

    def forget(self, numbers: Collection[int]) -> None:
        """Let go of what is known of the partitions of these numbers: others read them now, or they are read again."""
        for _, positions in self._past:
            for partition in [each for each in positions if each.number in numbers]:
                del positions[partition]


def catch_up(streams: Streams, reader: Reader, names: Sequence[str]) -> Iterator[list[Message]]:
    """Give, batch by batch, all that already lies in the streams; then end.

    Partitions that another reader of the group holds are left to it.
    """
    ends = streams.ends(names)
    while True:
        held = reader.positions()
        here = ends.keys() & held.keys() if held else ends.keys()  # none yet: they are being given out
        if all(held.get(partition, 0) >= ends[partition] for partition in here):
            return
        messages = reader.poll(timeout=_SILENCE_SECONDS)
        if not messages:  # a log that was trimmed while it was being read
            return
        yield messages
