"""The merge: adds up what the lanes of a group have counted, and writes each pane into the store when all have told it.

It reads the stream ``panes`` (of transactions, those that were committed) and keeps its offsets in the same transaction
as the panes: what a lane has said is added once. A pane is closed when every lane has come past it, but for lanes whose
sources are silent, or that nobody has counted for a while; what those say later is still added, and counted as late.
"""

import math
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from birdwatch.config import Settings
from birdwatch.deltas import PaneDelta
from birdwatch.errors import RecordError, SettingsError, StoreError
from birdwatch.records import Control, decode
from birdwatch.streams import Gap, Message, Partition, Streams
from birdwatch.streams.deadletters import dead_letters
from birdwatch.windows.counting import CONTROL, Counting
from birdwatch.windows.decode import Fault
from birdwatch.windows.delta import extremes_of, pane_of
from birdwatch.windows.gaps import put_gaps
from birdwatch.windows.inputs import Inputs
from birdwatch.windows.joint import EXTREMES
from birdwatch.windows.lag import Lag, forget_lag, put_lag
from birdwatch.windows.lane import NEVER
from birdwatch.windows.listening import Listening
from birdwatch.windows.posteriors import SNAPSHOTS, put_posteriors
from birdwatch.windows.reading import Reading
from birdwatch.windows.rollups import Keep
from birdwatch.windows.store import COUNTED_BY, Checkpoint, Source, Store
from birdwatch.windows.unreadable import letters_of, put_unreadable
from birdwatch.windows.watermark import Watermark
from birdwatch.windows.whole import whole
from birdwatch.windows.worker import PANES

__all__ = ["Merge"]

_CLOSED_UNTIL: Final = "closed_until"
_KEPT_FROM: Final = "kept_from"
_LANES: Final = "lanes"
_LONGEST_SECONDS: Final = 86_400
"""So long what was said of a pane is kept for lanes that have not come past it; later words are added by themselves."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS deltas (id INTEGER PRIMARY KEY, start INTEGER NOT NULL, record BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS deltas_by_start ON deltas (start);
"""


class _Said(msgspec.Struct):
    """How far a lane has come, by its last word."""

    closed_until: float
    idle: bool


