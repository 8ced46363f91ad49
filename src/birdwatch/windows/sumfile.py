"""Rows of sums, of panes and of roll-ups: written, read and checked.

Each row is what one series counted in one stretch of event time, and carries a CRC-32. A row that was damaged on its disk
is left out, so that a rule sees no data rather than wrong data, and put aside in the table ``damaged``.

A row's ``counts`` are a histogram as `birdwatch.windows.packed` writes it, and its ``bins`` are empty; rows of the schemas
before have both in eight bytes each.
"""

import logging
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from birdwatch.windows.packed import pack, unpack
from birdwatch.windows.pane import Counts, Pane, Series
from birdwatch.windows.rollups import Stretch
from birdwatch.windows.storefile import StoreFile

__all__ = ["SumFile"]

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


class SumFile(StoreFile):
    """A store's rows of sums, by *level*: the seconds that one row covers, those of a pane or of a roll-up's cell.

    Parameters and errors are those of `birdwatch.windows.store.Store`.
    """

    def __init__(self, path: str | Path, tables: str, *, pane_seconds: int | None, readonly: bool) -> None:
        self._series: dict[Series, int] = {}
        self._names: dict[int, Series] = {}
        self._name_sums: dict[Series, int] = {}
        self._damaged: set[tuple[int, int, int]] = set()
        self._missed: set[tuple[int, int, int]] = set()
        super().__init__(path, _TABLES + tables, pane_seconds=pane_seconds, readonly=readonly)

    def series_id(self, series: Series) -> int:
        """Give the number of a series, a new one when it is new."""
        known = self._series.get(series)
        if known is None:
            self.connection.execute(
                "INSERT OR IGNORE INTO series (measure, model, version, partner, segment) VALUES (?, ?, ?, ?, ?)",
                series,
            )
            row: Any = self.connection.execute(
                "SELECT id FROM series WHERE (measure, model, version, partner, segment) = (?, ?, ?, ?, ?)", series
            ).fetchone()
            known = self._series[series] = int(row[0])
        return known

    def _write(self, level: int, start: int, sums: Mapping[Series, Counts]) -> None:
        table, only = self._table(level)
        # Who counted nothing has no row.
        found = [(self.series_id(each), each, counts) for each, counts in sorted(sums.items()) if counts.bins.size]
        self.connection.execute(f"DELETE FROM {table} WHERE start = ?{only}", (start,))  # noqa: S608
        columns, places = ("seconds, ", "?, ") if only else ("", "")
        self.connection.executemany(
            f"INSERT INTO {table} ({columns}series, start, bins, counts, sum) VALUES ({places}?, ?, ?, ?, ?)",  # noqa: S608
            [
                (*([level] if only else []), number, start, b"", counts, self._sum(level, start, series, b"", counts))
                for (number, series, _), counts in zip(found, pack([counts for _, _, counts in found]), strict=True)
            ],
        )

    def _table(self, level: int) -> tuple[str, str]:
        """Name where a level lies, and the condition that singles it out."""
        return ("panes", "") if level == self.pane_seconds else ("rollups", f" AND seconds = {level}")

    def _stored(self, level: int) -> str:
        """Name where a row's own sum is; panes of the first schema have none."""
        return "p.sum" if level != self.pane_seconds or self.has_sums else "NULL"

    def _sum(self, level: int, start: int, series: Series, bins: bytes, counts: bytes) -> int:
        name = self._name_sums.get(series)
        if name is None:
            name = self._name_sums[series] = zlib.crc32("\0".join(series).encode())
        own = 0 if level == self.pane_seconds else level
        return zlib.crc32(counts, zlib.crc32(bins, name ^ own ^ (start & 0xFFFFFFFF)))

    def _histogram(
        self, level: int, start: int, series: Series, bins: Any, counts: Any, stored: int | None
    ) -> Counts | None:
        """Read a row's histogram; None where it is damaged."""
        if not (isinstance(bins, bytes) and isinstance(counts, bytes)):
            return None
        if stored is not None and stored != self._sum(level, start, series, bins, counts):
            return None
        if counts and not bins:
            try:
                return unpack(counts)
            except ValueError:
                return None
        if len(bins) != len(counts) or len(bins) % 8:
            return None
        return Counts(np.frombuffer(bins, "<i8"), np.frombuffer(counts, "<i8"))

    def _miss(self, level: int, number: int, start: int, series: Series) -> None:
        """Take note of a damaged row; only who writes the store can put it aside."""
        self._damaged.add((level, number, start))
        if (level, number, start) not in self._missed:
            self._missed.add((level, number, start))
            what = "pane" if level == self.pane_seconds else "roll-up"
            name = " ".join(filter(None, series))
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

    def damaged(self) -> int:
        """Give the number of rows, of panes or roll-ups, that were found damaged and put aside."""
        if not self.connection.table_exists(None, "damaged"):
            return 0
        return int(self.connection.execute("SELECT count(*) FROM damaged").get)

    def _cell(self, level: int, start: int) -> Pane:
        return {series: counts for _, series, counts in self._sound(Stretch(level, start, start + 1))}

    def _sound(self, of: Stretch) -> Iterator[tuple[int, Series, Counts]]:
        """Give (start, series, counts) of all rows of one level that are sound, by series and time."""
        table, only = self._table(of.seconds)
        stored = self._stored(of.seconds)
        with self.in_our_words():
            # By series: their rows lie side by side.
            found: Any = self.connection.execute(
                f"SELECT s.id, p.start, p.bins, p.counts, {stored} FROM series s CROSS JOIN {table} p ON p.series = s.id"  # noqa: S608
                f" WHERE p.start >= ? AND p.start < ?{only} ORDER BY s.id, p.start",
                (of.since, of.until),
            )
            for number, start, bins, counts, sum_ in found:
                series = self._names.get(number)
                if series is None:
                    rows: Any = self.connection.execute(
                        "SELECT id, measure, model, version, partner, segment FROM series"
                    )
                    self._names = {each: Series(*name) for each, *name in rows}
                    series = self._names[number]
                sound = self._histogram(of.seconds, start, series, bins, counts, sum_)
                if sound is None:
                    self._miss(of.seconds, number, start, series)
                else:
                    yield start, series, sound
