"""Streams on one machine: ``sqlite:DIR``, one SQLite file a stream, many processes at once.

A log in WAL mode is durable against the death of any process (``kill -9``) and, with ``?synchronous=full``, against the
loss of power as well. It lives on a local disk: WAL shares memory between its processes. A process opens its own; what
is open does not survive a fork. Each stream has one partition; an offset is the row's number, from 0, without gaps.

The folder holds ``NAME.db`` for each stream and ``.offsets.db`` with what the groups have committed.
"""

import difflib
import re
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import apsw

from birdwatch.errors import AddressError, StreamError
from birdwatch.streams.base import Headers, Message, OnLost, Partition, Positions
from birdwatch.streams.bell import Bell, ring
from birdwatch.streams.damage import SCHEMA, UNREADABLE, DamagedEndError, end_of, sound, step_over, summed
from birdwatch.streams.database import Database, GroupOffsets, naming, stream_error
from birdwatch.streams.local import LocalReader, LocalStreams, Log
from birdwatch.streams.salvage import look_over

__all__ = ["SqliteStreams"]

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_OPTIONS: Final = {"synchronous": ("normal", "full")}


class SqliteStreams(LocalStreams):
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
        self._offsets = GroupOffsets(self._folder / ".offsets.db")
        self._lock = threading.Lock()
        self._open: dict[str, Database] = {}
        self._ends: dict[str, int] = {}

    def append(
        self, stream: str, messages: Iterable[tuple[bytes, bytes]], *, headers: Iterable[Headers] | None = None
    ) -> None:
        """Write (key, value) pairs in one transaction: all of them or none; headers are left out."""
        del headers
        rows = list(messages)
        with self._lock:
            database = self._database(stream)
            if not rows:
                return
            with naming(database.path):
                connection = database.writable()
                # Immediate: the lock is waited for here, where waiting is allowed, and not in the midst of writing.
                connection.execute("BEGIN IMMEDIATE")
                try:
                    first = self._end(stream, connection) + 1
                    connection.executemany(
                        "INSERT INTO messages (key, value, sum) VALUES (?, ?, ?)", summed(first, rows)
                    )
                    connection.execute("COMMIT")
                except TypeError as error:
                    connection.execute("ROLLBACK")
                    raise StreamError(f"{database.path} takes keys and values of bytes: {error}") from error
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
        ring(database.path)

    def broadcast(self, stream: str, key: bytes, value: bytes) -> None:
        """Write one message to the stream's one partition."""
        self.append(stream, [(key, value)])

    def reader(
        self,
        streams: Sequence[str],
        *,
        group: str | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        on_lost: OnLost = "earliest",
    ) -> LocalReader:
        """Open a reader; it takes up streams that do not exist yet when they appear."""
        logs: dict[Partition, Log] = {
            Partition(stream): _SqliteLog(stream, Database(self._path(stream), SCHEMA, opened=look_over))
            for stream in streams
        }
        begin = dict.fromkeys(map(Partition, streams), 0)
        if start == "latest":
            begin |= self.ends(streams)
        bell = Bell(map(self._path, streams))
        if group is None:
            return LocalReader(logs, begin, None, on_lost=on_lost, bell=bell)
        keep, committed = partial(self._offsets.commit, group), self.committed(group, streams)
        return LocalReader(logs, begin, keep, committed=committed, on_lost=on_lost, bell=bell)

    def names(self) -> list[str]:
        """Name the streams that exist, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.db") if _NAME.fullmatch(path.stem))

    def ends(self, streams: Sequence[str]) -> Positions:
        """Give the offset that each stream's next message will have; streams that do not exist are left out."""
        found: Positions = {}
        with self._lock:
            for stream in streams:
                database = self._database(stream)
                with naming(database.path):
                    connection = database.readable()
                    if connection is not None:
                        found[Partition(stream)] = end_of(connection)
        return found

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; streams without a commit are left out."""
        return self._offsets.committed(group, streams)

    def close(self) -> None:
        """Close the files that were written; readers close their own."""
        self._offsets.close()
        with self._lock:
            for database in self._open.values():
                database.close()

    def _database(self, stream: str) -> Database:
        if stream not in self._open:
            self._open[stream] = Database(self._path(stream), SCHEMA, self._synchronous, look_over)
        if self._open[stream].is_replaced(or_gone=True):
            self._open[stream].close()  # what is written there nobody would see
            self._ends.pop(stream, None)
        return self._open[stream]

    def _end(self, stream: str, connection: apsw.Connection) -> int:
        """Give the last number of a log; what this object has seen once cannot have become less."""
        seen = self._ends.get(stream)
        end = end_of(connection) if seen is None else connection.execute("SELECT max(id) FROM messages").get or 0
        if seen is not None and end < seen:
            raise DamagedEndError
        self._ends[stream] = end
        return end

    def _path(self, stream: str) -> Path:
        if not _NAME.fullmatch(stream):
            raise StreamError(
                f"{stream!r} cannot name a stream in {self.address}: write letters, digits, '_', '-' and '.'"
            )
        return self._folder / f"{stream}.db"


class _SqliteLog:
    def __init__(self, stream: str, database: Database) -> None:
        self._stream = stream
        self._database = database
        self._drained: tuple[int, object] | None = None
        self.damaged: list[tuple[int, int]] = []

    def exists(self) -> bool:
        return self._database.path.exists()

    def read(self, offset: int, limit: int, *, stalled: bool) -> tuple[list[Message], int]:
        del stalled  # what is there is whole
        # Without the context manager: this runs every millisecond.
        try:
            return self._read(offset, limit)
        except (apsw.Error, DamagedEndError) as error:
            raise stream_error(error, self._database.path) from error

    def renewed(self, offset: int) -> int | None:
        del offset
        if not self._database.is_replaced():
            return None
        with naming(self._database.path):
            self._database.close()
            self._drained = None
            connection = self._database.readable()
            return end_of(connection) if connection else None

    def close(self) -> None:
        self._database.close()

    def _read(self, offset: int, limit: int) -> tuple[list[Message], int]:
        connection = self._database.readable()
        if connection is None:
            return [], offset
        # Looking for another's commit costs a third of looking for rows, and most looks find nothing.
        state = (offset, connection.execute("PRAGMA data_version").get)
        if self._drained == state:
            return [], offset
        # All rows are fetched at once: a transaction left open would keep writers from trimming the log.
        try:
            rows: list[Any] | None = connection.execute(
                "SELECT id, key, value, sum FROM messages WHERE id > ? ORDER BY id LIMIT ?", (offset, limit)
            ).fetchall()
        except UNREADABLE:
            rows = None
        if rows == []:
            end = end_of(connection)
            if end < offset:
                self.damaged.append((offset, end))
                return [], end
            self._drained = state
            return [], offset
        if rows is not None and sound(rows, offset + 1):
            reached = offset + len(rows)
        else:
            rows, damaged, reached = step_over(connection, offset, limit)
            self.damaged += [(since - 1, until - 1) for since, until in damaged]
        return [Message(self._stream, 0, number - 1, key, value) for number, key, value, _ in rows], reached


def _parse(address: str) -> tuple[Path, str]:
    place, _, query = address.removeprefix("sqlite:").partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in _OPTIONS:
            near = difflib.get_close_matches(name, _OPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_OPTIONS)}"
            raise AddressError(f"{address!r} has the unknown option {name!r}: {hint}")
        if value not in _OPTIONS[name]:
            raise AddressError(f"{address!r} sets {name} to {value!r}: write {' or '.join(_OPTIONS[name])}")
    if not place:
        raise AddressError(f"{address!r} names no folder: write sqlite:DIR")
    return Path(place).expanduser(), options.get("synchronous", "normal")
