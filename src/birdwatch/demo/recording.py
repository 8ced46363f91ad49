"""Writes stretches of a run's streams as recorded files, such as those in ``sample_streams/``."""

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from birdwatch.demo.flights import start_of
from birdwatch.errors import BirdwatchError
from birdwatch.records import RECORDS
from birdwatch.streams import Streams

__all__ = ["STRETCHES", "record"]

STRETCHES: Final = (
    (start_of("2013-05-13"), start_of("2013-05-17")),
    (start_of("2013-06-06"), start_of("2013-06-09")),
)
"""What is worth keeping: around the bad version of 14 May, and around the storm of 7 June."""


class _Timed(msgspec.Struct):
    """When a record happened: what belongs to a request, when that was made."""

    ts: float
    request_ts: float | None = None


def record(streams: Streams, folder: Path, stretches: Sequence[tuple[float, float]] = STRETCHES) -> dict[str, int]:
    """Write each stream as ``NAME.jsonl.gz``, in the order of the log; the same streams give the same bytes.

    Parameters
    ----------
    stretches
        Event times [since, until). A record belongs to the time of its request; an outcome to that of its own, since
        nobody knew it earlier.

    Returns
    -------
    dict[str, int]
        How many messages were written, by stream.

    Raises
    ------
    BirdwatchError
        Nothing on the streams is of that time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for name in RECORDS:
        lines = list(_inside(streams, name, stretches))
        if lines:
            # Neither the time of writing nor the file's name is kept: they would make equal recordings differ.
            with (folder / f"{name}.jsonl.gz").open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
                file.write(b"".join(line + b"\n" for line in lines))
            written[name] = len(lines)
    if not written:
        raise BirdwatchError(f"{streams.address} holds nothing of the time to be recorded: let the demo run longer")
    return written


def _inside(streams: Streams, name: str, stretches: Sequence[tuple[float, float]]) -> Iterable[bytes]:
    decoder = msgspec.json.Decoder(_Timed)
    ends = streams.ends([name])
    reader = streams.reader([name])
    try:
        while any(reader.positions().get(at, 0) < end for at, end in ends.items()):
            for message in reader.poll(limit=10_000):
                timed = decoder.decode(message.value)
                ts = timed.ts if name == "outcomes" or timed.request_ts is None else timed.request_ts
                if any(since <= ts < until for since, until in stretches):
                    yield message.value
    finally:
        reader.close()
