"""The tail: reads the streams, counts them in one lane, and writes each pane into the store when the watermark passes.

With every commit the store keeps for each partition where to read again to refill what is open, and up to where closed
panes have counted. Killed at any moment and started again, the tail gives the same panes bit for bit.
"""

import math
import time
from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from typing import Final

from birdwatch.config import Settings
from birdwatch.errors import RecordError, StoreError
from birdwatch.records import Control, decode
from birdwatch.streams import Message, Partition, Streams
from birdwatch.streams.deadletters import dead_letters
from birdwatch.windows.counting import CONTROL, Counting
from birdwatch.windows.decode import Fault
from birdwatch.windows.gaps import put_gaps
from birdwatch.windows.lag import Lag, put_lag
from birdwatch.windows.lane import NEVER, Counted, Lane
from birdwatch.windows.listening import Listening
from birdwatch.windows.pacing import Pacing
from birdwatch.windows.posteriors import SNAPSHOTS, put_posteriors
from birdwatch.windows.reading import Reading
from birdwatch.windows.rollups import Keep
from birdwatch.windows.store import COUNTED_BY, Store
from birdwatch.windows.unreadable import letters_of, put_unreadable

__all__ = ["Tail"]

_CLOSED_UNTIL: Final = "closed_until"
_KEPT_FROM: Final = "kept_from"
_IN_CLOSED: Final = "in_closed"
_PLACE: Final = attrgetter("stream", "partition")


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

    Attributes
    ----------
    reading
        What was read since this object was made, and how far.

    Raises
    ------
    SettingsError
        A mapping cannot be used.
    StoreError
        A group has counted into the store.
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
        group: str | None = store.noted(COUNTED_BY, None)
        if group is not None:
            raise StoreError(f"{store.path} was counted by the group {group}, not by a tail alone: use another --store")
        self._streams = streams
        self._letters = letters or streams
        self._store = store
        self._on_closed = on_closed or (lambda _until: None)
        self._finite = finite
        self._now = now
        self._keep = Keep.asked(settings)
        self._counting = Counting(settings, now=now)
        self._counting.controls = store.controls()
        resumed = store.checkpoints()
        self._lane = Lane(self._counting, settings.model_copy(update={"pane_seconds": store.pane_seconds}))
        self._lane.resume(
            resumed,
            in_closed={Partition(stream, number): at for stream, number, at in store.noted(_IN_CLOSED, [])},
            closed_until=store.noted(_CLOSED_UNTIL, NEVER),
            kept_from=store.noted(_KEPT_FROM, NEVER),
        )
        watermark = self._lane.watermark
        watermark.restore(store.sources(), now())
        timed = self._counting.timed
        self._topics = list(dict.fromkeys([*self._counting.topics, SNAPSHOTS]))
        self._reader = streams.reader(self._topics, on_lost=settings.on_lost)
        self._reader.seek({at: point.resume for at, point in resumed.items()})
        # Until they have been read nobody knows whom to compare with; recorded streams are read to their ends anyway.
        self._unknown = {} if finite else streams.ends([self._counting.topic_of(CONTROL)])
        self._pacing = Pacing(self._reader, settings.most_rows)
        self._listening = Listening(streams, self._reader, timed, settings.idle_seconds, now())
        self.reading = Reading(streams, self._reader, self._pacing, lambda: [watermark])
        self._lag = Lag(self.reading.lags)
        self._uncounted: list[Fault] = []  # dead letters whose number is not in the store yet
        if not finite:
            for topic in timed:
                watermark.await_(Partition(topic), now() + settings.idle_seconds)
        for at, end in streams.ends(timed).items():
            if end > (resumed[at].position if at in resumed else 0):
                watermark.await_(at, math.inf if finite else now() + settings.idle_seconds)

    @property
    def dead_letters(self) -> int:
        """How many rows could not be read since this object was made."""
        return self.reading.dead_letters

    def step(self, limit: int = 10_000, timeout: float = 0.2) -> int:
        """Read once, count, close what can be closed, and commit; give the number of messages read."""
        messages = self._reader.poll(limit, timeout)
        now = heard = self._now()
        if not self._finite:
            heard = self._listening.step(now, busy=bool(messages), paused=self._pacing.paused)
        behind = {} if self._finite else self._lag.step(now)
        faults: list[Fault] = []
        gaps = [gap for found in self._reader.gaps() if (gap := self._lane.lose(found)) is not None]
        with self._store.transaction():
            put_gaps(self._store, gaps)
            for at, found in by_partition(messages).items():
                if at.stream not in self._counting.topics:
                    faults += put_posteriors(self._store, found)
                    continue
                if CONTROL in self._counting.topics[at.stream]:
                    faults += self._take_control(at, found)
                faults += self._lane.take(at, found, now)
            self._uncounted += faults
            positions = self._reader.positions()
            self._lane.advance(positions)
            self._unknown = {at: end for at, end in self._unknown.items() if positions.get(at, 0) < end}
            if self._lane.refilled(positions) and not self._unknown:
                self._write(self._lane.settle())
                if self._finite and not messages:
                    self._end_what_is_read()
                self._close_until(self._lane.due(heard))
                if messages or gaps:
                    self._commit(heard)
            put_lag(self._store, self._last_closed, behind, of_all=True)
            self._pacing.step(self._lane.rows, [self._lane.watermark], heard)
            # Dead letters go out before the offsets are kept: after a crash one may be there twice, but none is lost.
            if faults:
                dead_letters(self._letters, [(fault.message, fault.reason) for fault in faults])
        self.reading.note(len(messages), faults, gaps)
        return len(messages)

    def finish(self) -> None:
        """Close every open pane: nothing more will come."""
        with self._store.transaction():
            self._close_until(self._lane.last())
            self._commit(self._now())
        while self._age():
            pass

    def close(self) -> None:
        """Let go of the streams; what is open will be read again."""
        self._reader.close()

    def _take_control(self, at: Partition, messages: list[Message]) -> list[Fault]:
        """Keep what operators did, each once however often it is read."""
        faults = []
        for message in messages:
            try:
                self._store.put_control(at, message.offset, decode(message.value, Control))
            except RecordError as error:
                faults.append(Fault(message, str(error)))
        self._counting.controls = self._store.controls()
        return faults

    def _end_what_is_read(self) -> None:
        ends = self._streams.ends(self._topics)
        for at, position in self._reader.positions().items():
            if position >= ends.get(at, 0):
                self._lane.watermark.end(at)

    def _close_until(self, until: int) -> None:
        if until <= self._lane.closed_until:
            return
        self._write(self._lane.close(until))
        self._store.note(_CLOSED_UNTIL, self._lane.closed_until)
        self._store.note(_KEPT_FROM, self._lane.kept_from)
        self._age()
        self._on_closed(until)

    def _age(self) -> bool:
        """Roll up and drop a little; tell whether there was anything to do."""
        with self._store.transaction():
            return self._store.age(self._lane.closed_until, self._keep, open_from=self._lane.kept_from)

    def _write(self, counted: list[Counted]) -> None:
        for pane in counted:
            for stream, late in pane.late.items():
                self._store.add_late(pane.start, stream, late)
            if pane.added:
                self._store.add(pane.start, pane.built.pane)
            else:
                self._store.put(pane.start, pane.built.pane)
                self._store.put_extremes(pane.start, pane.built.extremes)
                self._store.put_duplicates(pane.start, pane.built.duplicates)

    @property
    def _last_closed(self) -> int:
        """The last pane that has closed, under which is kept what has no time of its own."""
        closed_until = self._lane.closed_until
        return closed_until if closed_until == NEVER else closed_until - self._store.pane_seconds

    def _commit(self, now: float) -> None:
        put_unreadable(self._store, self._last_closed, letters_of(self._uncounted))
        self._uncounted = []
        self._store.put_checkpoints(self._lane.checkpoints())
        self._store.note(_IN_CLOSED, [[*at, offset] for at, offset in sorted(self._lane.in_closed().items())])
        self._store.put_sources(self._lane.watermark.sources(now))


def by_partition(messages: list[Message]) -> dict[Partition, list[Message]]:
    """Sort messages by the partition they lie in, each in the order of its log."""
    found: dict[Partition, list[Message]] = {}
    for at, some in groupby(messages, _PLACE):
        found.setdefault(Partition(*at), []).extend(some)
    return found
