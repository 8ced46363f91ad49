"""Streams on one machine: ``sqlite:DIR``, one SQLite file a stream, many processes at once.

A log in WAL mode is durable against the death of any process (``kill -9``) and, with ``?synchronous=full``, against the
loss of power as well. It lives on a local disk: WAL shares memory between its processes. Each stream has one partition;
an offset is the row's number, from 0, without gaps.

The folder holds ``NAME.db`` for each stream and ``.offsets.db`` with what the groups have committed.
"""

import difflib
import os
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import apsw

from birdwatch.errors import AddressError, StreamError
from birdwatch.streams.base import Message, Partition, Positions
from birdwatch.streams.local import LocalReader, Log

__all__ = ["SqliteStreams"]

# STRICT, so that text is refused rather than read back as something that is not bytes. The key of the table is the
# offset plus one: rows are never deleted, so SQLite numbers them 1, 2, 3 … without gaps.
_MESSAGES: Final = "CREATE TABLE messages (id INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB NOT NULL) STRICT"
_OFFSETS: Final = (
    'CREATE TABLE offsets ("group" TEXT, stream TEXT, next INTEGER NOT NULL, PRIMARY KEY ("group", stream)) STRICT'
)
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_OPTIONS: Final = {"synchronous": ("normal", "full")}

_LOCKED_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 0.0005


class SqliteStreams:
    """Streams in a folder of SQLite files; threads may share one object.

    Parameters
    ----------
    address
        ``sqlite:DIR``, made at the first append; ``sqlite:DIR?synchronous=full`` waits at every append until the disk
        has it.

    Raises
    ------
    AddressError
        An option of the address is unknown, or has an unknown value.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._folder, self._synchronous = _parse(address)
        self._lock = threading.Lock()
        self._open: dict[Path, apsw.Connection] = {}

    def append(self, stream: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
        """Write (key, value) pairs in one transaction: all of them or none."""
        rows = list(messages)
        path = self._path(stream)
        if not rows:
            return
        with self._lock, _named(path):
            connection = self._connect(path, _MESSAGES)
            # Immediate: the lock is waited for here, where waiting is allowed, and not in the midst of writing.
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("INSERT INTO messages (key, value) VALUES (?, ?)", rows)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def reader(
        self, streams: Sequence[str], *, group: str | None = None, start: Literal["earliest", "latest"] = "earliest"
    ) -> LocalReader:
        """Open a reader; it takes up streams that do not exist yet when they appear."""
        logs: dict[str, Log] = {stream: _SqliteLog(stream, self._path(stream)) for stream in streams}
        begin = dict.fromkeys(map(Partition, streams), 0)
        if start == "latest":
            begin |= self.ends(streams)
        if group is None:
            return LocalReader(logs, begin, None)
        return LocalReader(logs, begin | self.committed(group, streams), partial(self._commit, group))

    def names(self) -> list[str]:
        """Name the streams that exist, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.db") if _NAME.fullmatch(path.stem))

    def ends(self, streams: Sequence[str]) -> Positions:
        """Give the offset that each stream's next message will have; streams that do not exist are left out."""
        found: Positions = {}
        for stream in streams:
            path = self._path(stream)
            if path.exists():
                with self._lock, _named(path):
                    newest = self._connect(path, _MESSAGES).execute("SELECT max(id) FROM messages").get
                    found[Partition(stream)] = newest or 0
        return found

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; streams without a commit are left out."""
        path = self._folder / ".offsets.db"
        if not path.exists():
            return {}
        with self._lock, _named(path):
            rows = self._connect(path, _OFFSETS).execute('SELECT stream, next FROM offsets WHERE "group" = ?', (group,))
            return {Partition(stream): offset for stream, offset in rows if stream in streams}

    def close(self) -> None:
        """Close the files that were written; readers close their own."""
        with self._lock:
            for connection in self._open.values():
                connection.close()
            self._open.clear()

    def _commit(self, group: str, positions: Positions) -> None:
        path = self._folder / ".offsets.db"
        rows = [(group, partition.stream, offset) for partition, offset in positions.items()]
        with self._lock, _named(path):
            connection = self._connect(path, _OFFSETS)
            with connection:
                connection.executemany("REPLACE INTO offsets VALUES (?, ?, ?)", rows)

    def _connect(self, path: Path, schema: str) -> apsw.Connection:
        connection = self._open.get(path)
        if connection is None:
            if not path.exists():
                _create(path, schema)
            connection = self._open[path] = _open(path)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection

    def _path(self, stream: str) -> Path:
        if not _NAME.fullmatch(stream):
            raise StreamError(
                f"{stream!r} cannot name a stream in {self.address}: write letters, digits, '_', '-' and '.'"
            )
        return self._folder / f"{stream}.db"


class _SqliteLog:
    def __init__(self, stream: str, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._connection: apsw.Connection | None = None
        self._drained: tuple[int, object] | None = None

    def exists(self) -> bool:
        return self._connection is not None or self._path.exists()

    def read(self, offset: int, limit: int, *, stalled: bool) -> tuple[list[Message], int]:
        del stalled  # what is there is whole
        if not self.exists():
            return [], offset
        try:
            return self._read(offset, limit)
        except apsw.Error as error:
            raise _explain(error, self._path) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, offset: int, limit: int) -> tuple[list[Message], int]:
        if self._connection is None:
            self._connection = _open(self._path)
        # Looking for another's commit costs a third of looking for rows, and most looks find nothing.
        state = (offset, self._connection.execute("PRAGMA data_version").get)
        if self._drained == state:
            return [], offset
        # All rows are fetched at once: a transaction left open would keep writers from trimming the log.
        rows: list[Any] = self._connection.execute(
            "SELECT id, key, value FROM messages WHERE id > ? ORDER BY id LIMIT ?", (offset, limit)
        ).fetchall()
        if not rows:
            self._drained = state
            return [], offset
        return [Message(self._stream, 0, number - 1, key, value) for number, key, value in rows], rows[-1][0]


def _parse(address: str) -> tuple[Path, str]:
    place, _, query = address.removeprefix("sqlite:").partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS:
            near = difflib.get_close_matches(name, _OPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_OPTIONS)}"
            raise AddressError(f"{address!r} has the unknown option {name!r}: {hint}")
        if value.lower() not in _OPTIONS[name]:
            raise AddressError(f"{address!r} sets {name} to {value!r}: write {' or '.join(_OPTIONS[name])}")
    if not place:
        raise AddressError(f"{address!r} names no folder: write sqlite:DIR")
    return Path(place).expanduser(), options.get("synchronous", "normal").lower()


def _create(path: Path, schema: str) -> None:
    """Put a new file in its place complete: the loser of a race uses the winner's, and nobody sees half a schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    connection = apsw.Connection(str(draft))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(schema)
    connection.close()
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _open(path: Path) -> apsw.Connection:
    with _named(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_handler(_wait)
        return connection


def _wait(tries: int) -> bool:
    """Wait for another process's lock in short steps: appends take a fraction of a millisecond, SQLite sleeps up to 100."""
    time.sleep(_RETRY_SECONDS)
    return tries * _RETRY_SECONDS < _LOCKED_SECONDS


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into a `StreamError` that names the file."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise _explain(error, path) from error


def _explain(error: Exception, path: Path) -> StreamError:
    if isinstance(error, apsw.BusyError):
        return StreamError(f"{path} has been locked by another process for {_LOCKED_SECONDS:.0f} s")
    if isinstance(error, apsw.NotADBError):
        return StreamError(f"{path} is not a stream: it is no SQLite file")
    return StreamError(f"{path}: {error}")
