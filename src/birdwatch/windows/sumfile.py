"""Rows of sums, of panes and of roll-ups: written, read and checked.

Each row is what one series counted in one stretch of event time, and carries a CRC-32. A row that was damaged on its disk
is left out, so that a rule sees no data rather than wrong data, and put aside in the table ``damaged``.

A row's ``counts`` are a histogram as `birdwatch.windows.packed` writes it, and its ``bins`` are empty; rows of the schemas
before have both in eight bytes each.
"""

import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from birdwatch.windows.packed import pack, unpack
from birdwatch.windows.pane import Counts, Pane, Series
from birdwatch.windows.rollups import Stretch
from birdwatch.windows.storefile import StoreFile

__all__ = ["Row", "SumFile"]

_TOGETHER: Final = 4096
"""So many rows are unpacked at once; a row that somebody keeps keeps all of them."""

_NOTHING: Final = b""  # a row of the schemas before, of a series that counted nothing
_DAMAGED: Final = b"\xff"

_log: Final = logging.getLogger(__name__)

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, measure TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, partner TEXT NOT NULL,
    segment TEXT NOT NULL, UNIQUE (measure, model, version, partner, segment));
CREATE TABLE IF NOT EXISTS panes (
    series INTEGER NOT NULL, start INTEGER NOT NULL, bins BLOB NOT NULL, counts BLOB NOT NULL, sum INTEGER,
    PRIMARY KEY (series, start)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS panes_by_start ON panes (start);
CREATE TABLE IF NOT EXISTS rollups (
    seconds INTEGER NOT NULL, series INTEGER NOT NULL, start INTEGER NOT NULL, bins BLOB NOT NULL, counts BLOB NOT NULL,
    sum INTEGER, PRIMARY KEY (seconds, series, start)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rollups_by_start ON rollups (seconds, start);
CREATE TABLE IF NOT EXISTS damaged (
    series INTEGER, start INTEGER, bins BLOB, counts BLOB, sum INTEGER, found REAL, seconds INTEGER);
"""


Row = tuple[int, int, int, Any, Any, int | None]
"""A row as it lies in the store: its level, the number of its series, its start, its bins and counts, and its sum, if any."""


class SumFile(StoreFile):
    """A store's rows of sums, by *level*: the seconds that one row covers, those of a pane or of a roll-up's cell.

    Parameters and errors are those of `birdwatch.windows.store.Store`.
    """

    def __init__(self, path: str | Path, tables: str, *, pane_seconds: int | None, readonly: bool) -> None:
        self._series: dict[Series, int] = {}
        self._names: dict[int, Series] = {}
        self._name_sums: dict[int, int] = {}
        self._damaged: set[tuple[int, int, int]] = set()
        self._missed: set[tuple[int, int, int]] = set()
        super().__init__(path, _TABLES + tables, pane_seconds=pane_seconds, readonly=readonly)

    def numbers(self, wanted: Sequence[Series]) -> list[int]:
        """Give the numbers of series, new ones to those that are new: all at once, since a new fleet has thousands."""
        unknown = [series for series in wanted if series not in self._series]
        if unknown:
            self.connection.executemany(
                "INSERT OR IGNORE INTO series (measure, model, version, partner, segment) VALUES (?, ?, ?, ?, ?)",
                unknown,
            )
            self._learn()
        return [self._series[series] for series in wanted]

    def _learn(self) -> None:
        """Take in the series that were numbered since; numbers rise."""
        rows: Any = self.connection.execute(
            "SELECT id, measure, model, version, partner, segment FROM series WHERE id > ?",
            (max(self._names, default=0),),
        )
        found = {number: Series(*name) for number, *name in rows}
        self._names |= found
        self._series |= {series: number for number, series in found.items()}

    def _named(self, number: int) -> Series:
        """Give the series that has a number."""
        if number not in self._names:
            self._learn()
        return self._names[number]

    def _write(self, level: int, start: int, sums: Mapping[Series, Counts]) -> None:
        table, only = self._table(level)
        # Who counted nothing has no row.
        found = [(series, counts) for series, counts in sorted(sums.items()) if counts.bins.size]
        numbers = self.numbers([series for series, _ in found])
        self.connection.execute(f"DELETE FROM {table} WHERE start = ?{only}", (start,))  # noqa: S608
        columns, places = ("seconds, ", "?, ") if only else ("", "")
        self.connection.executemany(
            f"INSERT INTO {table} ({columns}series, start, bins, counts, sum) VALUES ({places}?, ?, ?, ?, ?)",  # noqa: S608
            [
                (*([level] if only else []), number, start, b"", packed, self._sum(level, number, start, b"", packed))
                for number, packed in zip(numbers, pack([counts for _, counts in found]), strict=True)
            ],
        )

    def _table(self, level: int) -> tuple[str, str]:
        """Name where a level lies, and the condition that singles it out."""
        return ("panes", "") if level == self.pane_seconds else ("rollups", f" AND seconds = {level}")

    def _stored(self, level: int) -> str:
        """Name where a row's own sum is; panes of the first schema have none."""
        return "p.sum" if level != self.pane_seconds or self.has_sums else "NULL"

    def _sum(self, level: int, number: int, start: int, bins: bytes, counts: bytes) -> int:
        name = self._name_sums.get(number)
        if name is None:
            name = self._name_sums[number] = zlib.crc32("\0".join(self._named(number)).encode())
        own = 0 if level == self.pane_seconds else level
        before = name ^ own ^ (start & 0xFFFFFFFF)
        return zlib.crc32(counts, zlib.crc32(bins, before) if bins else before)

    def _histograms(
        self, rows: Iterable[Row], since: int = 0, step: int | None = None
    ) -> Iterator[tuple[int, Series, Counts]]:
        """Give (start, series, counts) of the rows that are sound; of a series that follow each other in one step, their sum.

        Parameters
        ----------
        since, step
            Steps of so many seconds, counted from ``since``; by default each row is one by itself.
        """
        for some in _by_stretch(rows):
            packed = [self._packed(row) for row in some]
            edges, bins, counts = unpack(packed)
            numbers, starts = (np.array([row[place] for row in some], dtype=np.int64) for place in (1, 2))
            steps = starts if step is None else (starts - since) // step
            runs = np.flatnonzero((numbers[1:] != numbers[:-1]) | (steps[1:] != steps[:-1])) + 1
            for which in np.flatnonzero(edges[1:] == edges[:-1]).tolist():
                if packed[which] != _NOTHING:
                    self._miss(some[which])
            for first, last in pairwise([0, *runs.tolist(), len(some)]):
                begin, end = int(edges[first]), int(edges[last])
                if begin < end:
                    _, number, start, *_ = some[first]
                    found = bins[begin:end], counts[begin:end]
                    yield start, self._named(number), Counts(*found) if last - first == 1 else Counts.of(*found)

    def _packed(self, row: Row) -> bytes:
        """Give a row's histogram as it is packed: bytes that are none where the row is damaged."""
        level, number, start, bins, counts, stored = row
        if not (isinstance(bins, bytes) and isinstance(counts, bytes)):
            return _DAMAGED
        if stored is not None and stored != self._sum(level, number, start, bins, counts):
            return _DAMAGED
        if not bins:
            return counts
        if len(bins) != len(counts) or len(bins) % 8:
            return _DAMAGED
        return pack([Counts(np.frombuffer(bins, "<i8"), np.frombuffer(counts, "<i8"))])[0]

    def _miss(self, row: Row) -> None:
        """Take note of a damaged row; only who writes the store can put it aside."""
        at = level, number, start = row[:3]
        self._damaged.add(at)
        if at not in self._missed:
            self._missed.add(at)
            what = "pane" if level == self.pane_seconds else "roll-up"
            name = " ".join(filter(None, self._named(number)))
            _log.warning("%s: the %s of %s from %d on is damaged, and left out", self.path, what, name, start)

    def put_aside(self) -> list[tuple[int, int]]:
        """Put aside the rows that were found damaged, for people to look at; give (level, start) of each."""
        found = sorted(self._damaged)
        for level, number, start in found:
            table, only = self._table(level)
            self.connection.execute(
                "INSERT INTO damaged (series, start, bins, counts, sum, found, seconds)"  # noqa: S608
                f" SELECT series, start, bins, counts, sum, unixepoch(), ? FROM {table} WHERE series = ? AND start = ?{only}",
                (level, number, start),
            )
            self.connection.execute(
                f"DELETE FROM {table} WHERE series = ? AND start = ?{only}",  # noqa: S608
                (number, start),
            )
        self._damaged.clear()
        return [(level, start) for level, _, start in found]

    def forget(self) -> None:
        """Forget the numbers that were given to series inside a transaction that is undone."""
        self._series.clear()
        self._names.clear()
        self._name_sums.clear()

    def damaged(self) -> int:
        """Give the number of rows, of panes or roll-ups, that were found damaged and put aside."""
        if not self.connection.table_exists(None, "damaged"):
            return 0
        return int(self.connection.execute("SELECT count(*) FROM damaged").get)

    def _cell(self, level: int, start: int) -> Pane:
        return {series: counts for _, series, counts in self._sound(Stretch(level, start, start + 1))}

    def _sound(self, of: Stretch, step: int | None = None) -> Iterator[tuple[int, Series, Counts]]:
        """Give (start, series, counts) of all rows of one level that are sound, by series and time; added up by step."""
        table, only = self._table(of.seconds)
        stored = self._stored(of.seconds)
        with self.in_our_words():
            # By series: their rows lie side by side.
            found: Any = self.connection.execute(
                f"SELECT {of.seconds}, s.id, p.start, p.bins, p.counts, {stored}"  # noqa: S608
                f" FROM series s CROSS JOIN {table} p ON p.series = s.id WHERE p.start >= ? AND p.start < ?{only} ORDER BY s.id, p.start",
                (of.since, of.until),
            )
            yield from self._histograms(found, of.since, step)


def _by_stretch(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Cut rows into stretches that are read together: long ones, which yet take little memory."""
    left = iter(rows)
    while some := list(islice(left, _TOGETHER)):
        yield some
