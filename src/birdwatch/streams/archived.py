"""An archive as streams: ``archive:DIR`` gives back what was archived, with its keys, partitions and offsets.

It is only read. What is archived meanwhile is found by whoever reads on. A file that is damaged, or was put aside, is a gap.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from birdwatch.errors import AddressError, StreamError
from birdwatch.streams.base import Headers, Message, OnLost, Partition, Positions
from birdwatch.streams.database import GroupOffsets
from birdwatch.streams.gaps import go_on
from birdwatch.streams.local import LocalReader, LocalStreams, Log

if TYPE_CHECKING:
    import pyarrow as pa

    from birdwatch.streams.parquet import ArchiveFile, Days

__all__ = ["ArchiveReader", "ArchiveStreams", "is_archive"]

_SCHEME: Final = "archive:"


def is_archive(folder: Path) -> bool:
    """Tell whether a folder is that of an archive: its streams are folders, and in these are days."""
    return any(folder.glob("*/dt=*/"))


class ArchiveStreams(LocalStreams):
    """The streams of an archive.

    Parameters
    ----------
    address
        ``archive:DIR``.
    days
        Only what lies in the folders of these; by default everything.
    whole
        Streams of which everything is read nevertheless.

    Attributes
    ----------
    folder
        Where the archive lies.

    Raises
    ------
    AddressError
        The address names a file instead of a folder, or nothing.
    """

    def __init__(self, address: str, *, days: "Days | None" = None, whole: Collection[str] = ()) -> None:
        self.address = address
        self.folder = Path(address.removeprefix(_SCHEME)).expanduser()
        if address == _SCHEME:
            raise AddressError(f"{address!r} names no folder: write archive:DIR")
        if self.folder.exists() and not self.folder.is_dir():
            raise AddressError(f"{address!r} names a file: write the folder of the archive, archive:DIR")
        self._some_days = days
        self._whole = frozenset(whole)
        self._offsets = GroupOffsets(self.folder / ".offsets.db")

    def append(
        self, stream: str, messages: Iterable[tuple[bytes, bytes]], *, headers: Iterable[Headers] | None = None
    ) -> NoReturn:
        """Say that an archive is not written so.

        Raises
        ------
        StreamError
            Always.
        """
        del messages, headers
        raise StreamError(f"{stream} cannot be appended to {self.address}: `birdwatch archive write` writes archives")

    def broadcast(self, stream: str, key: bytes, value: bytes) -> NoReturn:
        """Say that an archive is not written so."""
        self.append(stream, [(key, value)])

    def reader(
        self,
        streams: Sequence[str],
        *,
        group: str | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        on_lost: OnLost = "earliest",
    ) -> "ArchiveReader":
        """Open a reader; streams, partitions and files that appear later are taken up."""
        begin = self.ends(streams) if start == "latest" else self.begins(streams)
        keep, committed = None, None
        if group is not None:
            keep, committed = partial(self._offsets.commit, group), self.committed(group, streams)
        return ArchiveReader(self, streams, begin, keep, committed=committed, on_lost=on_lost)

    def log(self, at: Partition) -> "Log":
        """Give one partition as a log."""
        return _ArchiveLog(self.folder / at.stream, at, self._days(at.stream))

    def names(self) -> list[str]:
        """Name the streams that exist, sorted."""
        return sorted({days.parent.name for days in self.folder.glob("*/dt=*/")})

    def begins(self, streams: Sequence[str]) -> Positions:
        """Give the first offset of each partition that is still there."""
        found: Positions = {}
        for at, file in self._files(streams):
            found[at] = min(file.held.first, found.get(at, file.held.first))
        return found

    def ends(self, streams: Sequence[str]) -> Positions:
        """Give the offset after the last one of each partition, as the names of the files tell."""
        found: Positions = {}
        for at, file in self._files(streams):
            found[at] = max(file.held.last + 1, found.get(at, 0))
        return found

    def _files(self, streams: Sequence[str]) -> "Iterator[tuple[Partition, ArchiveFile]]":
        from birdwatch.streams.parquet import archived, damaged  # noqa: PLC0415 - slow to import

        for stream in streams:
            for listed in (archived, damaged):
                for file in listed(self.folder / stream, self._days(stream)):
                    yield Partition(stream, file.held.partition), file

    def _days(self, stream: str) -> "Days":
        from birdwatch.streams.parquet import EVERY_DAY  # noqa: PLC0415

        return EVERY_DAY if stream in self._whole or self._some_days is None else self._some_days

    def check_partitions(self, streams: Sequence[str]) -> None:
        """Find nothing: whoever reads an archive reads all of it."""
        del streams

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; partitions without a commit are left out."""
        return self._offsets.committed(group, streams)

    def close(self) -> None:
        """Close the groups' offsets; files are held by their readers."""
        self._offsets.close()


