"""Finds damaged files in an archive and puts them aside: renamed, never deleted, so that their offsets are archived again."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from birdwatch.archive.sums import SUMS, sums_of
from birdwatch.streams.parquet import DAMAGED, SCHEMA, ArchiveFile, Stretch

__all__ = ["Finding", "put_aside", "verify"]


class Finding(NamedTuple):
    """A damaged file, and what is wrong with it."""

    path: Path
    reason: str


def verify(directory: Path, *, full: bool = True) -> Iterator[Finding]:
    """Look through an archive, or one stream's folder in it, file by file.

    Parameters
    ----------
    directory
        The archive.
    full
        Read every byte; otherwise only the end of each file, which one that was cut short does not have.

    Yields
    ------
    Finding
        For each damaged file, in the order of their names.
    """
    for folder, files in itertools.groupby(sorted(directory.rglob("*.parquet")), key=lambda path: path.parent):
        sums = sums_of(folder) if full else {}
        for path in files:
            file = ArchiveFile.of(path)
            reason = None if file is None else _fault(path, file.held, sums.get(path.name, set()), full=full)
            if reason is not None:
                yield Finding(path, reason)


def put_aside(path: Path) -> Path:
    """Rename a damaged file, so that nobody reads it, and give its new name."""
    for tries in itertools.count():
        # The underscore hides it from those who read a folder of Parquet, such as pandas and Spark.
        aside = path.with_name(f"_{path.name}{DAMAGED}{f'-{tries}' if tries else ''}")
        try:
            os.link(path, aside)  # unlike a rename, it never takes another file's place
        except FileExistsError:
            continue
        path.unlink()
        return aside
    raise AssertionError


def _fault(path: Path, held: Stretch, sums: set[str], *, full: bool) -> str | None:
    try:
        if sums:
            with path.open("rb") as content:
                right = hashlib.file_digest(content, "sha256").hexdigest() in sums
            return None if right else f"its sum is not the one in {SUMS}"
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(SCHEMA):
                return "it has other columns than an archive has"
            if not 0 < file.metadata.num_rows <= held.last - held.first + 1:
                return f"{file.metadata.num_rows} rows cannot be the offsets from {held.first} to {held.last}"
            if full:
                offsets = file.read().column("offset").to_pylist()
                if (min(offsets), max(offsets)) != (held.first, held.last):
                    return f"it holds the offsets from {min(offsets)} to {max(offsets)}"
    except (OSError, pa.ArrowException, ValueError) as error:
        return " ".join(str(error).split())
    return None
