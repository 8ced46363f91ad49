"""Archives streams: follows them, and writes what they carry exactly once, whatever happens meanwhile."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from birdwatch.archive.redaction import Redaction
from birdwatch.archive.verify import put_aside, verify
from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.errors import RecordError, SettingsError, StreamError
from birdwatch.health import Trouble
from birdwatch.records import decode
from birdwatch.streams import Message, Partition, Positions, Streams
from birdwatch.streams.arrow import is_arrow
from birdwatch.streams.parquet import Stretch
from birdwatch.streams.replay import glance
from birdwatch.streams.stretch import read_until

__all__ = ["Archiver"]

_BATCH: Final = 1000
_IDLE_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 1.0
_FLUSH_BYTES: Final = 64 << 20
_QUIET_SECONDS: Final = 3.0
_QUIET_SECONDS_WITHOUT_PARTITIONS: Final = 15.0


class _Seen(msgspec.Struct):
    """What the archive shows of a record beside its bytes."""

    ts: float
    id: str | None = None
    request_id: str | None = None
    fingerprint: str | None = None


class Archiver:
    """Archives streams into a folder.

    On start it goes on after the highest offsets among the archive's files; a group's commit comes after them and only
    serves those who look at its lag. Files that were cut short are put aside first, and what only damaged files hold is
    archived again, while the log has it. While a disk is full, nothing more is read than what can wait in memory.

    Parameters
    ----------
    names
        The streams.
    directory
        Where the archive lies.
    group
        The consumer group; None for places that are only read.
    redactions
        What is left out of the records of a stream, by its name.
    component
        Who this is, in what it tells people.
    flush_count, flush_seconds
        Files are written when so many messages are waiting (or 64 MiB of them), or the first has waited so long.
    clock, sleep
        The wall clock, and how to wait until streams that fail are tried again.

    Attributes
    ----------
    counts
        How many messages of each stream have been written since the start, under ``messages``; how many of them had to be
        withheld, since what is to be left out of them could not be found, under ``withheld``.
    trouble
        Why nothing can be read or written at present.

    Raises
    ------
    SettingsError
        A stream's name cannot be that of a folder, or the folder cannot be made.
    """

    def __init__(
        self,
        streams: Streams,
        names: Sequence[str],
        directory: Path,
        *,
        group: str | None = "archive",
        redactions: Mapping[str, Redaction] | None = None,
        component: str = "archive",
        flush_count: int = 10_000,
        flush_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._component = component
        self._redactions = redactions or {}
        self._writers = {name: ArchiveWriter(directory, name, made_by=self._said(name)) for name in map(_folder, names)}
        self.trouble = Trouble(self._warn)
        for name in names:
            for path, reason in verify(directory / name, full=False):
                self._warn(f"{path} is damaged ({reason}): it is kept as {put_aside(path).name}")
        self._streams = streams
        self._names = list(names)
        self._lacking = [(name, lacking) for name, writer in self._writers.items() for lacking in writer.missing()]
        self._group = group
        self._reader = streams.reader(self._names, group=group)
        self._next: Positions = {}
        for writer in self._writers.values():
            self._next |= writer.positions()
        self._reader.seek(self._next)
        self._flush_count = flush_count
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._sleep = sleep
        self._waiting: dict[str, list[Row]] = {}
        self._waiting_count = 0
        self._waiting_bytes = 0
        self._since = 0.0
        self._heard = 0
        self.counts: Counter[tuple[str, str]] = Counter()

    @property
    def archived(self) -> int:
        """How many messages have been written since the start."""
        return sum(n for (what, _), n in self.counts.items() if what == "messages")

    def step(self, timeout: float = _IDLE_SECONDS) -> int:
        """Wait for messages, and write those waiting when it is time.

        Returns
        -------
        int
            How many were written.
        """
        while self._lacking:
            self._archive_again(*self._lacking[0])
            self._lacking.pop(0)
        if not self._is_full():
            messages = self._fresh(self._reader.poll(_BATCH, timeout))
            if messages and not self._waiting:
                self._since = self._clock()
            self._heard = len(messages)
            for row in map(self._row, messages):
                self._waiting.setdefault(row.message.stream, []).append(row)
                self._waiting_count += 1
                self._waiting_bytes += len(row.message.value)
        due = bool(self._waiting) and self._clock() - self._since >= self._flush_seconds
        return self.flush() if due or self._is_full() else 0

    def _is_full(self) -> bool:
        return self._waiting_count >= self._flush_count or self._waiting_bytes >= _FLUSH_BYTES

    def _archive_again(self, name: str, lacking: Stretch) -> None:
        """Archive what only a damaged file holds, as far as the log has it."""
        number, first, last = lacking
        at = Partition(name, number)
        rows: list[Row] = []
        with closing(self._streams.reader([name])) as reader:
            for messages in read_until(reader, {at: first}, {at: last + 1}, limit=_BATCH):
                rows += [self._row(m) for m in messages if m.partition == number and first <= m.offset <= last]
        self._writers[name].write(rows)
        self.counts["messages", name] += len(rows)
        self._warn(
            f"of the offsets {first} to {last}, which only a damaged file holds, {len(rows)} were archived again"
        )

    def _fresh(self, messages: list[Message]) -> list[Message]:
        """Give those not had before: a group gives messages again after it has given this process up for a while."""
        for gap in self._reader.gaps():
            self._next[gap.partition] = gap.found
            self._warn(
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

    def _row(self, message: Message) -> Row:
        row = _row(message)
        redaction = self._redactions.get(message.stream)
        if redaction is None:
            return row
        value = redaction.apply(message.value)
        if value is None:
            self.counts["withheld", message.stream] += 1
        # The log's key is mostly the id; any other may be what must not be archived.
        key = message.key if row.id is not None and message.key == row.id.encode() else b""
        left = msgspec.structs.replace(message, key=key, value=value or b"")
        return _row(left) if value is not None else Row(left, None, row.ts)

    def flush(self) -> int:
        """Write what is waiting."""
        written = 0
        for name in list(self._waiting):
            self._writers[name].write(self._waiting[name])
            rows = self._waiting.pop(name)
            self.counts["messages", name] += len(rows)
            self._waiting_count -= len(rows)
            self._waiting_bytes -= sum(len(row.message.value) for row in rows)
            written += len(rows)
        if written and self._group is not None:
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

    def left(self) -> int:
        """Give how many offsets lie between what was read and where the streams end now."""
        ends = self._streams.ends(self._names)
        return sum(max(end - self._reached(at), 0) for at, end in ends.items())

    def run_once(self, stopping: Callable[[], bool], on_step: Callable[[int], object] = lambda _: None) -> None:
        """Archive what the streams hold now, and stop.

        Parameters
        ----------
        stopping
            Whether to stop before.
        on_step
            Is told how many messages were read.

        Raises
        ------
        StreamError
            A stream cannot be read, or not to its end; what could be read of it and of the others is archived.
        """
        ends = self._streams.ends(self._names)
        quiet = 0.0
        faults: list[StreamError] = []
        while not stopping() and any(self._reached(at) < end for at, end in ends.items()):
            try:
                self.step(_IDLE_SECONDS)
            except StreamError as error:
                if any(str(error) == str(before) for before in faults):
                    break
                faults.append(error)
                continue
            on_step(self._heard)
            quiet = 0.0 if self._heard else quiet + _IDLE_SECONDS
            # The last offsets need not be messages, and others may hold some of the partitions.
            if quiet >= (_QUIET_SECONDS if self._reader.positions() else _QUIET_SECONDS_WITHOUT_PARTITIONS):
                break
        self.flush()
        if faults:
            raise StreamError("\n".join(map(str, faults))) from faults[0]

    def _reached(self, at: Partition) -> int:
        return max(self._next.get(at, 0), self._reader.positions().get(at, 0))

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()

    def _said(self, name: str) -> dict[str, str]:
        redaction = self._redactions.get(name)
        return {} if redaction is None else {"birdwatch.redaction": redaction.said()}

    def _warn(self, message: str) -> None:
        print(f"birdwatch {self._component}: {message}", file=sys.stderr, flush=True)  # noqa: T201 - tells people


def _folder(name: str) -> str:
    if not name or "/" in name or name.startswith("."):
        raise SettingsError(f"{name!r} cannot name a stream of an archive: it is the name of a folder")
    return name


def _row(message: Message) -> Row:
    """Read what can be read; what cannot is archived all the same, since the models saw it too."""
    try:
        many = is_arrow(message.value)
        seen = _Seen(ts=_finite(glance(message.value)[0])) if many else decode(message.value, _Seen)
        datetime.fromtimestamp(seen.ts, UTC)  # a day must follow from it
    except (RecordError, ValueError, OverflowError, OSError):
        return Row(message, None, None)
    return Row(message, seen.request_id or seen.id or seen.fingerprint, seen.ts)


def _finite(ts: float | None) -> float:
    if ts is None:
        raise RecordError("it says no time")
    return ts