class Merge:
    """Adds up lanes into the panes of a store.

    Parameters
    ----------
    streams
        Where the lanes write, and operators.
    store
        Where panes are written; its pane length is that of the lanes.
    settings
        The same as those of the lanes.
    group
        Whose lanes.
    on_closed
        Called inside the store's transaction with the event time up to which all panes are closed: judge here.
    now
        The wall clock.

    Attributes
    ----------
    reading
        What was read since this object was made, and how far.

    Raises
    ------
    StoreError
        A tail alone, or another group, has counted into the store: all would be in it twice.
    """

    def __init__(
        self,
        streams: Streams,
        store: Store,
        settings: Settings,
        *,
        group: str,
        on_closed: Callable[[int], None] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._store = store
        self._group = group
        self._on_closed = on_closed or (lambda _until: None)
        self._now = now
        self._length = store.pane_seconds
        self._horizon = 2 * self._length + math.ceil(settings.lateness_seconds)
        self._inputs = Inputs.of(settings)
        self._keep = Keep.asked(settings)
        counted: str | None = store.noted(COUNTED_BY, None)
        if counted != group and (counted is not None or store.checkpoints()):
            by = f"the group {counted}" if counted is not None else "a tail alone"
            raise StoreError(f"{store.path} was counted by {by}, not by the group {group}: use another --store")
        store.connection.execute(_TABLE)
        with store.transaction():
            store.note(COUNTED_BY, group)
            forget_lag(store)
        self._closed_until: int = store.noted(_CLOSED_UNTIL, NEVER)
        self._kept_from: int = store.noted(_KEPT_FROM, NEVER)
        self._watermark = Watermark(settings.idle_seconds)
        self._lanes = {int(n): msgspec.convert(s, _Said) for n, s in store.noted(_LANES, {}).items()}
        self._watermark.restore(
            [Source(PANES, n, "", said.closed_until, said.idle) for n, said in self._lanes.items()], now()
        )
        counting = Counting(settings, now=now)
        self._control = counting.topic_of(CONTROL)
        self._timed = counting.timed
        self._awaits = False
        self._await_lanes()
        self._reader = streams.reader([PANES, self._control, SNAPSHOTS], on_lost=settings.on_lost)
        self._reader.seek({at: point.position for at, point in store.checkpoints().items()})
        self._listening = Listening(streams, self._reader, [PANES], settings.idle_seconds, now())
        self.reading = Reading(streams, self._reader, None, lambda: [self._watermark])
        self._lag = Lag(self.reading.lags)

    def step(self, limit: int = 1000, timeout: float = 0.2) -> int:
        """Read once, add, close what can be closed, and commit; give the number of messages read."""
        messages = self._reader.poll(limit, timeout)
        heard = self._listening.step(self._now(), busy=bool(messages))
        if messages and not self._awaits:
            self._await_lanes()
        behind = self._lag.step(self._now())
        faults: list[Fault] = []
        with self._store.transaction():
            again: set[int] = set()
            for message in messages:
                try:
                    if message.stream == self._control:
                        at = Partition(message.stream, message.partition)
                        self._store.put_control(at, message.offset, decode(message.value, Control))
                    elif message.stream == SNAPSHOTS:
                        faults += put_posteriors(self._store, [message])
                    else:
                        again |= self._take(message)
                except RecordError as error:
                    faults.append(Fault(message, str(error)))
            gaps = self._reader.gaps()
            put_gaps(self._store, gaps)
            for start in sorted(again):
                self._write(start)
            self._close(heard)
            put_unreadable(self._store, self._last_closed, letters_of(faults))
            put_lag(self._store, self._last_closed, behind)
            if messages or gaps:
                positions = self._reader.positions()
                self._store.put_checkpoints({at: Checkpoint(offset, offset) for at, offset in positions.items()})
                self._store.note(_LANES, {str(n): msgspec.to_builtins(said) for n, said in self._lanes.items()})
            # Before the offsets are kept: after a crash a dead letter may be there twice, but none is lost.
            if faults:
                dead_letters(self._streams, [(fault.message, fault.reason) for fault in faults])
        self.reading.note(len(messages), faults, gaps)
        return len(messages)

    def close(self) -> None:
        """Let go of the streams."""
        self._reader.close()

    def _await_lanes(self) -> None:
        """Wait for all lanes there are to say how far they have come; before there are streams, nobody knows how many."""
        for number in {at.number for at in self._streams.ends(self._timed)}:
            self._watermark.await_(Partition(PANES, number), self._now() + self._watermark.idle_seconds)
            self._awaits = True

    def _take(self, message: Message) -> set[int]:
        """Keep what a lane said; give the closed panes that it changes."""
        delta = decode(message.value, PaneDelta)
        if delta.group != self._group:
            return set()
        if delta.pane_seconds != self._length:
            raise SettingsError(
                f"the tails of the group {self._group} count panes of {delta.pane_seconds} s, and {self._store.path} has panes"
                f" of {self._length} s: give tails and judge the same pane_seconds, and after a change a new group and store"
            )
        if delta.start is None:
            self._hear(delta)
            return set()
        closed = delta.start + self._length <= self._closed_until
        for stream, rows in (delta.rows if closed else delta.late).items():
            self._store.add_late(delta.start, stream, rows)
        if closed and delta.start < self._kept_from:
            self._store.add(delta.start, whole(pane_of([delta]), self._inputs))
            return set()
        self._store.connection.execute("INSERT INTO deltas (start, record) VALUES (?, ?)", (delta.start, message.value))
        return {delta.start} if closed else set()

    def _hear(self, word: PaneDelta) -> None:
        """Take note of how far a lane has come."""
        at = Partition(PANES, word.lane)
        if word.closed_until is not None:
            self._watermark.see(at, "", word.closed_until, self._now())
            self._lanes[word.lane] = _Said(word.closed_until, word.idle)
        if word.idle:
            self._watermark.rest(at)
        elif word.closed_until is None:  # it reads, and has not come to the end of its first pane
            self._watermark.await_(at, self._now() + self._watermark.idle_seconds)
        self._store.put_sources([Source(s.stream, s.partition, s.model, s.latest, s.idle) for s in word.sources])
        put_gaps(self._store, [Gap(Partition(g.stream, g.partition), g.wanted, g.found, g.reason) for g in word.gaps])
        put_unreadable(self._store, self._last_closed, word.unreadable)
        behind = {Partition(stream, word.lane): messages for stream, messages in word.behind.items()}
        put_lag(self._store, self._last_closed, behind)

    @property
    def _last_closed(self) -> int:
        """The last pane that has closed, under which is kept what has no time of its own."""
        return self._closed_until if self._closed_until == NEVER else self._closed_until - self._length

    def _close(self, heard: float) -> None:
        reached = self._watermark.value(heard)
        until = math.floor(reached / self._length) * self._length if math.isfinite(reached) else self._closed_until
        if until <= self._closed_until:
            return
        due: Any = self._store.connection.execute(
            "SELECT DISTINCT start FROM deltas WHERE start > ? AND start <= ? ORDER BY start",
            (self._closed_until - self._length, until - self._length),
        ).fetchall()
        for (start,) in due:
            self._write(start)
        self._closed_until = until
        self._store.note(_CLOSED_UNTIL, until)
        self._forget()
        self._store.age(until, self._keep, open_from=self._kept_from)
        self._on_closed(until)

    def _forget(self) -> None:
        """Let go of what was said of panes that every lane has come past, long enough ago for what comes late."""
        slowest = min((said.closed_until for said in self._lanes.values()), default=self._closed_until)
        past = int(min(slowest, self._closed_until)) - self._horizon
        self._kept_from = max(self._kept_from, past, self._closed_until - _LONGEST_SECONDS)
        self._store.note(_KEPT_FROM, self._kept_from)
        self._store.connection.execute("DELETE FROM deltas WHERE start < ?", (self._kept_from,))

    def _write(self, start: int) -> None:
        rows: Any = self._store.connection.execute("SELECT record FROM deltas WHERE start = ? ORDER BY id", (start,))
        deltas = [decode(record, PaneDelta) for (record,) in rows]
        self._store.put(start, whole(pane_of(deltas), self._inputs))
        self._store.put_extremes(start, extremes_of(deltas, EXTREMES))
        duplicates: dict[str, int] = {}
        for delta in deltas:
            for stream, n in delta.duplicates.items():
                duplicates[stream] = duplicates.get(stream, 0) + n
        self._store.put_duplicates(start, duplicates)
