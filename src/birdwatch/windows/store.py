"""The store: one SQLite file with the panes, the offsets they were counted up to, and what other layers keep beside.

Dashboards, notebooks and /metrics read it; only the tail (and what runs inside its transaction) writes it.

Panes and the roll-ups of old ones are of `birdwatch.windows.panefile`; this adds what lies beside them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from birdwatch.records import Control, decode, encode
from birdwatch.streams import Partition
from birdwatch.windows.panefile import PaneFile
from birdwatch.windows.storefile import check_sum

__all__ = ["COUNTED_BY", "Arrivals", "Checkpoint", "Extreme", "Source", "Store"]

COUNTED_BY: Final = "group"
"""The note that names the group whose counts are added up in a store; none where a tail alone counts."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS extremes (
    start INTEGER NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, partner TEXT NOT NULL, request_id TEXT NOT NULL,
    score REAL NOT NULL, partner_score REAL NOT NULL,
    PRIMARY KEY (start, model, version, partner, request_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS extremes_by_pair ON extremes (model, partner, start);
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
"""

_EXTREMES_KEPT: Final = 10
"""So many of the largest disagreements of a pair stay of an hour, or a day, whose panes are dropped."""

_FORGET_EXTREMES: Final = """
DELETE FROM extremes WHERE (start, model, version, partner, request_id) IN (
    SELECT start, model, version, partner, request_id FROM (
        SELECT *, row_number() OVER (
            PARTITION BY model, partner ORDER BY abs(score - partner_score) DESC, request_id) AS place
        FROM extremes WHERE start >= ? AND start < ?)
    WHERE place > ?)
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


class Store(PaneFile):
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
        super().__init__(path, _TABLES, pane_seconds=pane_seconds, readonly=readonly)

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

    def dropping(self, since: int, until: int) -> None:
        """Keep the largest disagreements of each pair alone, of the panes that are dropped."""
        self.connection.execute(_FORGET_EXTREMES, (since, until, _EXTREMES_KEPT))

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
