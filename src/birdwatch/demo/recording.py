"""Writes stretches of a run as recorded streams with their frozen references: what is in ``sample_streams/``."""

import gzip
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import msgspec

from birdwatch.demo.flights import start_of
from birdwatch.detect.frozen import save
from birdwatch.detect.kind import Rule
from birdwatch.detect.sourcing import freeze
from birdwatch.errors import BirdwatchError
from birdwatch.records import RECORDS, as_token
from birdwatch.streams import Streams
from birdwatch.windows.store import Store

__all__ = ["EVENTS", "record", "record_events"]

EVENTS: Final = {
    "2013-05-14": (start_of("2013-05-13"), start_of("2013-05-17")),
    "2013-06-07": (start_of("2013-06-06"), start_of("2013-06-09")),
}
"""What is worth keeping, by folder: around the bad version of 14 May, and around the storm of 7 June."""

_DAY: Final = 86_400
_HOUR: Final = 3600
_REFERENCES: Final = {"day": (28, _DAY), "quarter": (28, 6 * _HOUR), "hour": (91, _HOUR)}
"""How many days, and in which blocks, the rules compare with: those on scores, on inputs and on pairs."""


def record_events(
    streams: Streams, store: Store, folder: Path, until: float, rules: Collection[Rule] = ()
) -> dict[str, int]:
    """Record each of `EVENTS` that was over by ``until`` in a folder of its own, with what ``rules`` need of the time before.

    Returns
    -------
    dict[str, int]
        How many messages were written, by event.

    Raises
    ------
    BirdwatchError
        None was over.
    """
    over = {name: stretch for name, stretch in EVENTS.items() if stretch[1] <= until}
    if not over:
        raise BirdwatchError(
            f"nothing to record: no event was over, the first ends with {min(EVENTS)} and two days more"
        )
    written = {}
    for name, (first, last) in over.items():
        written[name] = sum(record(streams, folder / name, first, last).values())
        for kind, (days, block) in _REFERENCES.items():
            known = store.closed_range() or (int(first), int(first))
            since = max(int(first) - days * _DAY, known[0] + (int(first) - known[0]) % _DAY)
            before = freeze(
                store,
                since,
                int(first),
                block,
                name=f"the {(int(first) - since) // _DAY} days before",
                rules=rules,
                lean=True,
            )
            save(before, folder / name / f"reference-{kind}.json.gz")
    return written


class _Timed(msgspec.Struct):
    """When a record happened: what belongs to a request, when that was made."""

    ts: float
    request_ts: float | None = None


def record(streams: Streams, folder: Path, since: float, until: float) -> dict[str, int]:
    """Write each stream as ``NAME.jsonl.gz``, in the order of the log; the same streams give the same bytes.

    Parameters
    ----------
    since, until
        Event time. A record belongs to the time of its request; an outcome to that of its own, since nobody knew it
        earlier. What was put on control before belongs to it too: what is in force is the sum of all.

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
        lines = list(_inside(streams, name, since, until))
        if lines:
            # Neither the time of writing nor the file's name is kept: they would make equal recordings differ.
            with (folder / f"{name}.jsonl.gz").open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
                file.write(b"".join(line + b"\n" for line in lines))
            written[name] = len(lines)
    if not written.keys() - {"control"}:
        raise BirdwatchError(f"{streams.address} holds nothing of the time to be recorded: let the demo run longer")
    return written


def _inside(streams: Streams, name: str, since: float, until: float) -> Iterable[bytes]:
    decoder = msgspec.json.Decoder(_Timed)
    ends = streams.ends([name])
    reader = streams.reader([name])
    try:
        while any(reader.positions().get(at, 0) < end for at, end in ends.items()):
            for message in reader.poll(limit=10_000):
                if as_token(message.value):
                    continue
                timed = decoder.decode(message.value)
                ts = timed.ts if name == "outcomes" or timed.request_ts is None else timed.request_ts
                if (since <= ts or name == "control") and ts < until:
                    yield message.value
    finally:
        reader.close()
