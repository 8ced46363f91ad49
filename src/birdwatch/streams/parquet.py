"""The files of an archive: what they are called, what they hold, and their messages in the order of the log.

``DIR/STREAM/dt=YYYY-MM-DD/STREAM+PARTITION+FIRST+LAST.parquet``: the offsets from FIRST to LAST of a partition, as far as
they fell on that day. While files are put together, and after two writers wrote the same, an offset lies in two files with
the same message: readers here give it once.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from birdwatch.errors import StreamError
from birdwatch.streams.arrow import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DAMAGED",
    "EVERY_DAY",
    "SCHEMA",
    "ArchiveFile",
    "Days",
    "Stretch",
    "archived",
    "damaged",
    "in_order",
    "missing",
    "read_partition",
]

SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.large_string()),
        pa.field("ts", pa.float64()),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("key", pa.large_binary(), nullable=False),
        pa.field("value", pa.large_binary(), nullable=False),
    ]
)
"""One row a message: ``value`` is its bytes as they were; ``id`` and ``ts`` are null where it could not be read."""

DAMAGED: Final = ".damaged"
"""What a damaged file's name ends in, after a `_` before it: it is kept, but neither read nor taken for archived."""

_NAME: Final = re.compile(r".+\+(?P<partition>\d+)\+(?P<first>\d+)\+(?P<last>\d+)\.parquet(?P<aside>\.damaged(-\d+)?)?")
_DAY: Final = "dt="
_ROWS: Final = 8192

OnFault = Callable[["ArchiveFile", str], object]
"""Is told of a file that cannot be read, and why."""


class Days(NamedTuple):
    """From one day to another, both included, as YYYY-MM-DD."""

    since: str = ""
    until: str = "9999"


EVERY_DAY: Final = Days()


class Stretch(NamedTuple):
    """Offsets of a partition, the last included."""

    partition: int
    first: int
    last: int


class ArchiveFile(NamedTuple):
    """A file of an archive, as its name tells.

    Attributes
    ----------
    path, day
        Where it lies, and the day of its events in UTC, as YYYY-MM-DD.
    held
        The offsets between which all its messages lie.
    """

    path: Path
    day: str
    held: Stretch

    @classmethod
    def of(cls, path: Path) -> "ArchiveFile | None":
        """Read a file's name; None for another file. One that was put aside tells what it held."""
        name = _NAME.fullmatch(path.name)
        if name is None or not path.parent.name.startswith(_DAY):
            return None
        held = Stretch(int(name["partition"]), int(name["first"]), int(name["last"]))
        return cls(path, path.parent.name.removeprefix(_DAY), held)


def archived(folder: Path, days: Days = EVERY_DAY) -> list[ArchiveFile]:
    """List the files of a stream's folder, by partition and offset.

    Parameters
    ----------
    folder
        ``DIR/STREAM``; nothing lies in one that is missing.
    days
        Only files of these.
    """
    # A folder that changes while it is listed may show neither a new file nor those that it was made of. What is missing in
    # two lists that agree is missing.
    found, before = _listed(folder, ".parquet", days), None
    while found != before:
        found, before = _listed(folder, ".parquet", days), found
    return found


def damaged(folder: Path, days: Days = EVERY_DAY) -> list[ArchiveFile]:
    """List the files of a stream's folder that were put aside."""
    return _listed(folder, f".parquet{DAMAGED}*", days)


def _listed(folder: Path, suffix: str, days: Days) -> list[ArchiveFile]:
    within = [each for each in folder.glob(f"{_DAY}*") if days.since <= each.name.removeprefix(_DAY) <= days.until]
    files = (ArchiveFile.of(path) for day in within for path in day.glob(f"*{suffix}"))
    return sorted((file for file in files if file is not None), key=lambda file: (file.held, file.path))


def missing(folder: Path, days: Days = EVERY_DAY) -> list[Stretch]:
    """Give the offsets that only damaged files hold, in order."""
    broken = damaged(folder, days)
    if not broken:
        return []
    there = archived(folder)
    lacking: set[Stretch] = set()
    for _, day, (partition, first, last) in broken:
        gone = np.arange(first, last + 1)
        for file in there:
            _, begin, end = file.held
            if file.held.partition == partition and begin <= last and first <= end:
                # Between two offsets of a day there may be some of another: only those that are there count for that one.
                held = np.arange(begin, end + 1) if file.day == day else _offsets(file.path)
                gone = np.setdiff1d(gone, held, assume_unique=True)
        for run in np.split(gone, np.flatnonzero(np.diff(gone) > 1) + 1):
            if run.size:
                lacking.add(Stretch(partition, int(run[0]), int(run[-1])))
    return sorted(lacking)


def _offsets(path: Path) -> Any:
    try:
        with pq.ParquetFile(path) as file:
            return as_array(file.read(columns=["offset"])["offset"])
    except (OSError, pa.ArrowException):
        return np.array([], dtype=np.int64)


