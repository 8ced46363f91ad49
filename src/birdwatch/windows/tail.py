"""The tail: reads the streams, keeps the rows of open panes as columns, and writes each pane when the watermark passes.

What is open lives in memory only. With every commit the store keeps two offsets a partition: where to read again to
refill what is open (``resume``), and up to where closed panes have counted (``position``). Killed at any moment and
started again, the tail gives the same panes bit for bit.
"""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from birdwatch.config import Settings
from birdwatch.errors import RecordError, SettingsError
from birdwatch.records import Control, decode
from birdwatch.streams import Message, Partition, Positions, Streams
from birdwatch.streams.deadletters import dead_letter
from birdwatch.windows.build import Grid, build, join_columns
from birdwatch.windows.decode import COUNTED, Columns, Decoder, Fault, Names
from birdwatch.windows.inputs import Inputs
from birdwatch.windows.store import Checkpoint, Store
from birdwatch.windows.watermark import Watermark

__all__ = ["Tail"]

# Truth comes when it comes, and control when someone acts: neither says how far the traffic has come.
_TIMED: Final = ("requests", "scores", "canary", "metrics")


@dataclass
class _Open:
    """The rows of one pane, and the first offset of each partition that is needed to have them again."""

    parts: dict[str, list[Columns]] = field(default_factory=dict)
    first: dict[Partition, int] = field(default_factory=dict)

    def add(self, stream: str, partition: Partition, offset: int, columns: Columns) -> None:
        self.parts.setdefault(stream, []).append(columns)
        self.first[partition] = min(offset, self.first.get(partition, offset))