class ArchiveReader(LocalReader):
    """Reads partitions of an archive in turn."""

    def __init__(
        self,
        place: ArchiveStreams,
        streams: Sequence[str],
        begin: Positions,
        keep: Callable[[Positions], None] | None,
        *,
        committed: Positions | None = None,
        on_lost: OnLost = "earliest",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        known = begin | (committed or {})
        logs = {at: place.log(at) for at in known}
        super().__init__(logs, dict(known), keep, committed=committed, on_lost=on_lost, clock=clock, sleep=sleep)
        self._place = place
        self._streams = list(streams)

    def seek(self, positions: Positions) -> None:
        """Read on from these offsets; what has expired in between is a gap.

        Raises
        ------
        LostError
            It has expired, and the reader was opened with ``on_lost="stop"``.
        """
        begins, ends = self._place.begins(self._streams), self._place.ends(self._streams)
        found = dict(positions)
        for at, wanted in positions.items():
            if at in begins and at in self._next and self._next[at] != wanted and wanted > 0:
                gap = go_on(at, wanted, begins[at], ends[at], self._on_lost, anew=False)
                if gap is not None:
                    self._gaps.append(gap)
                    found[at] = gap.found
        super().seek(found)

    def _read(self, limit: int, *, stalled: bool) -> list[Message]:
        messages = super()._read(limit, stalled=stalled)
        if not messages and stalled:
            fresh = {at: first for at, first in self._place.begins(self._streams).items() if at not in self._logs}
            for at, first in fresh.items():
                self._logs[at], self._next[at] = self._place.log(at), first
                self._order.append(at)
            if fresh:
                return super()._read(limit, stalled=True)
        return messages


class _ArchiveLog:
    """One partition of an archived stream."""

    def __init__(self, folder: Path, at: Partition, days: "Days") -> None:
        self.damaged: list[tuple[int, int]] = []
        self._folder = folder
        self._at = at
        self._days = days
        self._next: int | None = None
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._messages: list[Message] = []  # read and not yet given, the last first
        self._missing: list[tuple[int, int]] = []
        self._ended = False

    def exists(self) -> bool:
        return True

    def read(self, offset: int, limit: int, *, stalled: bool) -> tuple[list[Message], int]:
        if offset != self._next:
            self.close()
            self._next, self._ended = offset, False
        if self._batches is None:
            if self._ended and not stalled:  # listing files takes a while: only when there is nothing better to do
                return [], offset
            self._batches = self._begin(offset)
        found: list[Message] = []
        while len(found) < limit:
            if not self._messages:
                batch = next(self._batches, None)
                if batch is None:
                    self._batches, self._ended = None, True
                    break
                self._messages = self._of(batch)[::-1]
            found.append(self._messages.pop())
        reached = found[-1].offset + 1 if found else offset
        if self._ended and self._missing:
            reached = max(reached, self._missing[-1][1])
        while self._missing and self._missing[0][0] < reached:
            self.damaged.append(self._missing.pop(0))
        self._next = reached
        return found, reached

    def renewed(self, offset: int) -> None:
        del offset  # names tell nothing of another log

    def close(self) -> None:
        self._batches, self._messages = None, []

    def _begin(self, offset: int) -> "Iterator[pa.RecordBatch]":
        from birdwatch.streams.parquet import missing, read_partition  # noqa: PLC0415 - slow to import

        self._missing = [
            (max(first, offset), last + 1)
            for number, first, last in missing(self._folder, self._days)
            if number == self._at.number and last >= offset
        ]
        return read_partition(self._folder, self._at.number, offset, self._days, on_fault=self._lose)

    def _lose(self, file: "ArchiveFile", _reason: str) -> None:
        first = max(file.held.first, self._next or 0)
        self._missing = sorted([*self._missing, (first, max(file.held.last + 1, first))])

    def _of(self, batch: "pa.RecordBatch") -> list[Message]:
        columns = (batch[name].to_pylist() for name in ("offset", "key", "value"))
        stream, number = self._at
        return [Message(stream, number, *row) for row in zip(*columns, strict=True)]