def read_partition(
    folder: Path, partition: int, begin: int = 0, days: Days = EVERY_DAY, *, on_fault: OnFault | None = None
) -> Iterator[pa.RecordBatch]:
    """Give what an archive holds of a partition, from the offset ``begin`` on, in order of offsets, each of them once.

    Files may be put together, or expire, meanwhile.

    Parameters
    ----------
    folder
        ``DIR/STREAM``.
    days
        Only files of these.
    on_fault
        Is told of a file that cannot be read; the others are read on. By default the error is raised.

    Raises
    ------
    StreamError
        A file cannot be read.
    """
    while True:
        files = archived(folder, days)
        try:
            for batch in in_order([f for f in files if f.held.partition == partition], begin, on_fault=on_fault):
                yield batch
                begin = batch["offset"][-1].as_py() + 1
        except FileNotFoundError:  # its messages lie in another file by now
            continue
        return


def in_order(
    files: Iterable[ArchiveFile], begin: int = 0, *, on_fault: OnFault | None = None
) -> Iterator[pa.RecordBatch]:
    """Give what files of one partition hold from an offset on, in order of offsets, each of them once.

    Of files that lie behind one another only one is open at a time.

    Raises
    ------
    FileNotFoundError
        A file is not there any more.
    StreamError
        A file cannot be read, and nobody wants to be told.
    """
    waiting = sorted((f for f in files if f.held.last >= begin), key=lambda f: (f.held.first, f.path), reverse=True)
    cursors: list[_Cursor] = []
    try:
        while waiting or cursors:
            reached = min((cursor.at for cursor in cursors), default=None)
            while waiting and (reached is None or waiting[-1].held.first <= reached):
                cursor = _Cursor(waiting.pop(), on_fault)
                if cursor.skip(begin):
                    cursors.append(cursor)
                    reached = cursor.at if reached is None else min(reached, cursor.at)
            if not cursors:
                continue
            lead = min(cursors, key=lambda each: each.at)
            bounds = [cursor.first_beside(lead.offsets) for cursor in cursors if cursor is not lead]
            batch = lead.take(min(bounds + [file.held.first for file in waiting[-1:]], default=None))
            begin = batch["offset"][-1].as_py() + 1
            yield batch
            cursors = [cursor for cursor in cursors if cursor.skip(begin)]
    finally:
        for cursor in cursors:
            cursor.close()


class _Cursor:
    """A place in one file."""

    def __init__(self, file: ArchiveFile, on_fault: OnFault | None) -> None:
        self._file = file
        self._on_fault = on_fault
        self._batch: pa.RecordBatch | None = None
        self.offsets: NDArray[np.int64] = np.array([], dtype=np.int64)
        self._open: pq.ParquetFile | None = None
        self._batches: Iterator[pa.RecordBatch] = iter(())
        try:
            # With a buffer of its own it would keep what it has read of the file until it is closed.
            self._open = pq.ParquetFile(file.path, page_checksum_verification=True, pre_buffer=False)
            if not self._open.schema_arrow.equals(SCHEMA):
                raise pa.ArrowInvalid("it has other columns than an archive has")
            self._batches = self._open.iter_batches(batch_size=_ROWS)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            self._fail(error)

    @property
    def at(self) -> int:
        return int(self.offsets[0])

    def skip(self, begin: int) -> bool:
        """Go to the first message from an offset on; tell whether there is one."""
        while True:
            at = int(np.searchsorted(self.offsets, begin))
            if at < self.offsets.size:
                if at:
                    assert self._batch is not None  # noqa: S101 - it has offsets
                    self._batch, self.offsets = self._batch.slice(at), self.offsets[at:]
                return True
            try:
                self._batch = next(self._batches, None)
            except (OSError, pa.ArrowException) as error:
                self._fail(error)
                self._batch = None
            if self._batch is None:
                self.close()
                return False
            self.offsets = as_array(self._batch["offset"])

    def take(self, until: int | None) -> pa.RecordBatch:
        """Give the messages at hand that lie before an offset; the caller skips them."""
        assert self._batch is not None  # noqa: S101 - `skip` found one
        return self._batch if until is None else self._batch.slice(0, int(np.searchsorted(self.offsets, until)))

    def first_beside(self, others: "NDArray[np.int64]") -> int:
        """Give the first offset at hand that is not among the others."""
        beside = ~np.isin(self.offsets, others)
        return int(self.offsets[beside.argmax()]) if beside.any() else int(self.offsets[-1]) + 1

    def close(self) -> None:
        if self._open is not None:
            self._open.close()

    def _fail(self, error: Exception) -> None:
        reason = " ".join(str(error).split())
        if self._on_fault is None:
            raise StreamError(
                f"{self._file.path} cannot be read: {reason}; `birdwatch archive verify --put-aside` leaves it out"
            ) from error
        self._on_fault(self._file, reason)
