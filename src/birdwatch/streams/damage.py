"""Finds what was damaged in a log on this machine, and reads the rest.

SQLite checks how its pages hang together, not what is in them: a flipped bit in a message is handed over as it lies. So a
CRC-32 goes with every message, as with Kafka's record batches; one that is damaged costs no other. Offsets have no gaps:
a message that cannot be found is missed, too.
"""

import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import apsw

__all__ = [
    "SCHEMA",
    "UNREADABLE",
    "DamagedEndError",
    "Stepped",
    "add_sums",
    "end_of",
    "is_sound",
    "sound",
    "step_over",
    "summed",
]

# STRICT, so that text is refused rather than read back as something that is not bytes. The key of the table is the
# offset plus one: rows are never deleted, so they are numbered 1, 2, 3 … without gaps. Logs of earlier versions have no sums.
SCHEMA: Final = (
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB NOT NULL, sum INTEGER) STRICT"
)
"""The statement that makes the table of a log."""

UNREADABLE: Final = (apsw.CorruptError, apsw.TooBigError, UnicodeDecodeError)
"""What reading a damaged page raises."""

_LOOKED_BACK: Final = 1000

_AFTER: Final = "SELECT id, key, value, sum FROM messages WHERE id > ? ORDER BY id LIMIT ?"
_ONE: Final = "SELECT id, key, value, sum FROM messages WHERE id = ?"
_LAST: Final = "SELECT id, key, value, sum FROM messages ORDER BY id DESC LIMIT ?"


class DamagedEndError(Exception):
    """It cannot be told where the log ends: nothing can be appended, or read on, before it is mended."""


class Stepped(NamedTuple):
    """What could be read, in order; the stretches [from, to) of numbers that could not; and the last number."""

    rows: list[Any]
    damaged: list[tuple[int, int]]
    reached: int


def add_sums(connection: apsw.Connection, table: str = "messages") -> None:
    """Have room for sums in a file of an earlier version."""
    if not any(column[1] == "sum" for column in connection.execute(f"PRAGMA table_info({table})")):
        with suppress(apsw.SQLError):  # another was quicker
            connection.execute(f"ALTER TABLE {table} ADD COLUMN sum INTEGER")


def summed(first: int, messages: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes, int]]:
    """Give (key, value) pairs that are numbered from ``first`` on their sums.

    A sum depends on the number and on where the key ends, too:

    >>> [[a], [b], [c]] = summed(1, [(b"k", b"v")]), summed(2, [(b"k", b"v")]), summed(1, [(b"", b"kv")])
    >>> len({a[2], b[2], c[2]})
    3
    """
    crc = zlib.crc32  # this runs for every message
    return [(key, value, crc(value, crc(key, at)) ^ len(key)) for at, (key, value) in enumerate(messages, first)]


def sound(rows: list[Any], first: int) -> bool:
    """Tell whether rows (number, key, value, sum) are numbered from ``first`` without a gap, each with its sum."""
    crc = zlib.crc32  # this runs for every message
    wanted = first
    try:
        for number, key, value, stored in rows:
            if (crc(value, crc(key, wanted)) ^ len(key) != stored and stored is not None) or number != wanted:
                return False
            wanted += 1
    except TypeError:  # bytes have become something else
        return False
    return True


def is_sound(row: Any) -> bool:
    """Tell whether a row is as it was written; one without a sum was written before there were any."""
    return sound([row], row[0])


def end_of(connection: apsw.Connection) -> int:
    """Give the last number of a log, 0 where it is empty.

    Raises
    ------
    DamagedEndError
        Too much is damaged there to tell.
    """
    for looked_back in (1, _LOOKED_BACK):
        try:
            rows: list[Any] = connection.execute(_LAST, (looked_back,)).fetchall()
        except UNREADABLE as error:
            raise DamagedEndError from error
        for after, row in enumerate(rows):
            if is_sound(row):
                return int(row[0]) + after  # each damaged one had a number, though perhaps not the one it shows
        if not rows:
            return 0
    raise DamagedEndError


def step_over(connection: apsw.Connection, reached: int, limit: int) -> Stepped:
    """Read on after a number where something is damaged: whatever is sound of the next ``limit`` numbers.

    Raises
    ------
    DamagedEndError
        The very next one is damaged, and it cannot be told how many there are.
    """
    found = {row[0]: row for row in _rows(connection, _AFTER, (reached, limit)) if row[0] > reached}
    try:
        last, ended = min(reached + limit, end_of(connection)), None
    except DamagedEndError as error:
        last, ended = reached + limit, error
    rows: list[Any] = []
    damaged: list[tuple[int, int]] = []
    for number in range(reached + 1, last + 1):
        row = found.get(number) or next(iter(_rows(connection, _ONE, (number,))), None)
        if row is not None:
            rows.append(row)
        elif ended is not None:
            last = number - 1
            break
        elif damaged and damaged[-1][1] == number:
            damaged[-1] = (damaged[-1][0], number + 1)
        else:
            damaged.append((number, number + 1))
    if last <= reached:
        raise DamagedEndError from ended
    return Stepped(rows, damaged, last)


def _rows(connection: apsw.Connection, query: str, values: tuple[int, ...]) -> list[Any]:
    """Give the sound rows that a query finds before it meets a damaged page."""
    found: list[Any] = []
    with suppress(*UNREADABLE):
        found.extend(row for row in connection.execute(query, values) if is_sound(row))
    return found
