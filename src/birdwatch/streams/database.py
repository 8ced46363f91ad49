"""SQLite files that many processes write at once, and what consumer groups keep in one of them."""

import os
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import apsw

from birdwatch.disk import disk_full
from birdwatch.errors import StreamError
from birdwatch.streams.base import Partition, Positions
from birdwatch.streams.damage import DamagedEndError, add_sums

__all__ = ["Database", "GroupOffsets", "naming", "stream_error"]

_LOCKED_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 0.0005
_TRIM_PAGES: Final = 4000
_TRIM_MILLISECONDS: Final = 10


class Database:
    """One file in WAL mode, opened when it is first used; one thread at a time.

    Parameters
    ----------
    path
        The file.
    schema
        The statement that makes its table; a file that is missing is made by `writable`, never by `readable`.
    synchronous
        How far a transaction reaches before it counts: ``normal``, the system; ``full``, the disk.
    opened
        Looks at the file once it is open, before it is used.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        synchronous: str = "normal",
        opened: Callable[[apsw.Connection, Path], None] = lambda *_: None,
    ) -> None:
        self.path = path
        self._opened = opened
        self._schema = schema
        self._synchronous = synchronous
        self._connection: apsw.Connection | None = None
        self._inode = 0
        self._trim_at = _TRIM_PAGES

    def readable(self) -> apsw.Connection | None:
        """Open the file, or give None while it does not exist."""
        if self._connection is None and self.path.exists():
            connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                connection.set_busy_handler(_wait)
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
                connection.set_wal_hook(self._committed)
                self._opened(connection, self.path)
            except BaseException:
                connection.close()
                raise
            self._connection, self._inode = connection, self.path.stat().st_ino
        return self._connection

    def is_replaced(self, *, or_gone: bool = False) -> bool:
        """Tell whether another file has the name by now, or none: what is open is nobody else's any more."""
        if self._connection is None:
            return False
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return or_gone

    def writable(self) -> apsw.Connection:
        """Open the file, and make it first if it is missing."""
        connection = self.readable()
        while connection is None:
            self._create()
            connection = self.readable()
        return connection

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _committed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        """Have the write-ahead log trimmed when it has become long, beside the appends.

        SQLite would do it by itself in the midst of one, and wait there for the disk: tens of milliseconds, for all that
        is being asked meanwhile.
        """
        if pages < _TRIM_PAGES:  # it has begun anew
            self._trim_at = _TRIM_PAGES
        elif pages >= self._trim_at:
            self._trim_at = pages + _TRIM_PAGES  # when to try again, should it not begin anew
            threading.Thread(target=self._trim, name="trim", daemon=True).start()
        return apsw.SQLITE_OK

    def _trim(self) -> None:
        # Another may be at it just now, and the folder may be gone.
        with suppress(apsw.Error), closing(apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)) as own:
            own.execute("PRAGMA schema_version").get  # noqa: B018 - only one that has read knows of the log
            own.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)  # nobody waits for the bulk
            own.set_busy_timeout(_TRIM_MILLISECONDS)
            own.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)  # appends wait for the rest, as long as this

    def _create(self) -> None:
        """Put the file in its place complete: the loser of a race uses the winner's, nobody sees half a schema."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}")
        try:
            with closing(apsw.Connection(str(draft))) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(self._schema)
            with suppress(FileExistsError):
                os.link(draft, self.path)
        finally:
            for path in (draft, draft.with_name(f"{draft.name}-wal"), draft.with_name(f"{draft.name}-shm")):
                path.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


class GroupOffsets:
    """What the consumer groups of one place have committed; threads may share it.

    Parameters
    ----------
    path
        A file of its own, made at the first commit.
    """

    def __init__(self, path: Path) -> None:
        # fmt: off
        schema = 'CREATE TABLE offsets ("group" TEXT, stream TEXT, next INTEGER NOT NULL, sum INTEGER, PRIMARY KEY ("group", stream)) STRICT'
        # fmt: on
        self._database = Database(path, schema, opened=lambda connection, _: add_sums(connection, "offsets"))
        self._lock = threading.Lock()

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; streams without a commit are left out."""
        with self._lock, naming(self._database.path):
            connection = self._database.readable()
            if connection is None:
                return {}
            rows: Any = connection.execute(
                'SELECT stream, next, sum FROM offsets WHERE "group" = ?', (group,)
            ).fetchall()
            if any(stored not in {None, _offset_sum(group, stream, offset)} for stream, offset, stored in rows):
                raise apsw.CorruptError("an offset has a wrong sum")
            return {Partition(stream): offset for stream, offset, _ in rows if stream in streams}

    def commit(self, group: str, positions: Positions) -> None:
        """Keep the positions of a group, all of them or none."""
        rows = [(group, at.stream, offset, _offset_sum(group, at.stream, offset)) for at, offset in positions.items()]
        with self._lock, naming(self._database.path), self._database.writable() as connection:
            connection.executemany("REPLACE INTO offsets VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._database.close()


def _offset_sum(group: str, stream: str, offset: object) -> int:
    return zlib.crc32(f"{group}\0{stream}\0{offset}".encode())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say inside the block into a `StreamError` that names the file."""
    try:
        yield
    except (apsw.Error, OSError, DamagedEndError) as error:
        raise stream_error(error, path) from error


def stream_error(error: Exception, path: Path) -> StreamError:
    """Say in our words what SQLite or the file system said about a file."""
    full = disk_full(error, path)
    if full is not None:
        return full
    if isinstance(error, apsw.BusyError):
        return StreamError(f"{path} has been locked by another process for {_LOCKED_SECONDS:.0f} s")
    if isinstance(error, apsw.NotADBError):
        return StreamError(f"{path} is not a stream: it is no SQLite file, or its beginning is damaged{_remedy(path)}")
    if isinstance(error, apsw.CorruptError | DamagedEndError) or "no such table" in str(error):  # it was cut to nothing
        return StreamError(f"{path} is damaged{_remedy(path)}")
    return StreamError(f"{path}: {error}")


def _remedy(path: Path) -> str:
    if path.name.startswith("."):  # what the groups have committed
        return "; move it away: the groups then read from their beginnings again"
    return f": it cannot be told where it ends. Stop what writes to it, then `birdwatch streams mend --streams sqlite:{path.parent} {path.stem}`"


def _wait(tries: int) -> bool:
    """Wait for another's lock in short steps: an append takes a fraction of a millisecond, SQLite sleeps up to 100."""
    time.sleep(_RETRY_SECONDS)
    return tries * _RETRY_SECONDS < _LOCKED_SECONDS
