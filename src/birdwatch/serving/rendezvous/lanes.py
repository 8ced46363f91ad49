"""Which lanes are this instance's to answer: those it holds, once they are read as far as the log went when they came.

Instances of one name share the partitions as a group of readers, and every change of the group moves some. Who is given a
lane first reads what its holder before has written, so that what is answered there is not answered again. Who may have lost
one without noticing, since it was stopped for a while, asks before it writes.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from birdwatch.streams import Message, Positions, Reader, Streams

__all__ = ["Lanes"]

# A member of a group is given up when its heartbeats have failed to come for twice the time between two of them, seconds:
# who was away for less is still a member.
_PAUSE_SECONDS: Final = 1.0

# At the end of a partition may lie what is no message, as the marker of a transaction: it is never read.
_SILENCE_SECONDS: Final = 15.0

# A group waits less than that for one that was killed, whose lanes this instance may be about to get.
_PATIENCE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.5
_BATCH: Final = 1000


class Lanes:
    """The lanes of a reader: partition i of all its streams is lane i.

    Parameters
    ----------
    names
        The streams that it reads; who holds a partition of the first holds the lane.
    clock
        The wall clock.

    Attributes
    ----------
    answered
        The lanes in which this instance may answer now.
    """

    def __init__(self, streams: Streams, reader: Reader, names: Sequence[str], clock: Callable[[], float]) -> None:
        self.answered: frozenset[int] = frozenset()
        self._streams = streams
        self._reader = reader
        self._names = names
        self._clock = clock
        self._behind: Positions = {}
        self._heard_at = clock()
        self._looked_at = clock()
        self._sure_until = math.inf

    def await_first(self, take: Callable[[list[Message], set[int]], None]) -> None:
        """Read until the lanes that are to be had have come, and are read as far as the log goes.

        Of more instances than lanes some get none: they are ready when the group has had the time to give out all it has.
        """
        until = self._clock() + _PATIENCE_SECONDS
        take(*self.poll(_BATCH, 0.0))
        while self._behind or (not self.answered and self._clock() < until and self._streams.ends(self._names[:1])):
            take(*self.poll(_BATCH, _LOOK_SECONDS))

    def poll(self, limit: int, timeout: float) -> tuple[list[Message], set[int]]:
        """Wait for messages; give them, and the lanes of which all that was known before them must be forgotten."""
        now = self._clock()
        if self._looked_at <= now <= self._sure_until:
            self._sure_until = now + timeout + _PAUSE_SECONDS
        self._looked_at = now
        messages = self._reader.poll(limit, timeout)
        return messages, self._follow(messages)

    def _follow(self, messages: list[Message]) -> set[int]:
        changes = self._reader.changes()
        held = self._reader.positions()
        # Also what came back may have been another's for a moment, of which nobody has told. And of a lane all is waited for,
        # though a part of it comes a moment later.
        come = {partition.number for partition in changes.given.keys() | changes.back}
        if come:
            ends = self._streams.ends(self._names)
            self._behind |= {partition: end for partition, end in ends.items() if partition.number in come}
            self._heard_at = self._clock()
        if self._behind:
            gone = {partition.number for partition in changes.taken} - come
            self._behind = {partition: end for partition, end in self._behind.items() if partition.number not in gone}
            self._come_closer(messages, held)
        behind = {partition.number for partition in self._behind}
        first = self._names[0]
        self.answered = frozenset(n for stream, n in held if stream == first and n not in behind)
        return {partition.number for partition in changes.taken if partition.stream == first}

    def _come_closer(self, messages: list[Message], held: Positions) -> None:
        now = self._clock()
        if messages:
            self._heard_at = now
        self._behind = {at: end for at, end in self._behind.items() if held.get(at, 0) < end}
        if self._behind and now - self._heard_at > _SILENCE_SECONDS:
            self._streams.ends(self._names)  # raises when it is silent because nobody can be reached
            self._behind.clear()

    def sure(self) -> bool:
        """Say whether what is held is still this instance's: asked of the group when it may have been given up.

        Asked right before each write, so that one that was stopped and goes on writes nothing that another has written.
        """
        now = self._clock()
        if not self._looked_at <= now <= self._sure_until and not self._reader.confirm():
            return False
        self._looked_at = now
        self._sure_until = now + _PAUSE_SECONDS
        return True
