"""A lane: partitions that are counted together, from the rows of open panes to the panes that close.

All that belongs to a request lies in partitions of one number, so a lane can join what it reads by itself. A tail alone
has all partitions in one lane; tails that share them have a lane for each number, and what the lanes count adds up.

What is open lives in memory only. Beside it a lane knows two offsets a partition: where to read again to refill what is
open (``resume``), and up to where it has counted (``position``).
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from birdwatch.config import Settings
from birdwatch.streams import Gap, Message, Partition, Positions
from birdwatch.windows.build import Built
from birdwatch.windows.counting import CONTROL, TIMED, Counting
from birdwatch.windows.decode import Columns, Fault
from birdwatch.windows.pane import starts_of
from birdwatch.windows.store import Checkpoint
from birdwatch.windows.watermark import Watermark

__all__ = ["NEVER", "Counted", "Lane"]

NEVER: Final = -(2**62)
"""Event time before everything: no pane has closed yet."""

OLDEST_SECONDS: Final = 31 * 86_400.0
"""What is later than this is a mistake in somebody's clock rather than late."""


class Counted(NamedTuple):
    """What is to be done about one pane.

    Attributes
    ----------
    built
        The whole of the lane's rows in it, or with ``added`` only those that came too late to be joined.
    before
        What was built of it before, when it is built again.
    rows, late
        How many rows are new, by stream, and how many of them came after the pane was closed.
    """

    start: int
    built: Built
    before: Built | None
    rows: dict[str, int]
    late: dict[str, int]
    added: bool = False


@dataclass
class _Open:
    """The rows of one pane, and the first offset of each partition that is needed to have them again."""

    parts: dict[str, list[Columns]] = field(default_factory=dict)
    first: dict[Partition, int] = field(default_factory=dict)

    def add(self, stream: str, partition: Partition, offset: int, columns: Columns) -> None:
        self.parts.setdefault(stream, []).append(columns)
        self.first[partition] = min(offset, self.first.get(partition, offset))

    def rows(self) -> dict[str, int]:
        return {stream: sum(part["id"].size for part in parts) for stream, parts in self.parts.items()}

    def update(self, other: "_Open") -> None:
        for stream, parts in other.parts.items():
            self.parts.setdefault(stream, []).extend(parts)
        for partition, offset in other.first.items():
            self.first[partition] = min(offset, self.first.get(partition, offset))


