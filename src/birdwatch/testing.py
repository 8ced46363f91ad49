"""Fakes for users' own tests: a clock, streams in memory, and records with everything filled in.

>>> from birdwatch.records import Score, decode, encode
>>> streams = MemoryStreams()
>>> streams.append("scores", [(b"r1", encode(a_score(request_id="r1", score=0.25)))])
>>> [decode(message.value, Score).score for message in streams.reader(["scores"]).poll()]
[0.25]
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Literal

from msgspec import structs

from birdwatch.records import Alert, Decision, Outcome, Request, Score
from birdwatch.streams.base import Headers, Message, OnLost, Partition, Positions
from birdwatch.streams.local import LocalReader, LocalStreams, Log

__all__ = ["FakeClock", "MemoryStreams", "a_decision", "a_request", "a_score", "an_alert", "an_outcome"]

_NOON: Final = 1_368_532_800.0  # 14 May 2013, 12:00 UTC


class FakeClock:
    """A clock that stands still until it is told to move; its ``sleep`` returns at once, later.

    >>> clock = FakeClock(100.0)
    >>> clock.sleep(2.5)
    >>> clock()
    102.5
    """

    def __init__(self, now: float = _NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        """Give the time in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now += seconds


class MemoryStreams(LocalStreams):
    """Streams that live as long as the object, with one partition each; threads may share it.

    Parameters
    ----------
    clock, sleep
        What readers wait by: monotonic seconds, and how to let them pass. With a `FakeClock` a poll never waits.
    """

    address = "memory:"

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._messages: dict[str, list[Message]] = {}
        self._committed: dict[str, Positions] = {}

    def append(
        self, stream: str, messages: Iterable[tuple[bytes, bytes]], *, headers: Iterable[Headers] | None = None
    ) -> None:
        """Write (key, value) pairs to the end of a stream; headers are left out."""
        del headers
        pairs = list(messages)
        if pairs:
            with self._lock:
                log = self._messages.setdefault(stream, [])
                log += [Message(stream, 0, offset, *pair) for offset, pair in enumerate(pairs, len(log))]

    def broadcast(self, stream: str, key: bytes, value: bytes) -> None:
        """Write one message to the stream's one partition."""
        self.append(stream, [(key, value)])

    def reader(
        self,
        streams: Sequence[str],
        *,
        group: str | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        on_lost: OnLost = "earliest",
    ) -> LocalReader:
        """Open a reader: from its group's committed offsets where there are some, else from ``start``."""
        logs: dict[Partition, Log] = {Partition(stream): _MemoryLog(stream, self._messages) for stream in streams}
        begin = dict.fromkeys(map(Partition, streams), 0)
        if start == "latest":
            begin |= self.ends(streams)
        keep, committed = None, None
        if group is not None:
            keep, committed = partial(self._commit, group), self.committed(group, streams)
        return LocalReader(
            logs, begin, keep, committed=committed, on_lost=on_lost, clock=self._clock, sleep=self._sleep
        )

    def names(self) -> list[str]:
        """Name the streams that exist, sorted."""
        return sorted(self._messages)

    def ends(self, streams: Sequence[str]) -> Positions:
        """Give the offset that each stream's next message will have; streams that do not exist are left out."""
        return {Partition(stream): len(self._messages[stream]) for stream in streams if stream in self._messages}

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; streams without a commit are left out."""
        kept = self._committed.get(group, {})
        return {partition: offset for partition, offset in kept.items() if partition.stream in streams}

    def close(self) -> None:
        """Keep everything: the object is opened anew by using it."""

    def _commit(self, group: str, positions: Positions) -> None:
        with self._lock:
            self._committed[group] = self._committed.get(group, {}) | positions


class _MemoryLog:
    def __init__(self, stream: str, messages: dict[str, list[Message]]) -> None:
        self.damaged: list[tuple[int, int]] = []
        self._stream = stream
        self._messages = messages

    def exists(self) -> bool:
        return self._stream in self._messages

    def read(self, offset: int, limit: int, *, stalled: bool) -> tuple[list[Message], int]:
        del stalled
        found = self._messages.get(self._stream, [])[offset : offset + limit]
        return found, offset + len(found)

    def renewed(self, offset: int) -> None:
        del offset  # what is in memory lives as long as its readers

    def close(self) -> None:
        pass


def a_request(**fields: Any) -> Request:
    """Build a request; what is not given is filled in.

    >>> a_request(features={"distance": 2475}).features
    {'distance': 2475}
    """
    filled = Request(id="r1", ts=_NOON, received_ts=_NOON, deadline_seconds=1.0, features={})
    return structs.replace(filled, **fields)


def a_score(**fields: Any) -> Score:
    """Build a score; what is not given is filled in.

    >>> a_score(model="canary", score=0.75).version
    '1'
    """
    filled = Score(
        request_id="r1",
        request_ts=_NOON,
        ts=_NOON,
        model="champion",
        version="1",
        score=0.5,
        queue_seconds=0.001,
        elapsed_seconds=0.002,
    )
    return structs.replace(filled, **fields)


def a_decision(**fields: Any) -> Decision:
    """Build a decision; what is not given is filled in.

    >>> a_decision(tier=-1, reason="default").within_sla
    True
    """
    filled = Decision(
        request_id="r1",
        request_ts=_NOON,
        ts=_NOON,
        latency_seconds=0.004,
        deadline_seconds=1.0,
        model="champion",
        version="1",
        tier=0,
        reason="first choice",
        within_sla=True,
    )
    return structs.replace(filled, **fields)


def an_alert(**fields: Any) -> Alert:
    """Build an alert; what is not given is filled in.

    >>> an_alert(severity="ticket").severity
    'ticket'
    """
    filled = Alert(
        fingerprint="b291dd841dac3b7d",
        ts=_NOON + 3600,
        started=_NOON,
        state="firing",
        rule="pairs",
        severity="page",
        attribution="the model changed",
        model="challenger",
        version="2",
        partner="champion",
        reason="they differ",
    )
    return structs.replace(filled, **fields)


def an_outcome(**fields: Any) -> Outcome:
    """Build an outcome; what is not given is filled in.

    >>> an_outcome(label=0.0).label
    0.0
    """
    filled = Outcome(request_id="r1", request_ts=_NOON, ts=_NOON + 3 * 3600, label=1.0)
    return structs.replace(filled, **fields)
