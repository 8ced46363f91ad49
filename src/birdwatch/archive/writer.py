"""Writes messages to Parquet exactly as they lay in the log, in files that say which offsets they hold.

``DIR/STREAM/dt=YYYY-MM-DD/STREAM+PARTITION+FIRST+LAST.parquet``: a temporary file, flushed to the disk, takes its name
only when it is whole, and never that of another. So the names alone tell, after any crash, up to where a stream has been
archived; offsets need no other memory. ``_SHA256SUMS`` in each day's folder has every file's sum. What is found damaged is
renamed (`birdwatch.archive.verify`), and its offsets are archived again while the log has them. Should two writers write
files over the same offsets, their rows are equal, and readers drop duplicates by (partition, offset).
"""

import itertools
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from birdwatch.archive.sums import add_sum, sync
from birdwatch.disk import disk_full
from birdwatch.errors import SettingsError
from birdwatch.streams import Message, Partition, Positions
from birdwatch.streams.parquet import SCHEMA, Stretch, archived, damaged, missing

__all__ = ["ArchiveWriter", "Row"]

_DRAFT: Final = ".draft-"


class Row(NamedTuple):
    """A message with what is known of it."""

    message: Message
    id: str | None
    ts: float | None


class ArchiveWriter:
    """Archives one stream in a folder.

    Parameters
    ----------
    directory
        Made when it is missing. Drafts that a killed writer left there are removed.
    stream
        The stream's name.
    made_by
        What each file says of how it was made, in its metadata.

    Raises
    ------
    SettingsError
        The folder cannot be made.
    """

    def __init__(self, directory: Path, stream: str, *, made_by: Mapping[str, str] | None = None) -> None:
        self._schema = SCHEMA.with_metadata(dict(made_by)) if made_by else SCHEMA
        self._stream = stream
        self._folder = directory / stream
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"{directory} cannot hold the archive: {error.strerror}; name a folder that may be written"
            ) from error
        for draft in self._folder.glob(f"dt=*/{_DRAFT}*"):
            draft.unlink(missing_ok=True)

    def positions(self) -> Positions:
        """Give the offset after the last archived one of each partition, as the files' names tell."""
        found: Positions = {}
        for file in (*archived(self._folder), *damaged(self._folder)):
            partition = Partition(self._stream, file.held.partition)
            found[partition] = max(found.get(partition, 0), file.held.last + 1)
        return found

    def missing(self) -> list[Stretch]:
        """Give the offsets that only damaged files hold, in order."""
        return missing(self._folder)

    def write(self, rows: Sequence[Row]) -> list[Path]:
        """Write rows, durably before it returns: a file for each partition and, in offset order, each day in a row.

        The day is that of the event time in UTC; a message without one goes with the message before it.

        Returns
        -------
        list of Path
            The files, in the order in which they were written.

        Raises
        ------
        DiskFullError
            There is no room. The files that were whole stay; the same rows can be written again.
        """
        ordered = sorted(rows, key=lambda row: (row.message.partition, row.message.offset))
        return [self._written(partition, day, list(group)) for (partition, day), group in _grouped(ordered)]

    def _written(self, partition: int, day: str, rows: list[Row]) -> Path:
        try:
            return self._write_file(partition, day, rows)
        except FileNotFoundError:  # the day's folder was empty, and expired meanwhile
            return self._write_file(partition, day, rows)

    def _write_file(self, partition: int, day: str, rows: list[Row]) -> Path:
        folder = self._folder / f"dt={day}"
        first, last = rows[0].message.offset, rows[-1].message.offset
        path = folder / f"{self._stream}+{partition}+{first:012d}+{last:012d}.parquet"
        draft = folder / f"{_DRAFT}{uuid.uuid4().hex}"
        try:
            folder.mkdir(exist_ok=True)
            table = pa.Table.from_arrays(_columns(rows), schema=self._schema)
            pq.write_table(table, draft, compression="zstd", write_page_checksum=True)
            sync(draft)
            add_sum(folder, draft, path.name)
            with suppress(FileExistsError):  # the same offsets hold the same messages
                os.link(draft, path)  # unlike a rename, it never takes another file's place
            sync(folder)
            sync(self._folder)
        except OSError as error:
            full = disk_full(error, path)
            if full is not None:
                raise full from error
            raise
        finally:
            draft.unlink(missing_ok=True)
        return path


def _columns(rows: list[Row]) -> list[pa.Array]:
    """Lay rows out as Arrow does: `pyarrow.array` would load pandas for it, which takes seconds and 60 MB."""
    return [
        _bytes(pa.large_string(), [None if row.id is None else row.id.encode() for row in rows]),
        _numbers(pa.float64(), [row.ts for row in rows]),
        _numbers(pa.int32(), [row.message.partition for row in rows]),
        _numbers(pa.int64(), [row.message.offset for row in rows]),
        _bytes(pa.large_binary(), [row.message.key for row in rows]),
        _bytes(pa.large_binary(), [row.message.value for row in rows]),
    ]


def _numbers(kind: pa.DataType, values: Sequence[float | None]) -> pa.Array:
    data = np.array([0 if value is None else value for value in values], dtype=kind.to_pandas_dtype())
    return pa.Array.from_buffers(kind, len(values), [_valid(values), pa.py_buffer(data)])


def _bytes(kind: pa.DataType, values: Sequence[bytes | None]) -> pa.Array:
    pieces = [value or b"" for value in values]
    ends = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    buffers = [_valid(values), pa.py_buffer(ends), pa.py_buffer(b"".join(pieces))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _valid(values: Sequence[object]) -> pa.Buffer | None:
    """Give the bitmap of values that are there, or None where all are."""
    there = np.array([value is not None for value in values])
    return None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))


def _grouped(rows: list[Row]) -> Iterator[tuple[tuple[int, str], Iterator[Row]]]:
    """Group rows in order by partition and day.

    Only neighbours are put together: were a day's rows collected across others, a crash between two files could leave
    a gap below the highest offset.
    """
    day = next((_day(row.ts) for row in rows if row.ts is not None), "1970-01-01")
    keyed = []
    for row in rows:
        day = day if row.ts is None else _day(row.ts)
        keyed.append(((row.message.partition, day), row))
    for key, group in itertools.groupby(keyed, key=lambda pair: pair[0]):
        yield key, (row for _, row in group)


def _day(ts: float) -> str:
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d")
