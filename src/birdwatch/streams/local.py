"""What the places on one machine share: streams of one partition each, and a reader that polls their logs."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NoReturn, Protocol

from birdwatch.errors import LostError, StreamError
from birdwatch.streams.base import Changes, Committed, Gap, Message, OnLost, Partition, Positions, Reader
from birdwatch.streams.bell import Bell
from birdwatch.streams.gaps import go_on

__all__ = ["LocalReader", "LocalStreams", "Log"]

# A millisecond's pause costs about 5 % of a core, so it is for streams with traffic; 25 ms cost below 1 %. With a bell
# they are only for what a writer did not live to ring for.
_BUSY_PAUSE_SECONDS: Final = 0.001
_IDLE_PAUSE_SECONDS: Final = 0.025


class LocalStreams(ABC):
    """Streams of one partition each, whose messages are never trimmed."""

    address: str

    @abstractmethod
    def names(self) -> list[str]:
        """Name the streams that exist, sorted."""

    def begins(self, streams: Sequence[str]) -> Positions:
        """Give the first offset of each stream that exists: 0."""
        there = set(self.names())
        return {Partition(stream): 0 for stream in streams if stream in there}

    def check_partitions(self, streams: Sequence[str]) -> None:
        """Find nothing: each stream has one."""
        del streams

    def transactions(self, reader: Reader) -> NoReturn:
        """Say that there are none here.

        Raises
        ------
        StreamError
            Always.
        """
        del reader
        raise StreamError(
            f"only Kafka has transactions: {self.address} cannot share partitions among processes; "
            "write kafka://HOST:PORT, or run one process without a group"
        )


class Log(Protocol):
    """One stream of one partition, as its place keeps it.

    Attributes
    ----------
    damaged
        Stretches of offsets [from, to) that were found damaged; whoever tells of them empties it. Where ``to`` is the
        smaller one, the log ends there, and goes on from there.
    """

    damaged: list[tuple[int, int]]

    def exists(self) -> bool:
        """Say whether the stream has been written to."""
        ...

    def read(self, offset: int, limit: int, *, stalled: bool) -> tuple[list[Message], int]:
        """Give at most ``limit`` messages from ``offset`` on, and the offset to read next.

        ``stalled`` says that the caller has waited for more in vain: what is there will not become more.
        """
        ...

    def renewed(self, offset: int) -> int | None:
        """Look whether the log was made anew, so that ``offset`` means nothing in it; give the new one's end, or None."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class LocalReader:
    """Reads some logs in turn, for one thread; opened by the `reader` of a place.

    Each poll begins with another stream, so that a busy one does not starve the rest. Streams that do not exist yet
    are taken up when they appear.

    Parameters
    ----------
    logs
        By partition.
    begin
        Where each of them begins.
    keep
        Keeps positions for the reader's group; None for a reader without a group.
    committed
        What the group has kept: where its partitions begin instead.
    on_lost
        Where to go on in a log that was made anew. Behind damaged messages reading just goes on; ``stop`` raises there too.
    bell
        Ends a pause when a log has changed; without one, or where it does not hear, the logs are looked at more often.
    clock, sleep
        Monotonic seconds, and how to wait for them to pass.
    """

    def __init__(
        self,
        logs: dict[Partition, Log],
        begin: Positions,
        keep: Callable[[Positions], None] | None,
        *,
        committed: Positions | None = None,
        on_lost: OnLost = "earliest",
        bell: Bell | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._logs = logs
        self._order = list(begin)
        self._committed = committed or {}
        self._next = begin | self._committed
        self._keep = keep
        self._on_lost = on_lost
        self._paused: set[Partition] = set()
        self._known: set[Partition] = set()
        self._gaps: list[Gap] = []
        self._stopped: StreamError | None = None
        self._bell = bell
        self._clock = clock
        self._sleep = sleep
        self._active = clock()
        self._read_out = False

    def poll(self, limit: int = 1000, timeout: float = 1.0) -> list[Message]:
        """Give the next messages, at most ``limit``; wait up to ``timeout`` seconds for the first; empty if none."""
        if self._stopped is not None:
            raise self._stopped
        now = self._clock()
        deadline = now + timeout
        pause = self._read_out
        while True:
            if pause and now < deadline:
                self._pause(now - self._active, deadline - now)
                now = self._clock()
            stalled = now >= deadline
            messages = self._read(limit, stalled=stalled)
            now = self._clock()
            if messages:
                self._active = now
            if messages or stalled:
                # What is appended from here on rings: to look for it before waiting for that costs a tenth of all CPU time.
                self._read_out = len(messages) < limit and self._hears()
                return messages
            pause = True

    def positions(self) -> Positions:
        """Give the next offset to read of every stream that exists."""
        return {partition: self._next[partition] for partition in self._order if self._logs[partition].exists()}

    def seek(self, positions: Positions) -> None:
        """Read on from these offsets; streams not named stay where they are, streams not read here are ignored."""
        self._next |= {partition: offset for partition, offset in positions.items() if partition in self._next}
        self._stopped = None
        self._read_out = False

    def commit(self, positions: Positions | None = None) -> None:
        """Keep positions for the reader's group: those at which it stands, unless others are given.

        Raises
        ------
        ValueError
            The reader was opened without a group.
        """
        if self._keep is None:
            raise ValueError("a reader without a group has nobody to commit for: open it with group=NAME")
        self._keep(self.positions() if positions is None else positions)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Give nothing more of these streams, until they are resumed."""
        self._paused.update(partitions)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Go on with what was paused."""
        self._paused.difference_update(partitions)
        self._read_out = False

    def changes(self) -> Changes:
        """Give the streams that have appeared since this was last asked, each with what the group has committed."""
        fresh = [partition for partition in self.positions() if partition not in self._known]
        self._known.update(fresh)
        given = {partition: self._committed.get(partition) for partition in fresh}
        return Changes(frozenset(), {at: None if kept is None else Committed(kept) for at, kept in given.items()})

    def gaps(self) -> list[Gap]:
        """Give what was found damaged, or made anew, since this was last asked."""
        found, self._gaps = self._gaps, []
        return found

    def confirm(self) -> bool:
        """Say that nobody takes anything away here."""
        return True

    def close(self) -> None:
        """Let go of the logs."""
        for log in self._logs.values():
            log.close()
        if self._bell is not None:
            self._bell.close()

    def _lost(self, partition: Partition, log: Log) -> list[Gap]:
        """Say what a log could not give."""
        found = [_gap(partition, *stretch) for stretch in log.damaged]
        log.damaged.clear()
        if self._on_lost == "stop":
            _, wanted, goes_on, reason = found[0]
            raise LostError(
                f"{partition.stream}: messages from offset {wanted} on cannot be read ({reason}; it goes on at {goes_on})."
                " To go on, set on_lost: earliest or latest; against the next time, see to the disk"
            )
        return found

    def _renewed(self, partition: Partition, log: Log, wanted: int) -> int:
        """Give where a log goes on, by the rule if it was made anew."""
        end = log.renewed(wanted)
        if end is None:
            return wanted
        try:
            gap = go_on(partition, wanted, 0, end, self._on_lost, anew=True)
        except StreamError as error:
            self._stopped = error  # the log is open now, and would not be found to be another one again
            raise
        self._gaps += [gap] if gap else []
        return gap.found if gap else wanted

    def _hears(self) -> bool:
        return self._bell is not None and self._bell.hears

    def _pause(self, idle_seconds: float, at_most: float) -> None:
        if self._bell is not None and self._bell.hears:
            self._bell.wait(min(_IDLE_PAUSE_SECONDS, at_most))
        else:
            self._sleep(min(_pause(idle_seconds), at_most))

    def _read(self, limit: int, *, stalled: bool) -> list[Message]:
        messages: list[Message] = []
        reached: Positions = {}
        self._order = self._order[1:] + self._order[:1]
        for partition in [each for each in self._order if each not in self._paused]:
            log, wanted = self._logs[partition], limit - len(messages)
            found, reached[partition] = log.read(self._next[partition], wanted, stalled=stalled)
            if log.damaged:
                self._gaps += self._lost(partition, log)
            if stalled and not found:
                reached[partition] = self._renewed(partition, log, reached[partition])
            messages += found
            if len(messages) >= limit:
                break
        # Only now: a log that cannot be read must not cost the messages of another.
        self._next |= reached
        return messages


def _gap(partition: Partition, wanted: int, found: int) -> Gap:
    return Gap(partition, wanted, found, "damaged" if found > wanted else "cut short")


def _pause(idle_seconds: float) -> float:
    """Give the time to sleep before looking again: a twentieth of the silence so far, between 1 and 25 ms.

    >>> _pause(0.0), _pause(0.2), _pause(60.0)
    (0.001, 0.01, 0.025)
    """
    return min(max(idle_seconds / 20, _BUSY_PAUSE_SECONDS), _IDLE_PAUSE_SECONDS)
