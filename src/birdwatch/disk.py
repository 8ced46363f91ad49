"""What to say of a full disk: the file, the space left, and that nothing was deleted for it."""

import errno
import os
from pathlib import Path
from typing import Final

import apsw

from birdwatch.errors import DiskFullError

__all__ = ["disk_full"]

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_NOTHING_BYTES: Final = 64 * 1024


def disk_full(error: Exception, path: Path) -> DiskFullError | None:
    """Turn what SQLite or the file system said about a file into a `DiskFullError`, or give None if it means another thing.

    SQLite calls it an I/O error, or a file that cannot be opened, when there is no room for a file beside its own: what
    the disk has left tells these apart.
    """
    left = _left(path)
    full = isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno in _FULL)
    if not full and not (isinstance(error, apsw.IOError | apsw.CantOpenError) and left < _NOTHING_BYTES):
        return None
    return DiskFullError(
        f"the disk is full: {path} could not be written, {left // 1024:,} kB are left. Nothing was deleted; make room,"
        f" and what runs goes on by itself"
    )


def _left(path: Path) -> int:
    """Give the bytes that a process may still write where a file lies, or will."""
    there = next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
    disk = os.statvfs(there)
    return disk.f_bavail * disk.f_frsize
