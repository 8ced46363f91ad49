"""The sums of an archive's files: ``_SHA256SUMS`` in each day's folder, as ``sha256sum --check`` reads it.

A file's sum is written before the file has its name: one without a sum was written before there were any.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["SUMS", "add_sum", "keep_sums", "sums_of", "sync"]

SUMS: Final = "_SHA256SUMS"
"""The underscore hides it from those who read a folder of Parquet, such as pandas and Spark."""

_LINE: Final = re.compile(r"(?P<sum>[0-9a-f]{64})  (?P<name>.+)")


def add_sum(folder: Path, draft: Path, name: str) -> None:
    """Write the sum of a file that is to get a name."""
    with draft.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    # The line break comes first: a line that another could not finish, for want of room, stays one of its own.
    with _alone(folder), (folder / SUMS).open("ab") as sums:
        sums.write(f"\n{digest}  {name}\n".encode())
        sums.flush()
        os.fsync(sums.fileno())


def sums_of(folder: Path) -> dict[str, set[str]]:
    """Give the sums of a folder's files; one that was written twice has two."""
    found: dict[str, set[str]] = {}
    if (folder / SUMS).exists():
        for line in (folder / SUMS).read_text(errors="replace").splitlines():
            entry = _LINE.fullmatch(line)
            if entry:
                found.setdefault(entry["name"], set()).add(entry["sum"])
    return found


def keep_sums(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Forget the sums of files that are gone, by their names."""
    if not (folder / SUMS).exists():
        return
    with _alone(folder):
        lines = [
            f"{digest}  {name}" for name, many in sums_of(folder).items() if wanted(name) for digest in sorted(many)
        ]
        draft = folder / f".{SUMS}"
        draft.write_text("".join(f"{line}\n" for line in lines))
        sync(draft)
        draft.replace(folder / SUMS)
        sync(folder)


def sync(path: Path) -> None:
    """See to it that a file, or what a folder lists, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
