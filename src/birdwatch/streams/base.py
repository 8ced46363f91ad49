"""The one interface to where records travel; SQLite, Kafka and recorded files fit it alike.

A stream is an append-only log of messages in partitions, each with its offset. It exists as soon as it is written to,
and reading one that does not exist yet gives nothing until it does. Delivery is at least once.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

__all__ = ["Message", "Partition", "Positions", "Reader", "Streams"]


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


class Reader(Protocol):
    """Reads some streams in order, each partition by itself."""

    def poll(self, limit: int = 1000, timeout: float = 1.0) -> list[Message]:
        """Give the next messages, at most ``limit``; wait up to ``timeout`` seconds for the first; empty if none."""
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

    def close(self) -> None:
        """Let go of what the reader holds."""
        ...


class Streams(Protocol):
    """A place where streams live, opened by `birdwatch.streams.open_streams`."""

    address: str

    def append(self, stream: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
        """Write (key, value) pairs to the end of a stream, durably before it returns."""
        ...

    def broadcast(self, stream: str, key: bytes, value: bytes) -> None:
        """Write one message to the end of every partition of a stream, durably before it returns."""
        ...

    def reader(
        self, streams: Sequence[str], *, group: str | None = None, start: Literal["earliest", "latest"] = "earliest"
    ) -> Reader:
        """Open a reader: from its group's committed offsets where there are some, else from ``start``."""
        ...

    def names(self) -> list[str]:
        """Name the streams that exist, sorted."""
        ...

    def ends(self, streams: Sequence[str]) -> Positions:
        """Give the offset that the next message of each partition will have."""
        ...

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; partitions without a commit are left out."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...
