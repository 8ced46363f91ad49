"""Puts the many small files of a day together, and lets days expire: killed at any moment, nothing is lost.

The new file has its name before those that it was made of lose theirs, and its name tells the same offsets. In between,
messages lie in two files; readers give each once (`birdwatch.streams.parquet`).
"""

import fcntl
import itertools
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from birdwatch.archive.sums import SUMS, add_sum, keep_sums, sync
from birdwatch.disk import disk_full
from birdwatch.errors import DiskFullError, StreamError
from birdwatch.streams.parquet import SCHEMA, ArchiveFile, Days, archived, damaged, in_order, missing

__all__ = ["Compacted", "Expired", "compact", "expire"]

_DRAFT: Final = ".together-"
_LOCK: Final = ".lock"
_ROWS_IN_A_GROUP: Final = 65_536


class Compacted(NamedTuple):
    """What became of the files of a stream, a day and a partition.

    Attributes
    ----------
    path
        The new file; None where they were left alone.
    files, rows
        How many files there were, and how many messages they hold.
    why
        Why they were left alone.
    """

    stream: str
    day: str
    partition: int
    path: Path | None
    files: int
    rows: int
    why: str = ""


class Expired(NamedTuple):
    """A file of a day that has expired; ``kept`` where it tells where the stream has been archived up to."""

    stream: str
    file: ArchiveFile
    bytes: int
    kept: bool


def compact(directory: Path, streams: Sequence[str], *, before_day: str = "9999") -> Iterator[Compacted]:
    """Put the files of each day and partition together, where there are several.

    Parameters
    ----------
    directory
        The archive.
    streams
        Which of its streams.
    before_day
        Only days before this one, YYYY-MM-DD.

    Yields
    ------
    Compacted
        For each day and partition with more than one file.

    Raises
    ------
    StreamError
        Another process puts files together, or lets them expire.
    DiskFullError
        There is no room. What there was is untouched.
    """
    for stream in streams:
        folder = directory / stream
        with _alone(folder):
            for draft in folder.glob(f"dt=*/{_DRAFT}*"):
                draft.unlink(missing_ok=True)
            listed = [file for file in archived(folder) if file.day < before_day]
            for (day, partition), group in itertools.groupby(sorted(listed, key=_place), key=_place):
                files = sorted(group, key=lambda file: file.held)
                if len(files) > 1:
                    yield _compact(folder, day, partition, files)


def _place(file: ArchiveFile) -> tuple[str, int]:
    return file.day, file.held.partition


def _compact(folder: Path, day: str, partition: int, files: list[ArchiveFile]) -> Compacted:
    left = Compacted(folder.name, day, partition, None, len(files), 0)
    first, last = min(file.held.first for file in files), max(file.held.last for file in files)
    # The new name would say that it holds them too, and nobody would archive them again.
    if any(
        each.partition == partition and first <= each.last and each.first <= last
        for each in missing(folder, Days(day, day))
    ):
        return left._replace(why="what a damaged file held is not archived again yet")
    try:
        made_by = [pq.read_schema(file.path).metadata or {} for file in files]
    except (OSError, pa.ArrowException) as error:
        return left._replace(why=" ".join(str(error).split()))
    if any(said != made_by[0] for said in made_by):
        return left._replace(why="they were made in different ways, as by other redactions")
    place = folder / f"dt={day}"
    path = place / f"{folder.name}+{partition}+{first:012d}+{last:012d}.parquet"
    draft = place / f"{_DRAFT}{uuid.uuid4().hex}"
    try:
        rows = _write(draft, files, SCHEMA.with_metadata(made_by[0] or None))
        sync(draft)
        add_sum(place, draft, path.name)
        draft.replace(path)  # if one of them has that name already, it holds no more than this
        sync(place)
    except DiskFullError:
        raise
    except StreamError as error:
        return left._replace(why=str(error))
    except OSError as error:
        full = disk_full(error, path)
        if full is not None:
            raise full from error
        return left._replace(why=str(error))
    finally:
        draft.unlink(missing_ok=True)
    for file in files:
        if file.path != path:
            file.path.unlink()
    sync(place)
    _forget_sums(place)
    return left._replace(path=path, rows=rows)


def _write(draft: Path, files: list[ArchiveFile], schema: pa.Schema) -> int:
    rows, waiting, number = 0, [], 0
    with pq.ParquetWriter(draft, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in in_order(files):
            waiting.append(batch.replace_schema_metadata(schema.metadata))
            number += batch.num_rows
            if number >= _ROWS_IN_A_GROUP:
                writer.write_table(pa.Table.from_batches(waiting, schema=schema))
                rows, waiting, number = rows + number, [], 0
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, schema=schema))
    return rows + number


def expire(directory: Path, streams: Sequence[str], *, before_day: str, dry_run: bool = False) -> Iterator[Expired]:
    """Delete what lies in the folders of days before one, damaged files too.

    Of each partition the file with the highest offset is kept, whatever its day: its name tells where archiving goes on.

    Raises
    ------
    StreamError
        Another process puts files together, or lets them expire.
    """
    for stream in streams:
        folder = directory / stream
        with _alone(folder):
            files = [*archived(folder), *damaged(folder)]
            newest: dict[int, ArchiveFile] = {}
            for file in files:
                held = newest.setdefault(file.held.partition, file)
                if file.held.last > held.held.last:
                    newest[file.held.partition] = file
            for day, group in itertools.groupby(sorted(files, key=lambda f: (f.day, f.path)), key=lambda f: f.day):
                if day >= before_day:
                    break
                for file in group:
                    kept, size = file == newest[file.held.partition], file.path.stat().st_size
                    if not kept and not dry_run:
                        file.path.unlink()
                    yield Expired(stream, file, size, kept)
                if not dry_run:
                    _tidy(folder / f"dt={day}")


def _tidy(place: Path) -> None:
    """Forget the sums of what is gone, and an empty folder."""
    _forget_sums(place)
    if {path.name for path in place.iterdir()} == {SUMS} and not (place / SUMS).read_text().strip():
        (place / SUMS).unlink()
    if not any(place.iterdir()):
        place.rmdir()
    else:
        sync(place)


def _forget_sums(place: Path) -> None:
    there = {path.name.partition(".parquet")[0] + ".parquet" for path in place.iterdir()}
    keep_sums(place, there.__contains__)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StreamError(
                f"another process puts files of {folder} together, or lets them expire: try again when it has ended"
            ) from error
        yield
