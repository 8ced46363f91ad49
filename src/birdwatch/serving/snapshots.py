"""Snapshots of what a component knows, on a stream of their own: a new instance starts from the latest."""

from typing import Final

from birdwatch.errors import RecordError
from birdwatch.records import Snapshot, decode, encode
from birdwatch.streams import Partition, Positions, Reader, Streams

__all__ = ["SNAPSHOTS", "by_name", "from_names", "latest", "save"]

SNAPSHOTS: Final = "snapshots"
"""The stream they are on."""

_FIRST_STEP: Final = 16
_SILENCE_SECONDS: Final = 5.0


def by_name(positions: Positions) -> dict[str, int]:
    """Write positions as a snapshot has them: JSON wants text for a key.

    Examples
    --------
    >>> by_name({Partition("requests", 2): 17})
    {'requests/2': 17}
    """
    return {f"{partition.stream}/{partition.number}": offset for partition, offset in positions.items()}


def from_names(names: dict[str, int]) -> Positions:
    """Read what `by_name` has written.

    Raises
    ------
    ValueError, AttributeError
        It is nothing of the kind.
    """
    places = ((name.rpartition("/"), offset) for name, offset in names.items())
    return {Partition(stream, int(number)): offset for (stream, _, number), offset in places}


def save(streams: Streams, snapshot: Snapshot) -> None:
    """Write a snapshot; those of one component keep their order."""
    streams.append(SNAPSHOTS, [(snapshot.component.encode(), encode(snapshot))])


def latest(streams: Streams, component: str, by: str | None = None) -> Snapshot | None:
    """Find a component's latest snapshot.

    The log is read backwards, in steps that double, so that a long one costs no more than how far back the snapshot
    lies. What cannot be read is passed by.

    Parameters
    ----------
    by
        Who wrote it; None for anybody.

    Returns
    -------
    Snapshot or None
        In one partition the last one counts; of several partitions, that with the latest ``ts``.
    """
    ends = streams.ends([SNAPSHOTS])
    reader = streams.reader([SNAPSHOTS])
    try:
        found = [_last(reader, partition, ends, component, by) for partition, end in ends.items() if end]
    finally:
        reader.close()
    return max((each for each in found if each is not None), key=lambda each: each.ts, default=None)


def _last(
    reader: Reader, partition: Partition, ends: dict[Partition, int], component: str, by: str | None
) -> Snapshot | None:
    stop, step = ends[partition], _FIRST_STEP
    while stop > 0:
        start = max(stop - step, 0)
        found = None
        reader.seek(ends | {partition: start})  # of the others, only what comes meanwhile
        while reader.positions().get(partition, 0) < stop:
            messages = reader.poll(timeout=_SILENCE_SECONDS)
            if not messages:  # the log was trimmed, and this part of it is gone
                break
            for message in messages:
                found = _wanted(message.value, component, by) or found
        if found is not None:
            return found
        stop, step = start, step * 2
    return None


def _wanted(value: bytes, component: str, by: str | None) -> Snapshot | None:
    try:
        snapshot = decode(value, Snapshot)
    except RecordError:
        return None
    return snapshot if snapshot.component == component and by in (None, snapshot.by) else None