class Tail:
    """Counts streams into the panes of a store.

    Parameters
    ----------
    streams
        Where to read.
    store
        Where panes are written; its pane length counts.
    settings
        Lateness, mappings, roles, scale.
    on_closed
        Called inside the store's transaction with the event time up to which all panes are closed: judge here.
    letters
        Where dead letters go, if elsewhere: recorded streams are only read.
    finite
        The streams are recorded: one that was read to its end gives nothing more.
    now
        The wall clock.

    Raises
    ------
    SettingsError
        A mapping cannot be used.
    """

    def __init__(
        self,
        streams: Streams,
        store: Store,
        settings: Settings,
        *,
        on_closed: Callable[[int], None] | None = None,
        letters: Streams | None = None,
        finite: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._letters = letters or streams
        self._store = store
        self._settings = settings
        self._on_closed = on_closed or (lambda _until: None)
        self._finite = finite
        self._now = now
        self._names = Names()
        self._grid = Grid(settings.scale, settings.unit)
        self._inputs = Inputs.of(settings)
        unknown = sorted(set(settings.mappings) - {*COUNTED, "control"})
        if unknown:
            raise SettingsError(f"mappings.{unknown[0]}: no such stream; there are {', '.join([*COUNTED, 'control'])}")
        control = settings.mappings.get("control")
        if control is not None and (control.fields or control.constants or control.units):
            raise SettingsError("mappings.control: only its `topic` can be set, control records are Birdwatch's own")
        self._ours: dict[str, list[str]] = {}
        for stream in (*COUNTED, "control"):
            mapping = settings.mappings.get(stream)
            self._ours.setdefault((mapping.topic if mapping else None) or stream, []).append(stream)
        self._decoders = {
            stream: Decoder(stream, self._names, settings.mappings.get(stream), self._inputs, now=now)
            for stream in COUNTED
        }
        self.dead_letters = 0
        """How many rows could not be read since this object was made."""
        self._watermark = Watermark(settings.idle_seconds)
        self._open: dict[int, _Open] = {}
        self._kept: dict[int, _Open] = {}  # closed, but a late row can still be joined into them
        self._late: dict[int, _Open] = {}  # came after their pane was closed
        self._closed_until: int = store.noted("closed_until", -(2**62))
        self._kept_from: int = store.noted("kept_from", -(2**62))
        self._controls = store.controls()
        self._resumed = store.checkpoints()
        self._watermark.restore(store.sources(), now())
        self._reader = streams.reader(list(self._ours))
        self._counted: Positions = {at: point.position for at, point in self._resumed.items()}
        self._reader.seek({at: point.resume for at, point in self._resumed.items()})
        timed = [topic for topic, ours in self._ours.items() if any(stream in _TIMED for stream in ours)]
        if not finite:
            for topic in timed:
                self._watermark.await_(Partition(topic), now() + settings.idle_seconds)
        for at, end in streams.ends(timed).items():
            if end > self._counted.get(at, 0):
                self._watermark.await_(at)

    def step(self, limit: int = 10_000, timeout: float = 0.2) -> int:
        """Read once, count, close what can be closed, and commit; give the number of messages read."""
        messages = self._reader.poll(limit, timeout)
        by_partition: dict[Partition, list[Message]] = {}
        for message in messages:
            by_partition.setdefault(Partition(message.stream, message.partition), []).append(message)
        faults: list[Fault] = []
        with self._store.transaction():
            for at, found in by_partition.items():
                for stream in self._ours[at.stream]:
                    faults += self._take(at, stream, found)
            self._advance()
            if self._refilled():
                self._settle()
                if self._finite and not messages:
                    self._end_what_is_read()
                self._close_until(self._due())
                if messages:
                    self._commit()
            # Dead letters go out before the offsets are kept: after a crash one may be there twice, but none is lost.
            self.dead_letters += len(faults)
            for fault in faults:
                dead_letter(self._letters, fault.message, fault.reason)
        return len(messages)

    def finish(self) -> None:
        """Close every open pane: nothing more will come."""
        with self._store.transaction():
            if self._open:
                self._close_until(max(self._open) + self._store.pane_seconds)
            self._commit()

    def close(self) -> None:
        """Let go of the streams; what is open will be read again."""
        self._reader.close()

    def _advance(self) -> None:
        for at, position in self._reader.positions().items():
            self._counted[at] = max(position, self._counted.get(at, 0))

    def _refilled(self) -> bool:
        """Tell whether what was read before the restart is in memory again; until then no pane is whole."""
        positions = self._reader.positions()
        return all(positions.get(at, 0) >= point.position for at, point in self._resumed.items())

    def _take(self, at: Partition, stream: str, messages: list[Message]) -> list[Fault]:
        """Sort the rows of one partition's messages into their panes."""
        counted = self._counted.get(at, 0)
        if stream == "control":
            return self._take_control(at, messages)
        columns, origin, faults = self._decoders[stream](messages)
        if columns["id"].size:
            self._note_progress(at, stream, columns)
            length = self._store.pane_seconds
            starts = np.floor_divide(columns["time"], length).astype(np.int64) * length
            offsets = np.array([m.offset for m in messages], dtype=np.int64)[origin]
            fresh = offsets >= counted
            order = np.lexsort([fresh, starts])
            keys = starts[order] * 2 + fresh[order]
            cuts = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), keys.size]
            for begin, end in itertools.pairwise(cuts):
                rows = order[begin:end]
                part = {name: values[rows] for name, values in columns.items()}
                first = int(offsets[rows].min())
                self._place(int(starts[rows[0]]), stream, at, first, part, fresh=bool(fresh[rows[0]]))
        return [fault for fault in faults if fault.message.offset >= counted]

    def _place(self, start: int, stream: str, at: Partition, first: int, part: Columns, *, fresh: bool) -> None:
        if start + self._store.pane_seconds > self._closed_until:
            self._open.setdefault(start, _Open()).add(stream, at, first, part)
            return
        if start >= self._kept_from:
            self._kept.setdefault(start, _Open()).add(stream, at, first, part)
        if fresh:
            self._late.setdefault(start, _Open()).add(stream, at, first, part)

    def _take_control(self, at: Partition, messages: list[Message]) -> list[Fault]:
        faults = []
        for message in messages:
            try:
                self._store.put_control(at, message.offset, decode(message.value, Control))
            except RecordError as error:
                faults.append(Fault(message, str(error)))
        self._controls = self._store.controls()
        return [fault for fault in faults if fault.message.offset >= self._counted.get(at, 0)]

    def _note_progress(self, at: Partition, stream: str, columns: Columns) -> None:
        if stream not in _TIMED:
            return
        now = self._now()
        if stream in ("scores", "canary"):
            for code in np.unique(columns["who"]).tolist():
                latest = float(columns["time"][columns["who"] == code].max())
                self._watermark.see(at, self._names.pairs[code][0], latest, now)
        else:
            self._watermark.see(at, "", float(columns["time"].max()), now)

    def _settle(self) -> None:
        """Add what came late to panes that were written: joined while their rows are kept, by plain addition after."""
        for start, rows in self._late.items():
            streams = {stream: join_columns(parts) for stream, parts in rows.parts.items()}
            for stream, columns in streams.items():
                self._store.add_late(start, stream, int(columns["id"].size))
            if start >= self._kept_from:
                self._write(start, self._kept[start])
            else:
                self._store.add(start, build(streams, self._names, self._grid, inputs=self._inputs).pane)
        self._late = {}

    def _end_what_is_read(self) -> None:
        ends = self._streams.ends(list(self._ours))
        for at, position in self._reader.positions().items():
            if position >= ends.get(at, 0):
                self._watermark.end(at)

    def _due(self) -> int:
        """Give the event time up to which panes can be closed: whole panes, after the allowed lateness."""
        reached = self._watermark.value(self._now()) - self._settings.lateness_seconds
        if not math.isfinite(reached):
            return self._closed_until
        return math.floor(reached / self._store.pane_seconds) * self._store.pane_seconds

    def _close_until(self, until: int) -> None:
        if until <= self._closed_until:
            return
        length = self._store.pane_seconds
        for start in sorted(start for start in self._open if start + length <= until):
            self._kept[start] = self._open.pop(start)
            self._write(start, self._kept[start])
        self._closed_until = until
        # A late row is still joined for as long again as it was allowed to be late, and at least for one pane.
        self._kept_from = max(
            self._kept_from, until - length - math.ceil(self._settings.lateness_seconds / length) * length
        )
        self._kept = {start: rows for start, rows in self._kept.items() if start >= self._kept_from}
        self._store.note("closed_until", self._closed_until)
        self._store.note("kept_from", self._kept_from)
        self._on_closed(until)

    def _write(self, start: int, rows: _Open) -> None:
        streams = {stream: join_columns(parts) for stream, parts in rows.parts.items()}
        built = build(streams, self._names, self._grid, self._champion(start), self._settings.canary, self._inputs)
        self._store.put(start, built.pane)
        self._store.put_extremes(start, built.extremes)
        self._store.put_duplicates(start, built.duplicates)

    def _champion(self, start: int) -> str:
        """Name the champion in force when a pane began."""
        named = [c.model for c in self._controls if c.action == "champion" and c.ts <= start]
        return named[-1] if named else self._settings.champion

    def _commit(self) -> None:
        needed: dict[Partition, int] = {}
        for rows in (*self._open.values(), *self._kept.values()):
            for at, first in rows.first.items():
                needed[at] = min(first, needed.get(at, first))
        self._store.put_checkpoints(
            {at: Checkpoint(min(needed.get(at, counted), counted), counted) for at, counted in self._counted.items()}
        )
        self._store.put_sources(self._watermark.sources(self._now()))
