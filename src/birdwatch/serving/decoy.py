"""The decoy: looks like a runner, emits no score, and archives every request exactly as the models saw it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.errors import RecordError
from birdwatch.records import decode
from birdwatch.streams import Message, Streams

__all__ = ["Decoy"]

_BATCH: Final = 1000
_IDLE_SECONDS: Final = 0.5
_FLUSH_BYTES: Final = 64 << 20


class _Seen(msgspec.Struct):
    """What the archive shows of a request beside its bytes."""

    id: str
    ts: float


class Decoy:
    """Archives the stream of requests.

    On start it goes on after the highest offset among the archive's files; a group's commit comes after them and only
    serves those who look at its lag.

    Parameters
    ----------
    directory
        Where the archive lies.
    flush_count, flush_seconds
        Files are written when so many requests are waiting (or 64 MiB of them), or the first has waited so long.
    clock
        The wall clock.

    Attributes
    ----------
    archived
        How many requests have been written since the start.
    """

    def __init__(
        self,
        streams: Streams,
        directory: Path,
        *,
        flush_count: int = 10_000,
        flush_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writer = ArchiveWriter(directory, "requests")
        self._reader = streams.reader(["requests"], group="decoy")
        self._reader.seek(self._writer.positions())
        self._flush_count = flush_count
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._waiting: list[Row] = []
        self._waiting_bytes = 0
        self._since = 0.0
        self.archived = 0

    def step(self, timeout: float = _IDLE_SECONDS) -> int:
        """Wait for requests, and write those waiting when it is time.

        Returns
        -------
        int
            How many were written.
        """
        messages = self._reader.poll(_BATCH, timeout)
        now = self._clock()
        if messages and not self._waiting:
            self._since = now
        self._waiting += [_row(message) for message in messages]
        self._waiting_bytes += sum(len(message.value) for message in messages)
        full = len(self._waiting) >= self._flush_count or self._waiting_bytes >= _FLUSH_BYTES
        return self.flush() if full or (self._waiting and now - self._since >= self._flush_seconds) else 0

    def flush(self) -> int:
        """Write what is waiting."""
        written = len(self._waiting)
        if written:
            self._writer.write(self._waiting)
            self._reader.commit()
            self._waiting = []
            self._waiting_bytes = 0
            self.archived += written
        return written

    def run(self, stopping: Callable[[], bool]) -> None:
        """Step until asked to stop, then write what is waiting."""
        while not stopping():
            self.step()
        self.flush()

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()


def _row(message: Message) -> Row:
    """Read what can be read; what cannot is archived all the same, since the models saw it too."""
    try:
        seen = decode(message.value, _Seen)
        datetime.fromtimestamp(seen.ts, UTC)  # a day must follow from it
    except (RecordError, ValueError, OverflowError, OSError):
        return Row(message, None, None)
    return Row(message, seen.id, seen.ts)
