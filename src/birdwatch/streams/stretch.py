"""Reading a stretch of streams: what lies between two positions, and nothing that is written meanwhile."""

from collections.abc import Iterator
from typing import Final

from birdwatch.streams.base import Message, Partition, Positions, Reader

__all__ = ["read_until"]

_POLL_SECONDS: Final = 1.0
_QUIET_POLLS: Final = 3
_QUIET_POLLS_WITHOUT_PARTITIONS: Final = 15


def read_until(
    reader: Reader, begin: Positions, ends: Positions, *, limit: int = 1000, poll_seconds: float = _POLL_SECONDS
) -> Iterator[list[Message]]:
    """Give the messages before some positions, in batches.

    It is over when the reader has come to all of them, or, as the last of them need not be messages, and others may hold
    some of the partitions, when nothing has come for a while.

    Parameters
    ----------
    reader
        It reads on from ``begin``.
    begin, ends
        By partition; a partition without a beginning is read from its first message.
    limit
        How large a batch may be.
    poll_seconds
        How long to wait for one.
    """
    at = dict(begin)
    quiet = 0
    while any(at.get(partition, 0) < end for partition, end in ends.items()):
        messages = reader.poll(limit, poll_seconds)
        held = reader.positions()
        at |= held
        if messages:
            quiet = 0
            found = [m for m in messages if m.offset < ends.get(Partition(m.stream, m.partition), 0)]
            if found:
                yield found
            continue
        quiet += 1
        if quiet >= (_QUIET_POLLS if held else _QUIET_POLLS_WITHOUT_PARTITIONS):
            return
