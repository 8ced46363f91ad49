"""Gets messages out of the bytes of a log that SQLite cannot read any more, or has passed over.

It reads leaf pages of tables, wherever they lie in the file and its write-ahead log, as the format of SQLite's files
describes them (sqlite.org/fileformat2.html). Rows are never changed once they are written, and each has its sum: one that
is found sound is right, wherever it was found.
"""

import fcntl
import itertools
import logging
import os
import shutil
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from birdwatch.errors import StreamError
from birdwatch.streams.damage import SCHEMA, DamagedEndError, add_sums, is_sound, summed

__all__ = ["Mended", "look_over", "mend", "salvage"]

_log: Final = logging.getLogger(__name__)

_PAGE: Final = 4096  # as SQLite makes it, unless it is told otherwise
_LEAF: Final = 13
_WAL_HEADER: Final = 32
_FRAME: Final = 24 + _PAGE
_INTEGERS: Final = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""How many bytes a number takes, by its type in a record; 0 is no number."""
_SHARED_LOCK: Final = (510, 0x40000002)  # the bytes that every open connection holds, in write-ahead mode

Row = tuple[int, bytes, bytes, int | None]


class Mended(NamedTuple):
    """How many messages were saved, the stretches [from, to) of offsets that were not, and where the damaged file is."""

    saved: int
    missing: list[tuple[int, int]]
    kept: Path


def salvage(path: Path) -> Iterator[Row]:
    """Give the sound rows (number, key, value, sum) of a log, in no order, and some of them twice."""
    wal = _wal_of(path)
    content = path.read_bytes()
    pages = {number: content[at : at + _PAGE] for number, at in enumerate(range(0, len(content), _PAGE), 1)}
    frames = list(_frames(wal.read_bytes())) if wal.exists() else []
    latest = pages | dict(frames)
    yield from _rows([*pages.items(), *frames], latest.__getitem__)


def _passed_over(path: Path) -> tuple[int, int] | None:
    """Look whether SQLite has passed over whole commits at the end of a write-ahead log; nobody may write meanwhile.

    It reads up to the first frame with a wrong sum, as one that its writer could not finish. Where whole commits lie
    behind, that frame was damaged.

    Returns
    -------
    tuple of int, or None
        How many frames SQLite knows, and how many there are up to the last commit; None if that is all.
    """
    # Neither the database nor its -shm is opened beside SQLite: to close them would give up the locks of this process.
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as probe:
        probe.execute("PRAGMA schema_version").get  # noqa: B018 - only one that has read knows of the log
        reached, _ = probe.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    reached = max(reached, 0)
    with _wal_of(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        header = file.read(_WAL_HEADER)
        if size < _WAL_HEADER + (reached + 1) * _FRAME:
            return None
        file.seek(_WAL_HEADER + reached * _FRAME)
        first = file.read(_FRAME)
        salt = header[16:24]
        if not _adds_up(header):
            reached, salt = 0, first[8:16]
        else:
            file.seek(_WAL_HEADER + (reached - 1) * _FRAME if reached else 8)
            before, frame = file.read(24)[16:24], first
            file.seek(_WAL_HEADER + (reached + 1) * _FRAME)
            while len(frame) == _FRAME and _sum_of(header, frame[:8] + frame[24:], before) == frame[16:24]:
                if any(frame[4:8]):
                    return None  # a whole commit that SQLite does not know any more has been carried over
                before, frame = frame[16:24], file.read(_FRAME)
        commits = reached
        for number in range(reached, (size - _WAL_HEADER) // _FRAME):
            file.seek(_WAL_HEADER + number * _FRAME)
            frame = file.read(24)
            if frame[8:16] == salt and any(frame[4:8]):
                commits = number + 1
    return (reached, commits) if commits > reached else None


def _rows_between(path: Path, reached: int, commits: int) -> list[Row]:
    """Give the sound rows of some frames of a write-ahead log."""
    with _wal_of(path).open("rb") as wal:
        frames = list(_frames(wal.read(_WAL_HEADER + commits * _FRAME)))
    return list(_rows(frames[reached:], dict(frames).__getitem__))


def mend(path: Path) -> Mended:
    """Put a log together anew from what can be saved, under the same offsets; the damaged file is kept under another name.

    Raises
    ------
    StreamError
        Another process uses the log.
    """
    with path.open("rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_SHARED_LOCK)
        except BlockingIOError as error:
            raise StreamError(f"{path} is in use: stop what reads and writes it, then mend it") from error
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        try:
            saved, missing = _put_together(path, draft)
            kept = _free(path)
            for name in ("", "-wal"):
                if path.with_name(path.name + name).exists():
                    path.with_name(path.name + name).rename(kept.with_name(kept.name + name))
            path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
    return Mended(saved, missing, kept)


def look_over(connection: apsw.Connection, path: Path) -> None:
    """Look at a log when it is opened: save what a damaged end of its write-ahead log would have it lose.

    Raises
    ------
    DamagedEndError
        What is left does not hang together.
    """
    add_sums(connection)
    if not _wal_of(path).exists():
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        lost = _passed_over(path)
        if lost is not None:
            kept, before = _keep_wal(path), connection.total_changes()
            rows = _rows_between(path, *lost)
            connection.executemany("INSERT OR IGNORE INTO messages (id, key, value, sum) VALUES (?, ?, ?, ?)", rows)
            saved = connection.total_changes() - before
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if lost is not None:
        _log.warning(
            "%s: its last commits lay behind damage; %d messages of them were saved from %s", path, saved, kept
        )
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)  # or the next to open it would find them again
        if connection.execute("PRAGMA quick_check(1)").get != "ok":
            raise DamagedEndError


def _wal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _keep_wal(path: Path) -> Path:
    """Copy the write-ahead log as it is, before SQLite writes over it."""
    wal = _wal_of(path)
    kept = _free(wal)
    shutil.copyfile(wal, kept)
    return kept


def _free(path: Path) -> Path:
    """Give a name for a damaged file that no other has."""
    names = (path.with_name(f"{path.name}.damaged-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _put_together(path: Path, draft: Path) -> tuple[int, list[tuple[int, int]]]:
    with closing(apsw.Connection(str(draft))) as connection:
        connection.execute(SCHEMA)
        with connection:
            for number, key, value, _ in salvage(path):
                [row] = summed(number, [(key, value)])
                connection.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?)", (number, *row))
        numbers = [int(row[0]) for row in connection.execute("SELECT id FROM messages ORDER BY id")]
        connection.pragma("journal_mode", "wal")
    missing = [(at, number - 1) for at, number in itertools.pairwise([0, *numbers]) if number > at + 1]
    return len(numbers), missing


def _frames(content: bytes) -> Iterator[tuple[int, bytes]]:
    for at in range(_WAL_HEADER, len(content) - 24, _FRAME):
        yield int.from_bytes(content[at : at + 4]), content[at + 24 : at + _FRAME]


def _adds_up(header: bytes) -> bool:
    """Tell whether the header of a write-ahead log has its sum: frames after one that has not are all passed over."""
    return header[:3] == b"\x37\x7f\x06" and _sum_of(header, header[:24], bytes(8)) == header[24:32]


def _sum_of(header: bytes, content: bytes, before: bytes) -> bytes:
    """Give SQLite's sum of a part of a write-ahead log, which goes on from the one before."""
    words = struct.unpack(f"{'>' if header[3] & 1 else '<'}{len(content) // 4}I", content)
    first, second = struct.unpack(">2I", before)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return struct.pack(">2I", first, second)


