"""The one interface to where records travel; SQLite, Kafka and recorded files fit it alike.

A stream is an append-only log of messages in partitions, each with its offset. It exists as soon as it is written to,
and reading one that does not exist yet gives nothing until it does. Delivery is at least once.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

__all__ = [
    "Changes",
    "Committed",
    "Entry",
    "Gap",
    "Headers",
    "Message",
    "OnLost",
    "Partition",
    "Positions",
    "Reader",
    "Streams",
    "Transactions",
]

Headers = tuple[tuple[str, bytes], ...]
"""What Kafka carries beside a message: names and values. Other places have none."""

OnLost = Literal["earliest", "latest", "stop"]
"""Where reading goes on when messages were gone before they were read; ``stop`` raises instead."""


class Partition(NamedTuple):
    """One partition of one stream."""

    stream: str
    number: int = 0


Positions = dict[Partition, int]
"""The next offset to read, by partition."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message as it lies in the log."""

    stream: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: Headers = ()


class Committed(NamedTuple):
    """What a group has committed of one partition.

    Attributes
    ----------
    offset
        The next one to read.
    note
        What the reader keeps beside it, at most 4 kB: Kafka's offset metadata.
    """

    offset: int
    note: str = ""


class Gap(NamedTuple):
    """Messages that were gone before they were read.

    Attributes
    ----------
    partition
        Where.
    wanted, found
        The first offset that was not read, and the one at which reading goes on. ``found`` is the smaller one where the
        stream was made anew: its offsets began again.
    reason
        ``trimmed``, as by retention; ``made anew``; ``cut short``, where the last messages are lost and what comes next
        takes their offsets; or ``damaged``, where reading goes on behind what cannot be read.
    """

    partition: Partition
    wanted: int
    found: int
    reason: str


class Entry(NamedTuple):
    """A message to be written, to the partition of its key or to a given one."""

    stream: str
    key: bytes
    value: bytes
    partition: int | None = None
    headers: Headers = ()


class Changes(NamedTuple):
    """What happened to the partitions of a reader.

    Attributes
    ----------
    taken
        What is known of these must be dropped: others read them, or have read them in between.
    given
        Newly read ones, each with what the group has committed.
    back
        Those that a change of the group has taken away and given back: what is known of them counts still. Another member
        may have held one for a moment, without committing anything of it.
    """

    taken: frozenset[Partition]
    given: dict[Partition, Committed | None]
    back: frozenset[Partition] = frozenset()


class Reader(Protocol):
    """Reads some streams in order, each partition by itself."""

    def poll(self, limit: int = 1000, timeout: float = 1.0) -> list[Message]:
        """Give the next messages, at most ``limit``; wait up to ``timeout`` seconds for the first; empty if none.

        Raises
        ------
        StreamError
            Among others: messages were gone before they were read, and the reader was opened with ``on_lost="stop"``.
        """
        ...

    def positions(self) -> Positions:
        """Give the next offset to read of every partition seen so far."""
        ...

    def seek(self, positions: Positions) -> None:
        """Read on from these offsets; partitions not named stay where they are."""
        ...

    def commit(self, positions: Positions | None = None) -> None:
        """Keep positions for the reader's group: those at which it stands, unless others are given.

        Readers that keep state store their positions with the state instead.
        """
        ...

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Give nothing more of these, until they are resumed; they stay this reader's."""
        ...

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Go on with what was paused."""
        ...

    def changes(self) -> Changes:
        """Give what happened to its partitions since this was last asked.

        Taken are those that were taken away or lost while this reader was thought dead, even if they came back; given are
        those that are new. One that is taken away and given back at once, as at each change of a group, is neither: it is
        back.
        Without a group, what appears is given and nothing is taken.
        """
        ...

    def gaps(self) -> list[Gap]:
        """Give what was found missing since this was last asked."""
        ...

    def confirm(self) -> bool:
        """Ask the group whether this reader still is a member; if not, its partitions are gone."""
        ...

    def close(self) -> None:
        """Let go of what the reader holds."""
        ...


class Transactions(Protocol):
    """Writes messages and a group's offsets, all of them or none; opened by `Streams.transactions`."""

    def write(self, entries: Sequence[Entry], kept: Mapping[Partition, Committed]) -> None:
        """Write the entries, and keep these offsets and notes for the reader's group.

        Raises
        ------
        MovedError
            The partitions are another member's by now; nothing was written.
        StreamError
            Nothing was written, for another reason.
        """
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


class Streams(Protocol):
    """A place where streams live, opened by `birdwatch.streams.open_streams`."""

    address: str

    def append(
        self, stream: str, messages: Iterable[tuple[bytes, bytes]], *, headers: Iterable[Headers] | None = None
    ) -> None:
        """Write (key, value) pairs to the end of a stream, durably before it returns.

        ``headers`` are those of each message; places that have none leave them out. Without any message a topic of Kafka is
        made all the same, so that readers hear of it before the first; elsewhere nothing happens.
        """
        ...

    def broadcast(self, stream: str, key: bytes, value: bytes) -> None:
        """Write one message to the end of every partition of a stream, durably before it returns."""
        ...

    def reader(
        self,
        streams: Sequence[str],
        *,
        group: str | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        on_lost: OnLost = "earliest",
    ) -> Reader:
        """Open a reader: from its group's committed offsets where there are some, else from ``start``.

        Where messages are gone before they are read, it says so (`Reader.gaps`) and goes on at ``on_lost``.
        """
        ...

    def names(self) -> list[str]:
        """Name the streams that exist, sorted."""
        ...

    def ends(self, streams: Sequence[str]) -> Positions:
        """Give the offset that the next message of each partition will have."""
        ...

    def begins(self, streams: Sequence[str]) -> Positions:
        """Give the first offset of each partition that is still there, or will be."""
        ...

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; partitions without a commit are left out."""
        ...

    def check_partitions(self, streams: Sequence[str]) -> None:
        """See that streams that are joined have the same number of partitions, so that what belongs together meets.

        Raises
        ------
        StreamError
            They differ; it names each with its count, and the command that mends it.
        """
        ...

    def transactions(self, reader: Reader) -> Transactions:
        """Open what writes messages and the reader's offsets together.

        Raises
        ------
        StreamError
            This place has no transactions: only Kafka does.
        """
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...
