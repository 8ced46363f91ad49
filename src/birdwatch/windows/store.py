"""The store: one SQLite file with the panes, the offsets they were counted up to, and what other layers keep beside.

Dashboards, notebooks and /metrics read it; only the tail (and what runs inside its transaction) writes it.

Panes carry a CRC-32: one that was damaged on its disk is left out, so that a rule sees no data rather than wrong data, and
put aside in the table ``damaged``.
"""

import logging
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from birdwatch.records import Control, decode, encode
from birdwatch.streams import Partition
from birdwatch.windows.pane import Counts, Pane, Series, merge
from birdwatch.windows.storefile import StoreFile, check_sum

__all__ = ["COUNTED_BY", "Arrivals", "Checkpoint", "Extreme", "Source", "Store"]

COUNTED_BY: Final = "group"
"""The note that names the group whose counts are added up in a store; none where a tail alone counts."""

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
CREATE TABLE IF NOT EXISTS closed (start INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS extremes (
    start INTEGER NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, partner TEXT NOT NULL, request_id TEXT NOT NULL,
    score REAL NOT NULL, partner_score REAL NOT NULL,
    PRIMARY KEY (start, model, version, partner, request_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arrivals (
    start INTEGER NOT NULL, stream TEXT NOT NULL, late INTEGER NOT NULL, duplicates INTEGER NOT NULL,
    PRIMARY KEY (start, stream)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS offsets (
    stream TEXT NOT NULL, partition INTEGER NOT NULL, resume INTEGER NOT NULL, position INTEGER NOT NULL,
    sum INTEGER, PRIMARY KEY (stream, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS controls (
    stream TEXT NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL, ts REAL NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (stream, partition, "offset")) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
    stream TEXT NOT NULL, partition INTEGER NOT NULL, model TEXT NOT NULL, latest REAL NOT NULL, idle INTEGER NOT NULL,
    PRIMARY KEY (stream, partition, model)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS damaged (series INTEGER, start INTEGER, bins BLOB, counts BLOB, sum INTEGER, found REAL);
"""


class Extreme(NamedTuple):
    """A request on which a model and its partner disagreed most, in one pane."""

    model: str
    version: str
    partner: str
    request_id: str
    score: float
    partner_score: float


class Arrivals(NamedTuple):
    """What a stream delivered out of the ordinary into one pane; kept beside it, since it depends on arrival."""

    late: int
    duplicates: int


class Checkpoint(NamedTuple):
    """Where to read on after a restart.

    From ``resume`` on messages are read again to refill the panes that are still open; those before ``position`` have
    already been counted in the panes that are closed.
    """

    resume: int
    position: int


class Source(NamedTuple):
    """A partition of a stream, or one model in it: the latest event time seen, and whether it has fallen silent."""

    stream: str
    partition: int
    model: str
    latest: float
    idle: bool


class Store(StoreFile):
    """Panes in one SQLite file.

    Parameters
    ----------
    path
        The file; made when it is missing, unless ``readonly``.
    pane_seconds
        The length of a pane; None takes what the store has (a new store needs one).
    readonly
        Open for reading beside the process that writes.

    Raises
    ------
    StoreError
        The file is missing, damaged, or was written with another grid, schema or pane length.
    """

    def __init__(self, path: str | Path, *, pane_seconds: int | None = None, readonly: bool = False) -> None:
        self._series: dict[Series, int] = {}
        self._name_sums: dict[Series, int] = {}
        self._damaged: set[tuple[int, int]] = set()
        self._missed: set[tuple[int, int]] = set()
        super().__init__(path, _TABLES, pane_seconds=pane_seconds, readonly=readonly)

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

    def put(self, start: int, pane: Mapping[Series, Counts]) -> None:
        """Write a closed pane, in place of what was there."""
        self.connection.execute("DELETE FROM panes WHERE start = ?", (start,))
        self.connection.executemany(
            "INSERT INTO panes (series, start, bins, counts, sum) VALUES (?, ?, ?, ?, ?)",
            [
                (self.series_id(s), start, bins, counts, self._pane_sum(start, s, bins, counts))
                for s, c in sorted(pane.items())
                for bins, counts in [(c.bins.astype("<i8").tobytes(), c.counts.astype("<i8").tobytes())]
            ],
        )
        self.connection.execute("INSERT OR IGNORE INTO closed VALUES (?)", (start,))

    def _pane_sum(self, start: int, series: Series, bins: bytes, counts: bytes) -> int:
        name = self._name_sums.get(series)
        if name is None:
            name = self._name_sums[series] = zlib.crc32("\0".join(series).encode())
        return zlib.crc32(counts, zlib.crc32(bins, name ^ (start & 0xFFFFFFFF)))

    def _is_sound(self, start: int, series: Series, bins: Any, counts: Any, stored: int | None) -> bool:
        if not (isinstance(bins, bytes) and isinstance(counts, bytes) and len(bins) == len(counts)) or len(bins) % 8:
            return False
        return stored is None or stored == self._pane_sum(start, series, bins, counts)

    def mend(self) -> None:
        """Put aside the panes that were found damaged, for people to look at."""
        for at in sorted(self._damaged):
            self.connection.execute(
                "INSERT INTO damaged SELECT series, start, bins, counts, sum, unixepoch() FROM panes"
                " WHERE (series, start) = (?, ?)",
                at,
            )
            self.connection.execute("DELETE FROM panes WHERE (series, start) = (?, ?)", at)
        self._damaged.clear()

    def forget(self) -> None:
        """Forget the numbers that were given to series inside a transaction that is undone."""
        self._series.clear()

    def damaged(self) -> int:
        """Give the number of pane rows that were found damaged, and put aside."""
        if not self.connection.table_exists(None, "damaged"):
            return 0
        return int(self.connection.execute("SELECT count(*) FROM damaged").get)

    def add(self, start: int, pane: Mapping[Series, Counts]) -> None:
        """Add to a pane that may be there already."""
        self.put(start, merge([self.pane(start, start + self.pane_seconds), pane]))

    def is_closed(self, start: int) -> bool:
        """Tell whether the pane that starts here has been written."""
        return self.connection.execute("SELECT 1 FROM closed WHERE start = ?", (start,)).fetchone() is not None

    def closed_range(self) -> tuple[int, int] | None:
        """Give the start of the first closed pane and the end of the last; None while there is none."""
        row: Any = self.connection.execute("SELECT min(start), max(start) FROM closed").fetchone()
        first, last = row
        return None if first is None else (first, last + self.pane_seconds)

    def rows(
        self,
        since: int,
        until: int,
        *,
        measure: str | None = None,
        model: str | None = None,
        segment: str | None = None,
        in_parts: bool = True,
    ) -> Iterator[tuple[int, Series, Counts]]:
        """Give (start, series, counts) of all panes that start in [since, until), by series and time.

        ``measure`` may end in ``*``, as in ``latency.*``; ``segment`` is one of them, or ``""`` for everything. Without
        ``in_parts``, what was counted by segment, which is most of the rows where there are segments, is not even read.
        """
        wanted = ["p.start >= ?", "p.start < ?"]
        values: list[Any] = [since, until]
        if not in_parts:
            wanted.append("(s.segment = '' OR s.measure GLOB 'category.*')")
        if measure is not None:
            wanted.append("s.measure GLOB ?")
            values.append(measure)
        if model is not None:
            wanted.append("s.model = ?")
            values.append(model)
        if segment is not None:
            wanted.append("s.segment = ?")
            values.append(segment)
        # CROSS JOIN is SQLite's way to say which table comes first: of a few series over a quarter of a year, or of all
        # series in an hour, the other way round reads a thousand times as much.
        order = "panes p CROSS JOIN series s" if measure is None and model is None else "series s CROSS JOIN panes p"
        stored = "p.sum" if self.has_sums else "NULL"
        with self.in_our_words():
            found: Any = self.connection.execute(
                f"SELECT s.id, p.start, s.measure, s.model, s.version, s.partner, s.segment, p.bins, p.counts, {stored}"  # noqa: S608
                f" FROM {order} ON s.id = p.series WHERE {' AND '.join(wanted)} ORDER BY s.id, p.start",
                values,
            )
            for number, start, measure_, model_, version, partner, part, bins, counts, stored in found:
                series = Series(measure_, model_, version, partner, part)
                if self._is_sound(start, series, bins, counts, stored):
                    yield start, series, Counts(np.frombuffer(bins, "<i8"), np.frombuffer(counts, "<i8"))
                else:
                    self._miss(number, start, series)

    def _miss(self, number: int, start: int, series: Series) -> None:
        """Take note of a damaged row; only who writes the store can put it aside."""
        self._damaged.add((number, start))
        if (number, start) not in self._missed:
            self._missed.add((number, start))
            name = " ".join(filter(None, series))
            _log.warning("%s: the pane of %s from %d on is damaged, and left out", self.path, name, start)

    def pane(self, since: int, until: int, *, measure: str | None = None, model: str | None = None) -> Pane:
        """Add up all panes that start in [since, until)."""
        found = self.rows(since, until, measure=measure, model=model)
        return merge({series: counts} for _, series, counts in found)

    def blocks(
        self, since: int, until: int, seconds: int, *, measure: str | None = None, model: str | None = None
    ) -> dict[int, Pane]:
        """Add up panes by block of ``seconds`` counted from ``since``; blocks without any pane are left out."""
        parts: dict[int, list[Pane]] = {}
        for start, series, counts in self.rows(since, until, measure=measure, model=model):
            parts.setdefault(since + (start - since) // seconds * seconds, []).append({series: counts})
        return {start: merge(found) for start, found in sorted(parts.items())}

    def features(self) -> dict[str, Literal["number", "category"]]:
        """Name the inputs that were ever watched, and how; one that never had a value is a number."""
        rows: Any = self.connection.execute(
            "SELECT substr(measure, 9), EXISTS (SELECT 1 FROM series c WHERE c.measure = 'category.' || substr(s.measure, 9))"
            " FROM series s WHERE measure GLOB 'missing.*' ORDER BY 1"
        )
        return {name: "category" if category else "number" for name, category in rows}

    def segments(self) -> dict[str, list[str]]:
        """Name the dimensions by which anything was ever counted in parts, each with its segments, sorted."""
        rows: Any = self.connection.execute(
            "SELECT DISTINCT segment FROM series WHERE measure = 'counts' AND segment != '' ORDER BY segment"
        )
        found: dict[str, list[str]] = {}
        for (segment,) in rows:
            found.setdefault(segment.partition("=")[0], []).append(segment)
        return found

    def put_extremes(self, start: int, extremes: list[Extreme]) -> None:
        """Write the largest disagreements of a pane, in place of what was there."""
        self.connection.execute("DELETE FROM extremes WHERE start = ?", (start,))
        self.connection.executemany(
            "INSERT INTO extremes VALUES (?, ?, ?, ?, ?, ?, ?)", [(start, *extreme) for extreme in extremes]
        )

    def extremes(self, since: int, until: int, model: str, partner: str, most: int = 10) -> list[tuple[int, Extreme]]:
        """Give (pane start, extreme) of the largest disagreements in [since, until), the largest first."""
        rows: Any = self.connection.execute(
            "SELECT * FROM extremes WHERE start >= ? AND start < ? AND model = ? AND partner = ?"
            " ORDER BY abs(score - partner_score) DESC, request_id LIMIT ?",
            (since, until, model, partner, most),
        )
        return [(start, Extreme(*rest)) for start, *rest in rows]

    def add_late(self, start: int, stream: str, late: int) -> None:
        """Count what came into a pane after it was closed."""
        self.connection.execute(
            "INSERT INTO arrivals VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET late = late + excluded.late",
            (start, stream, late),
        )

    def put_duplicates(self, start: int, duplicates: Mapping[str, int]) -> None:
        """Keep how many rows of each stream were in a pane twice."""
        self.connection.executemany(
            "INSERT INTO arrivals VALUES (?, ?, 0, ?) ON CONFLICT DO UPDATE SET duplicates = excluded.duplicates",
            [(start, stream, n) for stream, n in duplicates.items() if n],
        )

    def arrivals(self, since: int, until: int) -> dict[str, Arrivals]:
        """Give what came late or twice in [since, until), by stream."""
        rows: Any = self.connection.execute(
            "SELECT stream, sum(late), sum(duplicates) FROM arrivals WHERE start >= ? AND start < ? GROUP BY stream",
            (since, until),
        )
        return {stream: Arrivals(late, duplicates) for stream, late, duplicates in rows}

    def put_checkpoints(self, checkpoints: Mapping[Partition, Checkpoint]) -> None:
        """Keep where to read on, together with what has been read."""
        self.connection.executemany(
            "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?, ?, ?)",
            [(*p, *c, check_sum(*p, *c)) for p, c in sorted(checkpoints.items())],
        )

    def checkpoints(self) -> dict[Partition, Checkpoint]:
        """Give where to read on, by partition."""
        with self.in_our_words():
            rows: Any = self.connection.execute("SELECT * FROM offsets").fetchall()
        found = {}
        for stream, number, resume, position, *stored in rows:
            self.check("the offsets", stored, check_sum(stream, number, resume, position))
            found[Partition(stream, number)] = Checkpoint(resume, position)
        return found

    def put_sources(self, sources: list[Source]) -> None:
        """Keep how far each source has come."""
        self.connection.executemany("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?)", sources)

    def sources(self) -> list[Source]:
        """Give how far each source has come."""
        rows: Any = self.connection.execute("SELECT * FROM sources ORDER BY stream, partition, model")
        return [Source(stream, partition, model, latest, bool(idle)) for stream, partition, model, latest, idle in rows]

    def put_control(self, at: Partition, offset: int, control: Control) -> None:
        """Keep an operational change; the same message read again changes nothing."""
        self.connection.execute(
            "INSERT OR REPLACE INTO controls VALUES (?, ?, ?, ?, ?)", (*at, offset, control.ts, encode(control))
        )

    def controls(self) -> list[Control]:
        """Give all operational changes, in the order of their event time."""
        rows: Any = self.connection.execute('SELECT record FROM controls ORDER BY ts, partition, "offset"')
        return [decode(record, Control) for (record,) in rows]

    def digest(self) -> dict[tuple[int, Series], tuple[bytes, bytes]]:
        """Give every pane's bytes by (start, series): two stores are equal when these are."""
        rows = self.rows(-(2**62), 2**62)
        return {(start, series): (c.bins.tobytes(), c.counts.tobytes()) for start, series, c in rows}