def _rows(pages: list[tuple[int, bytes]], page_of: Callable[[int], bytes]) -> Iterator[Row]:
    for number, page in pages:
        start = 100 if number == 1 else 0
        if page[start : start + 1] != bytes([_LEAF]):
            continue
        for cell in range(int.from_bytes(page[start + 3 : start + 5])):
            at = int.from_bytes(page[start + 8 + 2 * cell : start + 10 + 2 * cell])
            try:
                row = _row(page, at, page_of)
            except (IndexError, KeyError, ValueError):
                continue
            if is_sound(row):
                yield row


def _row(page: bytes, at: int, page_of: Callable[[int], bytes]) -> Row:
    """Read a cell of a leaf: its length, its row's number, and the record, which may go on in other pages."""
    length, at = _varint(page, at)
    number, at = _varint(page, at)
    most, least = _PAGE - 35, (_PAGE - 12) * 32 // 255 - 23
    here = length
    if length > most:
        here = least + (length - least) % (_PAGE - 4)
        here = here if here <= most else least
    body = page[at : at + here]
    follow = int.from_bytes(page[at + here : at + here + 4]) if length > here else 0
    while follow and len(body) < length:
        more = page_of(follow)
        follow, body = int.from_bytes(more[:4]), body + more[4:_PAGE]
        if len(more) < _PAGE:
            raise ValueError("the chain of pages is broken")
    return number, *_record(body[:length], length)


def _record(body: bytes, length: int) -> tuple[bytes, bytes, int | None]:
    end, at = _varint(body, 0)
    kinds = []
    while at < end:
        kind, at = _varint(body, at)
        kinds.append(kind)
    none, key, value, *rest = kinds
    if none or len(rest) > 1 or min(key, value) < 12 or key % 2 or value % 2:
        raise ValueError("this is no message")
    first, second = end + (key - 12) // 2, end + (key - 12) // 2 + (value - 12) // 2
    last = second + (_INTEGERS[rest[0]] if rest else 0)
    if last != length or len(body) != length:
        raise ValueError("this is no message")
    stored = int.from_bytes(body[second:last], signed=True) if rest and _INTEGERS[rest[0]] else None
    return body[end:first], body[first:second], stored


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = content[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | content[at + 8], at + 9
