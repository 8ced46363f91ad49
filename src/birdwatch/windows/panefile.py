"""The panes of a store and their roll-ups: written, read from whichever of them serves, rolled up and dropped as they age.

A roll-up is the sum of what it was made of in every transaction: rows that come late renew theirs, and one that was
damaged is made anew where the sums it was made of are still there.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from birdwatch.windows.pane import Counts, Pane, Series, merge
from birdwatch.windows.rollups import Held, Keep, Stretch
from birdwatch.windows.sumfile import Row, SumFile

__all__ = ["PaneFile"]

_HELD: Final = "rollups"

_MOST_ROWS: Final = 50_000
"""About so many rows are rolled up or dropped at once: what closes panes waits for it."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS closed (start INTEGER PRIMARY KEY);
"""


class PaneFile(SumFile):
    """Panes and their roll-ups in one SQLite file; parameters and errors are those of `Store`, which adds what lies beside."""

    def __init__(self, path: str | Path, tables: str, *, pane_seconds: int | None, readonly: bool) -> None:
        self._stale: set[int] = set()
        self._renewed: set[int] = set()
        super().__init__(path, _TABLES + tables, pane_seconds=pane_seconds, readonly=readonly)

    def put(self, start: int, pane: Mapping[Series, Counts]) -> None:
        """Write a closed pane, in place of what was there.

        Raises
        ------
        ValueError
            The pane was dropped: nobody knows what it would take the place of.
        """
        if start < self.held().kept_from(self.pane_seconds):
            raise ValueError(f"the pane of {start} was rolled up and dropped: add to it")
        self._write(self.pane_seconds, start, pane)
        self.connection.execute("INSERT OR IGNORE INTO closed VALUES (?)", (start,))
        self._stale.add(start)
        if not self.connection.in_transaction:
            self._renew()

    def add(self, start: int, pane: Mapping[Series, Counts]) -> None:
        """Add to a pane that may be there already; where it was dropped, to the roll-ups that hold its time."""
        held = self.held()
        finest = held.finest(start)
        if finest == self.pane_seconds:
            self.put(start, merge([self._cell(finest, start), pane]))
            return
        for level in held.levels[held.levels.index(finest) :]:
            cell = start // level * level
            if cell < held.done_until(level):
                self._write(level, cell, merge([self._cell(level, cell), pane]))
        self.connection.execute("INSERT OR IGNORE INTO closed VALUES (?)", (start,))

    def mend(self) -> None:
        """Put aside what was found damaged, and renew the roll-ups that are no longer true."""
        while self._damaged or self._stale:
            self._stale |= {start for level, start in self.put_aside() if level != self.pane_seconds}
            self._renew()

    def forget(self) -> None:
        """Forget what was learnt inside a transaction that is undone, a part of another maybe: what it renewed is not."""
        super().forget()
        self._stale |= self._renewed

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
        step: int | None = None,
    ) -> Iterator[tuple[int, Series, Counts]]:
        """Give (start, series, counts) of all sums that start in [since, until), by series and time.

        They are panes where ``step`` is None, and beyond the time for which panes are kept the finest that is there: a query
        that cuts through an hour of which only the sum is left has all of that hour if it has its start, else nothing.

        Parameters
        ----------
        measure
            It may end in ``*``, as in ``latency.*``.
        segment
            One of them, or ``""`` for everything.
        in_parts
            False leaves unread what was counted by segment, which is most of the rows where there are segments.
        step
            The caller adds up by so many seconds, counted from ``since``. Rows are then sums over as much time as fits
            into its steps: of days and hours, where steps begin and end with them, and of what lies side by side.
        """
        wanted: list[str] = []
        values: list[Any] = []
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
        self._renew()
        # All of it as of one moment: beside this, hours may be rolled up and dropped.
        with self.in_our_words(), self.connection:
            rows = [
                row
                for stretch in self.held().stretches(since, until, step)
                for row in self._found(stretch, wanted, values, few=measure is not None or model is not None)
            ]
        rows.sort(key=itemgetter(1, 2))  # by series and time, over all levels
        yield from self._histograms(rows, since, step)

    def _found(self, of: Stretch, wanted: list[str], values: list[Any], *, few: bool) -> Iterable[Row]:
        table, only = self._table(of.seconds)
        # CROSS JOIN is SQLite's way to say which table comes first: of a few series over a quarter of a year, or of all
        # series in an hour, the other way round reads a thousand times as much.
        order = f"series s CROSS JOIN {table} p" if few else f"{table} p CROSS JOIN series s"
        stored = self._stored(of.seconds)
        conditions = " AND ".join(["p.start >= ?", "p.start < ?", *wanted])
        found: Iterable[Row] = self.connection.execute(
            f"SELECT {of.seconds}, s.id, p.start, p.bins, p.counts, {stored} FROM {order} ON s.id = p.series"  # noqa: S608
            f" WHERE {conditions}{only} ORDER BY s.id, p.start",
            [of.since, of.until, *values],
        )
        return found

    def pane(self, since: int, until: int, *, measure: str | None = None, model: str | None = None) -> Pane:
        """Add up all panes that start in [since, until): days, and hours and panes at their edges."""
        found = self.rows(since, until, measure=measure, model=model, step=max(until - since, 1))
        return merge({series: counts} for _, series, counts in found)

    def blocks(
        self, since: int, until: int, seconds: int, *, measure: str | None = None, model: str | None = None
    ) -> dict[int, Pane]:
        """Add up panes by block of ``seconds`` counted from ``since``; blocks without any pane are left out."""
        parts: dict[int, list[Pane]] = {}
        for start, series, counts in self.rows(since, until, measure=measure, model=model, step=seconds):
            parts.setdefault(since + (start - since) // seconds * seconds, []).append({series: counts})
        return {start: merge(found) for start, found in sorted(parts.items())}

    def last_bins(self, number: int, until: int, most: int) -> list[int]:
        """Give the bins that a series has in its last panes before ``until``; of older times, in its last cells.

        Parameters
        ----------
        number
            That of the series in this store.
        """
        held = self.held()
        for level in held.levels:
            if held.done_until(level) <= held.kept_from(level):
                break
            table, only = self._table(level)
            stored = self._stored(level)
            rows: Any = self.connection.execute(
                f"SELECT {level}, series, start, bins, counts, {stored} FROM {table} p WHERE series = ? AND start < ?{only}"  # noqa: S608
                " ORDER BY start DESC LIMIT ?",
                (number, until, most),
            )
            found = self._histograms(rows)
            bins = [bin_ for _, _, counts in found for bin_ in counts.bins.tolist()]
            if bins:
                return bins
        return []

    def digest(self) -> dict[tuple[int, Series], tuple[bytes, bytes]]:
        """Give every pane's bytes by (start, series): two stores are equal when these are."""
        found = self._sound(Stretch(self.pane_seconds, -(2**62), 2**62))
        return {(start, series): (counts.bins.tobytes(), counts.counts.tobytes()) for start, series, counts in found}

    def held(self) -> Held:
        """Tell which sums there are of which times."""
        return Held.noted(self.pane_seconds, self.noted(_HELD, {}))

    def age(self, until: int, keep: Keep, *, open_from: int) -> bool:
        """Roll up what has ended, or drop what is older than is kept: as much as is soon done, inside a transaction.

        Nothing is dropped that is not in a roll-up.

        Parameters
        ----------
        until
            Event time up to which all panes are closed.
        keep
            How long panes and hours are kept.
        open_from
            Panes from here on may still be written again.

        Returns
        -------
        bool
            Whether there was anything to do: then there may be more.
        """
        self._renew()
        self._renewed.clear()
        before = self.held()
        held = Held(before.levels, dict(before.done), dict(before.kept))
        left = self._roll_up(held, until)
        if left == _MOST_ROWS:
            self._drop(held, until, keep, open_from)
        if held != before:
            self.note(_HELD, held.to_note())
        return held != before

    def _roll_up(self, held: Held, until: int) -> int:
        left = _MOST_ROWS
        for finer, level in pairwise(held.levels):
            last = min(until, held.done_until(finer)) // level * level
            while left > 0:
                cell = self._first_cell(finer, level, held.done_until(level))
                if cell is None or cell >= last:
                    held.done[level] = max(last, held.done_until(level))
                    break
                left -= self._sum_up(finer, level, cell)
                held.done[level] = cell + level
        return left

    def _drop(self, held: Held, until: int, keep: Keep, open_from: int) -> None:
        left = _MOST_ROWS
        for finer, level in pairwise(held.levels):
            seconds = keep.of(finer, self.pane_seconds)
            if seconds is None:
                continue
            last = min(until - seconds, held.done_until(level))
            if finer == self.pane_seconds:
                last = min(last, open_from)
            table, only = self._table(finer)
            while left > 0:
                cell = self._first_cell(finer, level, held.kept_from(finer))
                if cell is None or cell + level > last:
                    break
                if finer == self.pane_seconds:
                    self.dropping(cell, cell + level)
                # By series: their rows lie side by side.
                self.connection.execute(
                    f"DELETE FROM {table} WHERE series IN (SELECT id FROM series) AND start >= ? AND start < ?{only}",  # noqa: S608
                    (cell, cell + level),
                )
                left -= self.connection.changes()
                held.kept[finer] = cell + level

    def dropping(self, since: int, until: int) -> None:
        """Do what must be done about what lies beside the panes of [since, until) when they are dropped."""

    def _first_cell(self, finer: int, level: int, since: int) -> int | None:
        """Find the first cell from an event time on of which there is anything."""
        table, only = self._table(finer)
        first = self.connection.execute(f"SELECT min(start) FROM {table} WHERE start >= ?{only}", (since,)).get  # noqa: S608
        return None if first is None else first // level * level

    def _renew(self) -> None:
        """Sum up again the cells in which panes were written since they were rolled up."""
        if not self._stale:
            return
        starts, self._stale = self._stale, set()
        self._renewed |= starts
        held = self.held()
        for finer, level in pairwise(held.levels):
            for cell in sorted({start // level * level for start in starts}):
                if held.kept_from(finer) <= cell < held.done_until(level):
                    self._sum_up(finer, level, cell)

    def _sum_up(self, finer: int, level: int, cell: int) -> int:
        """Write the cell that starts here; give how many rows it was made of."""
        table, only = self._table(finer)
        stretch = Stretch(finer, cell, cell + level)
        found = self._sound(stretch, step=level)
        self._write(level, cell, merge({series: counts} for _, series, counts in found))
        many: int = self.connection.execute(
            f"SELECT count(*) FROM {table} WHERE start >= ? AND start < ?{only}",  # noqa: S608
            (stretch.since, stretch.until),
        ).get
        return many