class Lane:
    """Counts the rows of some partitions into panes.

    Parameters
    ----------
    counting
        How streams are read and rows are counted.
    settings
        Lateness, idleness, the pane's length.
    whole
        Whether these are all partitions there are.

    Attributes
    ----------
    watermark
        How far its sources have come.
    closed_until, kept_from
        Event time up to which panes have closed, and from which on late rows can still be joined.
    rows
        How many rows it holds in memory.
    """

    def __init__(self, counting: Counting, settings: Settings, *, whole: bool = True) -> None:
        self._counting = counting
        self._whole = whole
        self._length = settings.pane_seconds
        self._lateness = settings.lateness_seconds
        self._resumed: dict[Partition, Checkpoint] = {}
        self._counted: Positions = {}
        self._in_closed: Positions = {}  # rows before these are in panes that have closed, for as long as it is refilled
        self._open: dict[int, _Open] = {}
        self._kept: dict[int, _Open] = {}  # closed, but a late row can still be joined into them
        self._late: dict[int, _Open] = {}  # came after their pane was closed, and is not counted yet
        self.watermark = Watermark(settings.idle_seconds)
        self.closed_until = NEVER
        self.kept_from = NEVER
        self.rows = 0

    def resume(
        self,
        points: Mapping[Partition, Checkpoint],
        *,
        in_closed: Positions | None = None,
        closed_until: int = NEVER,
        kept_from: int = NEVER,
    ) -> None:
        """Go on where what was kept says; the reader must give the messages from each ``resume`` on.

        Parameters
        ----------
        points
            By partition.
        in_closed
            The offsets before which all is in panes that have closed (see `in_closed`); by default, each ``resume``.
        closed_until, kept_from
            As they were.
        """
        self._resumed |= points
        self._in_closed |= in_closed or {}
        self._counted |= {at: point.position for at, point in points.items()}
        self.closed_until = max(self.closed_until, closed_until)
        self.kept_from = max(self.kept_from, kept_from)

    def take(self, at: Partition, messages: Sequence[Message], now: float) -> list[Fault]:
        """Sort the rows of one partition's messages into their panes; give those that cannot be read."""
        counted = self._counted.get(at, 0)
        faults: list[Fault] = []
        for stream in self._counting.topics[at.stream]:
            if stream != CONTROL:
                faults += self._take(at, stream, messages, counted, now)
        self._counted[at] = max(messages[-1].offset + 1, counted)
        return [fault for fault in faults if fault.message.offset >= counted]

    def _take(
        self, at: Partition, stream: str, messages: Sequence[Message], counted: int, now: float
    ) -> Iterable[Fault]:
        columns, origin, faults = self._counting.decoder(stream)(messages)
        if not columns["id"].size:
            return faults
        too_old = columns["time"] < self.closed_until - OLDEST_SECONDS
        if too_old.any():
            why = f"its time lies more than {OLDEST_SECONDS / 86_400:.0f} days before what has been counted"
            faults += [Fault(messages[origin[row]], why, "out of range") for row in np.flatnonzero(too_old)]
            columns = {name: values[~too_old] for name, values in columns.items()}
            origin = origin[~too_old]
            if not origin.size:
                return faults
        self._note_progress(at, stream, columns, now)
        starts = starts_of(columns["time"], self._length)
        offsets = np.array([m.offset for m in messages], dtype=np.int64)[origin]
        fresh = offsets >= counted
        keys = starts * 2 + fresh
        if (np.diff(keys) < 0).any():
            order = np.argsort(keys, kind="stable")
            keys, offsets = keys[order], offsets[order]
            columns = {name: values[order] for name, values in columns.items()}
        cuts = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), keys.size]
        for begin, end in itertools.pairwise(cuts):
            # A copy, since a part that waits long must not hold the whole.
            part = {name: values[begin:end].copy() for name, values in columns.items()}
            start, is_fresh = divmod(int(keys[begin]), 2)
            self._place(start, stream, at, int(offsets[begin:end].min()), part, fresh=bool(is_fresh))
        return faults

    def _place(self, start: int, stream: str, at: Partition, first: int, part: Columns, *, fresh: bool) -> None:
        if start + self._length > self.closed_until:
            where = self._open
        elif fresh:
            where = self._late
        elif start >= self.kept_from:
            where = self._kept
        else:
            return
        where.setdefault(start, _Open()).add(stream, at, first, part)
        self.rows += part["id"].size

    def _note_progress(self, at: Partition, stream: str, columns: Columns, now: float) -> None:
        if stream not in TIMED:
            return
        if stream in ("scores", "canary"):
            latest = np.full(int(columns["who"].max()) + 1, -np.inf)
            np.maximum.at(latest, columns["who"], columns["time"])
            for code in np.flatnonzero(latest > -np.inf).tolist():
                self.watermark.see(at, self._counting.names.pairs[code][0], float(latest[code]), now)
        else:
            self.watermark.see(at, "", float(columns["time"].max()), now)

    def lose(self, gap: Gap) -> Gap | None:
        """Take note of what was gone before it was read; give what of it was never counted, or None."""
        at = gap.partition
        if gap.found > gap.wanted:
            # What was to be read again for the sake of late rows alone has counted.
            missed = max(gap.wanted, self._in_closed.get(at, gap.wanted))
            return gap._replace(wanted=missed) if gap.found > missed else None
        # The offsets begin again: what bears one that was counted is new, and what is open cannot be read again.
        self._counted[at] = gap.found
        self._resumed.pop(at, None)
        for rows in (*self._open.values(), *self._kept.values()):
            if at in rows.first:
                rows.first[at] = gap.found
        return gap

    def advance(self, positions: Positions) -> None:
        """Take note of how far the reader has come."""
        for at, position in positions.items():
            self._counted[at] = max(position, self._counted.get(at, 0))

    def refilled(self, positions: Positions) -> bool:
        """Tell whether what was read before is in memory again; until then no pane is whole."""
        if any(positions.get(at, 0) < point.position for at, point in self._resumed.items()):
            return False
        self._resumed, self._in_closed = {}, {}
        return True

    def settle(self) -> list[Counted]:
        """Count what came late into panes that have closed: joined while their rows are kept, by plain addition after."""
        found = []
        for start, rows in sorted(self._late.items()):
            late = rows.rows()
            if start < self.kept_from:
                alone = self._counting.build_alone(rows.parts, whole=self._whole)
                found.append(Counted(start, alone, None, late, late, added=True))
                self.rows -= sum(late.values())
                continue
            kept = self._kept.setdefault(start, _Open())
            before = None if self._whole else self._counting.build(kept.parts, start, whole=False)
            kept.update(rows)
            again = self._counting.build(kept.parts, start, whole=self._whole)
            found.append(Counted(start, again, before, late, late))
        self._late = {}
        return found

    def due(self, now: float) -> int:
        """Give the event time up to which panes can be closed: whole panes, after the allowed lateness."""
        reached = self.watermark.value(now) - self._lateness
        if not math.isfinite(reached):
            return self.closed_until
        return max(math.floor(reached / self._length) * self._length, self.closed_until)

    def last(self) -> int:
        """Give the event time up to which panes would be closed if nothing more came."""
        return max((start + self._length for start in self._open), default=self.closed_until)

    def close(self, until: int) -> list[Counted]:
        """Count the panes that end by ``until``, and forget the rows of those before that nothing can join any more."""
        if until <= self.closed_until:
            return []
        found = []
        for start in sorted(start for start in self._open if start + self._length <= until):
            rows = self._kept[start] = self._open.pop(start)
            built = self._counting.build(rows.parts, start, whole=self._whole)
            found.append(Counted(start, built, None, rows.rows(), {}))
        self.closed_until = until
        # A late row is still joined for as long again as it was allowed to be late, and at least for one pane.
        horizon = self._length + math.ceil(self._lateness / self._length) * self._length
        self.kept_from = max(self.kept_from, until - horizon)
        for start in [start for start in self._kept if start < self.kept_from]:
            self.rows -= sum(self._kept.pop(start).rows().values())
        return found

    def in_closed(self) -> Positions:
        """Give the offset of each partition before which all is in panes that have closed."""
        found = dict(self._counted)
        for rows in self._open.values():
            for at, first in rows.first.items():
                found[at] = min(first, found.get(at, first))
        return found

    def checkpoints(self) -> dict[Partition, Checkpoint]:
        """Give where each partition is to be read on after a restart."""
        needed: dict[Partition, int] = {}
        for rows in (*self._open.values(), *self._kept.values()):
            for at, first in rows.first.items():
                needed[at] = min(first, needed.get(at, first))
        return {at: Checkpoint(min(needed.get(at, counted), counted), counted) for at, counted in self._counted.items()}
