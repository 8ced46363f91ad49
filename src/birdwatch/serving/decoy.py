"""The decoy: looks like a runner, emits no score, and archives every request exactly as the models saw it."""

import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from birdwatch.archive.verify import put_aside, verify
from birdwatch.archive.writer import ArchiveWriter, Row, Stretch
from birdwatch.errors import RecordError, StreamError
from birdwatch.health import Trouble
from birdwatch.records import decode
from birdwatch.serving.process import warn
from birdwatch.streams import Message, Partition, Streams
from birdwatch.streams.stretch import read_until

__all__ = ["Decoy"]

_BATCH: Final = 1000
_IDLE_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0
_FLUSH_BYTES: Final = 64 << 20


class _Seen(msgspec.Struct):
    """What the archive shows of a request beside its bytes."""

    id: str
    ts: float


class Decoy:
    """Archives the stream of requests.

    On start it goes on after the highest offset among the archive's files; a group's commit comes after them and only
    serves those who look at its lag. Files that were cut short are put aside first, and what only damaged files hold is
    archived again, while the log has it. While a disk is full, nothing more is read than what can wait in memory.

    Parameters
    ----------
    directory
        Where the archive lies.
    flush_count, flush_seconds
        Files are written when so many requests are waiting (or 64 MiB of them), or the first has waited so long.
    clock, sleep
        The wall clock, and how to wait until streams that fail are tried again.

    Attributes
    ----------
    archived
        How many requests have been written since the start.
    trouble
        Why nothing can be read or written at present.
    """

    def __init__(
        self,
        streams: Streams,
        directory: Path,
        *,
        flush_count: int = 10_000,
        flush_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._writer = ArchiveWriter(directory, "requests")
        self.trouble = Trouble(_warn)
        for path, reason in verify(directory / "requests", full=False):
            _warn(f"{path} is damaged ({reason}): it is kept as {put_aside(path).name}")
        self._streams = streams
        self._lacking = self._writer.missing()
        self._reader = streams.reader(["requests"], group="decoy")
        self._next = self._writer.positions()
        self._reader.seek(self._next)
        self._flush_count = flush_count
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._sleep = sleep
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
        while self._lacking:
            self._archive_again(self._lacking[0])
            self._lacking.pop(0)
        if not self._is_full():
            messages = self._fresh(self._reader.poll(_BATCH, timeout))
            if messages and not self._waiting:
                self._since = self._clock()
            self._waiting += [_row(message) for message in messages]
            self._waiting_bytes += sum(len(message.value) for message in messages)
        due = bool(self._waiting) and self._clock() - self._since >= self._flush_seconds
        return self.flush() if due or self._is_full() else 0

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._flush_count or self._waiting_bytes >= _FLUSH_BYTES

    def _archive_again(self, lacking: Stretch) -> None:
        """Archive what only a damaged file holds, as far as the log has it."""
        number, first, last = lacking
        at = Partition("requests", number)
        rows: list[Row] = []
        with closing(self._streams.reader(["requests"])) as reader:
            for messages in read_until(reader, {at: first}, {at: last + 1}, limit=_BATCH):
                rows += [_row(m) for m in messages if m.partition == number and first <= m.offset <= last]
        self._writer.write(rows)
        self.archived += len(rows)
        _warn(f"of the offsets {first} to {last}, which only a damaged file holds, {len(rows)} were archived again")

    def _fresh(self, messages: list[Message]) -> list[Message]:
        """Give those not had before: a group gives messages again after it has given this process up for a while."""
        for gap in self._reader.gaps():
            self._next[gap.partition] = gap.found
            _warn(
                f"{gap.partition.stream}, partition {gap.partition.number}: messages from offset {gap.wanted} on were gone"
                f" before they were archived ({gap.reason}); it goes on at {gap.found}"
            )
        fresh = []
        for message in messages:
            partition = Partition(message.stream, message.partition)
            if message.offset >= self._next.get(partition, 0):
                self._next[partition] = message.offset + 1
                fresh.append(message)
        return fresh

    def flush(self) -> int:
        """Write what is waiting."""
        written = len(self._waiting)
        if written:
            self._writer.write(self._waiting)
            self._waiting = []
            self._waiting_bytes = 0
            self.archived += written
            self._reader.commit()
        return written

    def run(self, stopping: Callable[[], bool]) -> None:
        """Step until asked to stop, then write what is waiting. Streams that fail are warned of and tried again."""
        while not stopping():
            try:
                self.step()
                self.trouble.ends()
            except StreamError as error:  # what was read is kept, and the archive knows how far it goes
                self.trouble.begins(f"trying again: {error}")
                self._sleep(_RETRY_SECONDS)
        self.flush()

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()


def _warn(message: str) -> None:
    warn("decoy", message)


def _row(message: Message) -> Row:
    """Read what can be read; what cannot is archived all the same, since the models saw it too."""
    try:
        seen = decode(message.value, _Seen)
        datetime.fromtimestamp(seen.ts, UTC)  # a day must follow from it
    except (RecordError, ValueError, OverflowError, OSError):
        return Row(message, None, None)
    return Row(message, seen.id, seen.ts)
