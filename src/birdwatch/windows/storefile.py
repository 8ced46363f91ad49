"""The file of a store: opened, agreed upon, claimed by the one process that counts into it, and written all or nothing.

What it says of itself, its notes and its offsets carry a CRC-32. One that is damaged there cannot be done without, and is
refused with what to do.
"""

import os
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from birdwatch.disk import disk_full
from birdwatch.errors import StoreBusyError, StoreError
from birdwatch.stats.grid import GRID_VERSION

__all__ = ["StoreFile", "check_sum"]

SCHEMA_VERSION: Final = 5
"""A program of the schema before cannot read histograms as they are packed now."""

_EARLIER: Final = ("2", "3", "4")
_SUMMED: Final = ("panes", "offsets", "meta")
_LOCKED_SECONDS: Final = 10


class StoreFile:
    """A SQLite file that one process writes, and many read.

    Parameters
    ----------
    path
        The file; made when it is missing, unless ``readonly``.
    tables
        The statements that make its tables, where they are not there.
    pane_seconds
        The length of a pane; None takes what the file has (a new one needs it).
    readonly
        Open for reading beside the process that writes.

    Raises
    ------
    StoreError
        The file is missing, damaged, or was written with another grid, schema or pane length.
    """

    def __init__(self, path: str | Path, tables: str, *, pane_seconds: int | None, readonly: bool) -> None:
        self.path = Path(path)
        if readonly and not self.path.exists():
            raise StoreError(f"there is no store at {self.path}: start `birdwatch tail --store {self.path}` first")
        flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        self._claim: str | None = None
        self._tables = tables
        with self.in_our_words():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = apsw.Connection(str(self.path), flags=flags)
            self.connection.set_busy_timeout(_LOCKED_SECONDS * 1000)
            if not readonly:
                self.connection.pragma("journal_mode", "wal")
                self.connection.pragma("synchronous", "normal")  # safe against kill -9
                self.connection.execute(tables)
            self.pane_seconds = self._agree(pane_seconds, readonly=readonly)

    def _agree(self, pane_seconds: int | None, *, readonly: bool) -> int:
        """Check that the file speaks of the same bins and panes as this program, or say so in a new one."""
        found: dict[str, str] = {}
        rows: Any = self.connection.execute("SELECT * FROM meta WHERE key NOT GLOB 'note.*'").fetchall()
        for key, value, *stored in rows:
            self.check(f"what it says of its {key}", stored, check_sum(key, value))
            found[str(key)] = str(value)
        if not found and not readonly:
            if pane_seconds is None:
                raise StoreError(f"{self.path} is new: say how long its panes are")
            found = {"grid": str(GRID_VERSION), "schema": str(SCHEMA_VERSION), "pane_seconds": str(pane_seconds)}
            self.connection.executemany(
                "INSERT INTO meta VALUES (?, ?, ?)",
                [(key, value, check_sum(key, value)) for key, value in found.items()],
            )
        if found.get("schema") in _EARLIER:
            if not readonly:
                self._take_up()
            found["schema"] = str(SCHEMA_VERSION)
        self.has_sums = _has_sums(self.connection)
        for key, mine in (("grid", GRID_VERSION), ("schema", SCHEMA_VERSION), ("pane_seconds", pane_seconds)):
            if mine is not None and found.get(key) != str(mine):
                raise StoreError(
                    f"{self.path} was written with {key} {found.get(key)}, not {mine}: use another --store, or set it so"
                )
        return int(found["pane_seconds"])

    def _take_up(self) -> None:
        """Have room for sums and roll-ups in a store of a schema before; what is in it gets its own as it is written again."""
        with self._written_together():
            if not _has_sums(self.connection):  # another may have been quicker
                for table in _SUMMED:
                    self.connection.execute(f"ALTER TABLE {table} ADD COLUMN sum INTEGER")
            if not _has_column(self.connection, "damaged", "seconds"):
                self.connection.execute("ALTER TABLE damaged ADD COLUMN seconds INTEGER")
            version = str(SCHEMA_VERSION)
            self.connection.execute(
                "UPDATE meta SET (value, sum) = (?, ?) WHERE key = 'schema'", (version, check_sum("schema", version))
            )

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def claim(self, now: float | None = None) -> None:
        """Become the one that counts into this store: the transactions of whoever claimed it before fail from here on.

        A process that was stopped, and goes on after another took its place, then writes nothing twice. Who only reads,
        or keeps something of its own beside the panes, claims nothing.

        Parameters
        ----------
        now
            Unix seconds, for the one whose place is taken; the wall clock by default.

        Raises
        ------
        StoreError
            The file is damaged. All of it is looked through, which takes some seconds for a gigabyte.
        """
        claim = uuid.uuid4().hex
        with self.in_our_words():
            found: Any = self.connection.execute("PRAGMA integrity_check(1)").get
        if found != "ok":
            raise self._damage(" ".join(found.split()))
        self._check_tables()
        with self._written_together():
            self.mend()
            self.note("owner", {"claim": claim, "pid": os.getpid(), "since": time.time() if now is None else now})
        self._claim = claim

    def _check_tables(self) -> None:
        """See that tables are what they were made as: of that, SQLite's own check knows nothing."""
        with closing(apsw.Connection(":memory:")) as new:
            new.execute(self._tables)
            names = [str(name) for (name,) in new.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            for name in names:
                if _columns(new, name) != _columns(self.connection, name):
                    raise self._damage(f"the table {name} is not as it was made")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all that is written inside, or nothing of it.

        Raises
        ------
        StoreError
            This object claimed the store, and another has since: nothing is written.
        DiskFullError
            There is no room: nothing is written, and what was done inside can be done again when there is.
        """
        with self._written_together():
            self._check_claim()
            yield
            self.mend()

    def _check_claim(self) -> None:
        if self._claim is None:
            return
        owner = self.noted("owner")
        if owner["claim"] != self._claim:
            since = datetime.fromtimestamp(owner["since"], UTC)
            raise StoreError(
                f"another process ({owner['pid']}) has taken over {self.path} since {since:%Y-%m-%d %H:%M:%S} UTC: stop"
                f" this one, or give it another --store; it has written nothing since"
            )

    @contextmanager
    def _written_together(self) -> Iterator[None]:
        # A transaction that reads before it writes fails at once when another process wrote in between (the delivery of
        # alerts does): taking the write lock at the start waits for it instead. Not by `with connection`: that keeps
        # Python's lock while it waits, and so waits in vain for another thread of the same process.
        begin, keep, undo = ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
        if self.connection.in_transaction:
            begin, keep, undo = ("SAVEPOINT inside", "RELEASE inside", "ROLLBACK TO inside; RELEASE inside")
        with self.in_our_words():
            self.connection.execute(begin)
            try:
                yield
                self.connection.execute(keep)
            except BaseException:
                self.forget()
                if self.connection.in_transaction:  # what SQLite cannot go on with, it has undone itself
                    self.connection.execute(undo)
                raise

    @contextmanager
    def in_our_words(self) -> Iterator[None]:
        """Say what to do where SQLite says that a disk is full, or a file damaged or locked."""
        try:
            yield
        except apsw.BusyError as error:
            raise StoreBusyError(
                f"{self.path} is locked by another process, as by one that was stopped (SIGSTOP) in the midst of writing:"
                f" let it go on, or end it"
            ) from error
        except (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError) as error:
            raise self._damage(str(error)) from error
        except (apsw.Error, OSError) as error:
            full = disk_full(error, self.path)
            if full is not None:
                raise full from error
            raise

    def _damage(self, what: str) -> StoreError:
        return StoreError(
            f"{self.path} is damaged ({what}): stop what uses it and move it away, with its -wal if there is one, say to"
            f" {self.path.name}.damaged. A new one is then counted from what the streams still hold; alerts and verdicts"
            f" of before stay in the old one"
        )

    def mend(self) -> None:
        """Do what must be done about damage that was found, at the end of a transaction."""

    def forget(self) -> None:
        """Forget what was learnt inside a transaction that is undone."""

    def check(self, what: str, stored: list[int | None], wanted: int) -> None:
        """See that a row has the sum that is stored with it, if one is.

        Raises
        ------
        StoreError
            It has not.
        """
        if any(stored) and stored != [wanted]:
            raise self._damage(f"{what} have a wrong sum")

    def note(self, key: str, value: Any) -> None:
        """Keep a small fact beside the panes, such as how far the judge has come."""
        name, text = f"note.{key}", msgspec.json.encode(value).decode()
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (name, text, check_sum(name, text)))

    def noted(self, key: str, default: Any = None) -> Any:
        """Read a small fact back."""
        name = f"note.{key}"
        with self.in_our_words():
            row: Any = self.connection.execute("SELECT * FROM meta WHERE key = ?", (name,)).fetchone()
        if row is None:
            return default
        _, text, *stored = row
        self.check(f"the notes {key!r}", stored, check_sum(name, text))
        return msgspec.json.decode(text)


def check_sum(*values: Any) -> int:
    """Give the CRC-32 of a row."""
    return zlib.crc32("\0".join(map(str, values)).encode())


def _has_sums(connection: apsw.Connection) -> bool:
    return _has_column(connection, "panes", "sum")


def _has_column(connection: apsw.Connection, table: str, column: str) -> bool:
    return any(found[1] == column for found in _columns(connection, table))


def _columns(connection: apsw.Connection, table: str) -> list[Any]:
    return connection.execute(f"PRAGMA table_info({table})").fetchall()
