"""A worker: one of several tails that share the partitions, and write what they count to the stream ``panes``.

Each partition number is a lane of its own, wherever it is counted. What a lane has counted and the offsets it was counted
up to are written in one transaction: after a crash, a rebalance or a long stop it is all there or nothing of it, and
whoever holds the partitions then goes on from the same offsets. `birdwatch.windows.merge.Merge` adds the lanes up.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from birdwatch.config import Settings
from birdwatch.deltas import LaneGap, LaneSource, PaneDelta
from birdwatch.errors import MovedError, RecordError
from birdwatch.records import Control, decode, encode
from birdwatch.streams import Changes, Committed, Entry, Gap, Partition, Positions, Streams
from birdwatch.streams.deadletters import letters
from birdwatch.windows.counting import CONTROL, Counting
from birdwatch.windows.delta import as_deltas
from birdwatch.windows.lag import Lag
from birdwatch.windows.lane import NEVER, Counted, Lane
from birdwatch.windows.listening import Listening
from birdwatch.windows.pacing import Pacing
from birdwatch.windows.reading import Reading
from birdwatch.windows.store import Checkpoint
from birdwatch.windows.tail import by_partition
from birdwatch.windows.unreadable import letters_of

if TYPE_CHECKING:
    from birdwatch.windows.decode import Fault

__all__ = ["PANES", "Worker"]

PANES: Final = "panes"
"""The stream of what lanes have counted."""

_WORD_SECONDS: Final = 2.0
"""How often a lane says how far it has come, though no pane has closed."""


class _Note(msgspec.Struct):
    """What is kept beside a committed offset, from which the partition is read again."""

    position: int
    in_closed: int
    closed_until: int = NEVER
    kept_from: int = NEVER


class Worker:
    """Counts the partitions that its group gives it.

    Parameters
    ----------
    streams
        Where to read, and to write: a place with transactions.
    settings
        Lateness, mappings, roles, scale.
    group
        The tails that share the partitions.
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
    StreamError
        The place has no transactions, or the streams' numbers of partitions differ.
    """

    def __init__(
        self, streams: Streams, settings: Settings, *, group: str, now: Callable[[], float] = time.time
    ) -> None:
        self._streams = streams
        self._settings = settings
        self._group = group
        self._now = now
        self._counting = Counting(settings, now=now)
        self._controls: dict[tuple[Partition, int], Control] = {}
        self._lanes: dict[int, Lane] = {}
        self._faults: dict[int, list[Fault]] = defaultdict(list)
        self._gaps: dict[int, list[Gap]] = defaultdict(list)
        self._said_at: dict[int, float] = {}
        self._held: set[Partition] = set()
        self._partial: set[int] = set()  # lanes of which not all partitions have come
        self._looked_at = -math.inf
        control = self._counting.topic_of(CONTROL)
        self._topics = [topic for topic in self._counting.topics if topic != control]
        self._control = streams.reader([control])
        self._unknown = streams.ends([control])  # until they have been read, nobody knows whom to compare with
        self._reader = streams.reader(self._topics, group=group, on_lost=settings.on_lost)
        self._transactions = streams.transactions(self._reader)
        self._pacing = Pacing(self._reader, settings.most_rows)
        self._listening = Listening(streams, self._reader, self._counting.timed, settings.idle_seconds, now())
        self.reading = Reading(
            streams, self._reader, self._pacing, lambda: [lane.watermark for lane in list(self._lanes.values())]
        )
        self._lag = Lag(self.reading.lags)
        self._behind: dict[Partition, int] = {}  # of lanes that have not said so yet

    @property
    def lanes(self) -> list[int]:
        """The lanes that this worker holds, by their partition number."""
        return sorted(self._lanes)

    def step(self, limit: int = 10_000, timeout: float = 0.2) -> int:
        """Read once, count, and write what there is to say; give the number of messages read.

        Raises
        ------
        MovedError
            The partitions are another's by now. Nothing was written; make a new worker, which reads on from what was.
        StreamError
            Kafka does not take it. Nothing was written either.
        """
        messages = self._reader.poll(limit, timeout)
        changes = self._reader.changes()
        self._rearrange(changes)
        now = self._now()
        if changes.given or (self._partial and not 0 <= now - self._looked_at < _WORD_SECONDS):
            self._look(now)
        heard = self._listening.step(now, busy=bool(messages), paused=self._pacing.paused)
        self._behind |= self._lag.step(now)
        self._read_control()
        gaps = [gap for found in self._reader.gaps() if (gap := self._lose(found)) is not None]
        faults: list[Fault] = []
        for at, found in by_partition(messages).items():
            fresh = self._lanes[at.number].take(at, found, now)
            self._faults[at.number] += fresh
            faults += fresh
        self._write(self._reader.positions(), now, heard)
        lanes = self._lanes.values()
        self._pacing.step(sum(lane.rows for lane in lanes), [lane.watermark for lane in lanes], heard)
        self.reading.note(len(messages), faults, gaps)
        return len(messages)

    def close(self) -> None:
        """Leave the group; what is open is read again by whoever gets the partitions."""
        self._transactions.close()
        self._reader.close()
        self._control.close()

    def _rearrange(self, changes: Changes) -> None:
        """Drop lanes that were taken away, and take up those that were given."""
        taken = {at.number for at in changes.taken}
        self._held = {at for at in self._held if at.number not in taken} | changes.given.keys()
        strays = self._reader.positions().keys() - self._held
        if strays:
            where = ", ".join(f"{at.stream}/{at.number}" for at in sorted(strays))
            raise MovedError(f"only some partitions of a lane were taken away: {where} must be read anew")
        self._pacing.forget(changes.taken)
        for number in taken:
            self._lanes.pop(number, None)
            self._faults.pop(number, None)
            self._gaps.pop(number, None)
        given: dict[int, dict[Partition, Committed | None]] = defaultdict(dict)
        for at, committed in changes.given.items():
            given[at.number][at] = committed
        for number, partitions in given.items():
            lane = self._lanes.get(number)
            if lane is None:
                lane = self._lanes[number] = Lane(self._counting, self._settings, whole=False)
                for topic in self._counting.timed:
                    lane.watermark.await_(Partition(topic, number), self._now() + self._settings.idle_seconds)
            for at, committed in partitions.items():
                if committed is not None:
                    note = _read_note(committed)
                    lane.resume(
                        {at: Checkpoint(committed.offset, note.position)},
                        in_closed={at: note.in_closed},
                        closed_until=note.closed_until,
                        kept_from=note.kept_from,
                    )
                if at.stream in self._counting.timed:
                    lane.watermark.await_(at, self._now() + self._settings.idle_seconds)

    def _look(self, now: float) -> None:
        """See of which lanes all partitions that there are have come.

        A pane that is closed without one of them would be thought to have all that was ever read of it. A group may give out
        a topic later than another: whoever shares out may not have heard of it yet.
        """
        there = self._streams.ends(self._topics).keys()
        self._partial = {at.number for at in there - self._held} & self._lanes.keys()
        self._looked_at = now

    def _lose(self, gap: Gap) -> Gap | None:
        """Take note of what was gone before it was read, to be told with what is counted next."""
        lane = self._lanes.get(gap.partition.number)
        lost = lane.lose(gap) if lane is not None else None
        if lost is not None:
            self._gaps[gap.partition.number].append(lost)
        return lost

    def _read_control(self) -> None:
        """Know all that operators did so far: which panes are compared with whom depends on it."""
        fresh = False
        while messages := self._control.poll(1000, 0.0):
            for message in messages:
                try:
                    control = decode(message.value, Control)
                except RecordError:
                    continue  # the judge reads control too, and makes a dead letter of it
                self._controls[Partition(message.stream, message.partition), message.offset] = control
                fresh = True
        positions = self._control.positions()
        self._unknown = {at: end for at, end in self._unknown.items() if positions.get(at, 0) < end}
        if fresh:
            in_order = sorted(self._controls.items(), key=lambda item: (item[1].ts, item[0]))
            self._counting.controls = [control for _, control in in_order]

    def _write(self, positions: Positions, now: float, heard: float) -> None:
        entries: list[Entry] = []
        kept: dict[Partition, Committed] = {}
        written: list[int] = []
        for number, lane in self._lanes.items():
            mine = {at: position for at, position in positions.items() if at.number == number}
            lane.advance(mine)
            if not mine or self._unknown or number in self._partial or not lane.refilled(mine):
                continue  # while the group rebalances nothing is held, and nothing could be written
            counted = [*lane.settle(), *lane.close(lane.due(heard))]
            due = now - self._said_at.get(number, 0.0) >= _WORD_SECONDS
            if counted or due or self._faults[number] or self._gaps[number]:
                entries += self._entries(number, counted, heard)
                kept |= _committed(lane)
                written.append(number)
        if entries:
            self._transactions.write(entries, kept)
            self._behind = {at: messages for at, messages in self._behind.items() if at.number not in written}
        for number in written:
            self._said_at[number] = now
            self._faults[number].clear()
            self._gaps[number].clear()

    def _entries(self, number: int, counted: list[Counted], heard: float) -> Iterator[Entry]:
        """Give what a lane has to say; how far it has come is said last, so that all before it has been heard by then."""
        lane, key = self._lanes[number], str(number).encode()
        said = PaneDelta(group=self._group, pane_seconds=self._settings.pane_seconds, lane=number)
        for pane in counted:
            for delta in as_deltas(said, pane):
                yield Entry(PANES, key, encode(delta))
        sources = [
            LaneSource(stream=s.stream, partition=s.partition, latest=s.latest, model=s.model, idle=s.idle)
            for s in lane.watermark.sources(heard)
        ]
        gaps = [
            LaneGap(stream=g.partition.stream, partition=number, wanted=g.wanted, found=g.found, reason=g.reason)
            for g in self._gaps[number]
        ]
        word = msgspec.structs.replace(
            said,
            closed_until=lane.closed_until if lane.closed_until != NEVER else None,
            idle=lane.watermark.idle(heard) and lane.last() <= lane.closed_until,
            sources=sources,
            gaps=gaps,
            behind={at.stream: messages for at, messages in self._behind.items() if at.number == number},
            unreadable=letters_of(self._faults[number]),
        )
        yield Entry(PANES, key, encode(word))
        yield from letters([(fault.message, fault.reason) for fault in self._faults[number]], self._now())


def _committed(lane: Lane) -> dict[Partition, Committed]:
    """Give what is to be committed of each partition of a lane."""
    in_closed, found = lane.in_closed(), {}
    for at, point in lane.checkpoints().items():
        note = _Note(point.position, in_closed[at], lane.closed_until, lane.kept_from)
        found[at] = Committed(point.resume, encode(note).decode())
    return found


def _read_note(committed: Committed) -> _Note:
    """Read what was kept beside an offset; one that somebody else has set counts from there."""
    try:
        return decode(committed.note.encode(), _Note)
    except RecordError:
        return _Note(committed.offset, committed.offset)
