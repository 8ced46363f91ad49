"""Putting recorded streams back: merged in order of event time, and paced by it."""

import heapq
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from birdwatch.errors import RecordError, SettingsError, StreamError
from birdwatch.records import UNREADABLE
from birdwatch.streams.arrow import is_arrow, read_table
from birdwatch.streams.base import Message, Partition, Streams

__all__ = ["Recorded", "append", "glance", "merge", "pace", "parse_speed"]


class Recorded(NamedTuple):
    """A message with its place in event time.

    Attributes
    ----------
    ts
        The latest event time in its partition so far, so that each keeps its own order; -inf before there is one.
    dated
        Whether the message itself says when it was: one that cannot be read does not, and goes along all the same.
    key
        By which its stream is partitioned: the one it was recorded with, else the one its record implies.
    """

    ts: float
    dated: bool
    key: bytes
    message: Message


class _Glance(msgspec.Struct):
    """The few fields that replaying needs, whatever the record."""

    ts: float | None = None
    request_id: str | None = None
    id: str | None = None
    fingerprint: str | None = None
    model: str | None = None


_decoder: Final = msgspec.json.Decoder(_Glance)


def merge(
    recorded: Streams, names: Sequence[str], *, on_fault: Callable[[StreamError], object] | None = None
) -> Iterator[Recorded]:
    """Give all messages of some streams in order of event time, each partition's in its own order.

    Parameters
    ----------
    recorded
        Where the streams lie.
    names
        Which of them; at the same event time, the one named first goes first.
    on_fault
        Is told of a stream that cannot be read further; the others go on. By default the error is raised.
    """
    there = sorted(recorded.begins(names), key=lambda at: (names.index(at.stream), at.number))
    return heapq.merge(*(_dated(recorded, at, on_fault) for at in there), key=attrgetter("ts"))


def pace(
    records: Iterable[Recorded],
    speed: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    limit: int = 1000,
) -> Iterator[list[Recorded]]:
    """Give messages in batches when they are due.

    Parameters
    ----------
    records
        In order of event time.
    speed
        Seconds of event time in a second of the clock; ``math.inf`` gives all at once.
    clock, sleep
        Monotonic seconds, and how to let them pass.
    limit
        The largest batch.

    Examples
    --------
    >>> from birdwatch.testing import FakeClock
    >>> clock = FakeClock(0.0)
    >>> message = Message("scores", 0, 0, b"", b"")
    >>> records = [Recorded(ts, True, b"", message) for ts in (100.0, 100.0, 160.0)]
    >>> [(clock(), len(batch)) for batch in pace(records, 60.0, clock=clock, sleep=clock.sleep)]
    [(0.0, 2), (1.0, 1)]
    """
    batch: list[Recorded] = []
    begin: tuple[float, float] | None = None
    for record in records:
        if math.isfinite(record.ts) and math.isfinite(speed):
            # Everything is due from the first message on, so that delays don't add up.
            begin = begin or (clock(), record.ts)
            due = begin[0] + (record.ts - begin[1]) / speed
            if due > clock():
                if batch:
                    yield batch
                    batch = []
                sleep(max(due - clock(), 0.0))
        batch.append(record)
        if len(batch) >= limit:
            yield batch
            batch = []
    if batch:
        yield batch


def append(to: Streams, batch: Iterable[Recorded]) -> None:
    """Append messages to the streams of their names, byte for byte."""
    by_stream: dict[str, list[tuple[bytes, bytes]]] = {}
    for record in batch:
        by_stream.setdefault(record.message.stream, []).append((record.key, record.message.value))
    for stream, messages in by_stream.items():
        to.append(stream, messages)


def parse_speed(text: str) -> float:
    """Read a speed.

    Raises
    ------
    SettingsError
        It is neither ``max`` nor a positive number, with or without ``x``.

    Examples
    --------
    >>> parse_speed("60x"), parse_speed("0.5"), parse_speed("max")
    (60.0, 0.5, inf)
    """
    try:
        speed = math.inf if text == "max" else float(text.removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise SettingsError(f"a speed of {text!r} is no speed: write 60x, 1x or max")
    return speed


def _dated(recorded: Streams, at: Partition, on_fault: Callable[[StreamError], object] | None) -> Iterator[Recorded]:
    reader = recorded.reader([at.stream])
    reader.pause(other for other in reader.positions() if other != at)
    latest = -math.inf
    try:
        while messages := reader.poll(timeout=0.0):
            for message in messages:
                ts, key = glance(message.value)
                latest = latest if ts is None else max(latest, ts)
                yield Recorded(latest, ts is not None, message.key or key, message)
    except StreamError as error:
        if on_fault is None:
            raise
        on_fault(error)
    finally:
        reader.close()


def glance(value: bytes) -> tuple[float | None, bytes]:
    """Give a message's event time, of many rows that of the first, and its key; none and empty where it says none."""
    if is_arrow(value):
        return _first_ts(value), b""
    try:
        seen = _decoder.decode(value)
    except UNREADABLE:
        return None, b""
    return seen.ts, (seen.request_id or seen.id or seen.fingerprint or seen.model or "").encode()


def _first_ts(value: bytes) -> float | None:
    try:
        table = read_table(value)
    except RecordError:
        return None
    if "ts" not in table.column_names or table.num_rows == 0:
        return None
    first = table["ts"][0].as_py()
    return float(first) if isinstance(first, int | float) and math.isfinite(first) else None
