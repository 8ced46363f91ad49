"""What each of Spark's machines does: find out whose a message is, count parts of panes, add parts up.

A part of a pane is that of some requests, chosen by their ids: all that is said of a request is in one part, so that a
machine can drop duplicates and join models by itself. Parts add up as the lanes of `birdwatch.windows.worker` do.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from birdwatch.config import Settings
from birdwatch.deltas import PaneDelta
from birdwatch.errors import RecordError
from birdwatch.records import Control, decode, encode
from birdwatch.streams import Message
from birdwatch.windows.counting import CONTROL, Counting
from birdwatch.windows.decode import Columns, Fault
from birdwatch.windows.delta import as_deltas, extremes_of, pane_of
from birdwatch.windows.inputs import Inputs
from birdwatch.windows.joint import EXTREMES
from birdwatch.windows.lane import Counted
from birdwatch.windows.pane import starts_of
from birdwatch.windows.unreadable import letters_of
from birdwatch.windows.whole import whole

__all__ = ["COUNTED", "MESSAGES", "PLACED", "WHOLE", "Parts"]

MESSAGES: Final = pa.schema(
    {
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "key": pa.binary(),
        "value": pa.binary(),
    }
)
"""Messages as archives and Kafka have them."""

PLACED: Final = pa.schema(
    [
        pa.field("start", pa.int64()),
        pa.field("part", pa.int64()),
        *MESSAGES,
        pa.field("kind", pa.string()),
        pa.field("reason", pa.string()),
    ]
)
"""A message once for each part of a pane in which it counts; or without a pane, and why it cannot be read."""

COUNTED: Final = pa.schema({"start": pa.int64(), "delta": pa.binary()})
"""What was counted in a part of a pane, as a `birdwatch.deltas.PaneDelta`."""

_NAMED: Final = {"model": pa.string(), "version": pa.string(), "partner": pa.string()}
_SERIES: Final = pa.struct(
    {
        "measure": pa.string(),
        **_NAMED,
        "segment": pa.string(),
        "bins": pa.list_(pa.int64()),
        "counts": pa.list_(pa.int64()),
    }
)
_EXTREME: Final = pa.struct({**_NAMED, "request_id": pa.string(), "score": pa.float64(), "partner_score": pa.float64()})
_LETTERS: Final = pa.struct(
    {"stream": pa.string(), "kind": pa.string(), "n": pa.int64(), "reason": pa.string(), "first": pa.string()}
)

WHOLE: Final = pa.schema(
    {
        "start": pa.int64(),
        "series": pa.list_(_SERIES),
        "extremes": pa.list_(_EXTREME),
        "duplicates": pa.map_(pa.string(), pa.int64()),
        "unreadable": pa.list_(_LETTERS),
    }
)
"""A row a pane, and one without a start that tells what could not be read."""


@dataclass(frozen=True)
class Parts:
    """Counts panes in parts.

    Attributes
    ----------
    settings
        As for the tail.
    now
        The wall clock when the work began: an event is out of range, or is not, whichever machine looks at it.
    controls
        What operators did, in order of event time.
    parts
        How many there are of a pane.
    """

    settings: Settings
    now: float
    controls: tuple[Control, ...]
    parts: int

    @cached_property
    def _counting(self) -> Counting:
        counting = Counting(self.settings, now=lambda: self.now)  # each machine makes its own
        counting.controls = self.controls
        return counting

    def place(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Say of messages to which parts of which panes they belong: `MESSAGES` to `PLACED`."""
        for batch in batches:
            faults: list[Fault] = []
            places: list[tuple[int, int, int]] = []  # which message, and where it counts
            for topic, of in _by_topic(batch).items():
                rows, messages = np.array(list(of)), list(of.values())
                for stream in self._counting.topics[topic]:
                    if stream == CONTROL:
                        faults += _not_controls(messages)
                        continue
                    columns, origin, found = self._counting.decoder(stream)(messages)
                    faults += found
                    starts, parts = self._where(columns)
                    places += zip(rows[origin].tolist(), starts.tolist(), parts.tolist(), strict=True)
            at, starts, parts = np.array(list(dict.fromkeys(places)), np.int64).reshape(-1, 3).T
            placed, nothing = batch.take(pa.array(at)), pa.nulls(at.size, pa.string())
            where = [pa.array(starts), pa.array(parts)]
            yield pa.RecordBatch.from_arrays([*where, *placed.columns, nothing, nothing], schema=PLACED)
            if faults:
                yield pa.RecordBatch.from_pylist([self._set_aside(fault) for fault in faults], schema=PLACED)

    def _where(self, columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the pane in which each row counts, and the part of it."""
        # Not the numbers that requests have by `ids_of_texts`, which differ from process to process.
        hashes = np.fromiter(map(zlib.crc32, columns["name"].tolist()), np.int64, columns["name"].size)
        return starts_of(columns["time"], self.settings.pane_seconds), hashes % self.parts

    def _set_aside(self, fault: Fault) -> dict[str, Any]:
        message, reason, kind = fault
        row = {name: getattr(message, name) for name in ("partition", "offset", "key", "value")}
        part = message.offset % self.parts  # any will do that is the same if the message is there twice
        return {"part": part, "topic": message.stream, **row, "kind": kind, "reason": reason}

    def count(self, placed: pa.Table) -> pa.Table:
        """Count a part of a pane: `PLACED` of one start and part to `COUNTED`."""
        start, part = placed["start"][0].as_py(), placed["part"][0].as_py()
        said = PaneDelta(group="", pane_seconds=self.settings.pane_seconds, lane=part)
        if start is None:
            deltas = [msgspec.structs.replace(said, unreadable=letters_of(_faults(placed)))]
        else:
            built = self._counting.build(self._columns(placed, start, part), start, whole=False)
            deltas = as_deltas(said, Counted(start, built, None, {}, {}))
        return pa.table([[start] * len(deltas), list(map(encode, deltas))], schema=COUNTED)

    def _columns(self, placed: pa.Table, start: int, part: int) -> dict[str, list[Columns]]:
        """Read messages, of each the rows that are in this part of the pane."""
        found: dict[str, list[Columns]] = {}
        for topic, of in _by_topic(placed).items():
            # While files are put together an archive has a message twice.
            messages = {(message.partition, message.offset): message for message in of.values()}
            for stream in self._counting.topics[topic]:
                if stream != CONTROL:
                    columns, _, _ = self._counting.decoder(stream)(list(messages.values()))
                    starts, parts = self._where(columns)
                    mine = (starts == start) & (parts == part)
                    if mine.any():
                        found[stream] = [{name: values[mine] for name, values in columns.items()}]
        return found

    def add_up(self, counted: pa.Table) -> pa.Table:
        """Add the parts of a pane up: `COUNTED` of one start to a row of `WHOLE`."""
        deltas = [decode(record, PaneDelta) for record in counted["delta"].to_pylist()]
        pane = whole(pane_of(deltas), Inputs.of(self.settings))
        row = {
            "start": counted["start"][0].as_py(),
            "series": [series._asdict() | counts._asdict() for series, counts in sorted(pane.items())],
            "extremes": [extreme._asdict() for extreme in extremes_of(deltas, EXTREMES)],
            "duplicates": list(sum((Counter(delta.duplicates) for delta in deltas), Counter[str]()).items()),
            "unreadable": [msgspec.structs.asdict(letters) for delta in deltas for letters in delta.unreadable],
        }
        return pa.Table.from_pylist([row], schema=WHOLE)


def _by_topic(found: pa.RecordBatch | pa.Table) -> dict[str, dict[int, Message]]:
    """Give the messages of each topic by the rows they are in."""
    topics: dict[str, dict[int, Message]] = {}
    for row, message in enumerate(_messages(found)):
        topics.setdefault(message.stream, {})[row] = message
    return topics


def _messages(found: pa.RecordBatch | pa.Table) -> Iterator[Message]:
    for topic, partition, offset, key, value in zip(*(found[name].to_pylist() for name in MESSAGES.names), strict=True):
        yield Message(topic, partition, offset, key or b"", value or b"")


def _not_controls(messages: Iterable[Message]) -> Iterator[Fault]:
    for message in messages:
        try:
            decode(message.value, Control)
        except RecordError as error:
            yield Fault(message, str(error))


def _faults(placed: pa.Table) -> list[Fault]:
    """Give what cannot be read in the order of its logs, each once."""
    kinds, reasons = placed["kind"].to_pylist(), placed["reason"].to_pylist()
    found = {Fault(*each) for each in zip(_messages(placed), reasons, kinds, strict=True)}
    return sorted(found, key=lambda f: (f.message.stream, f.message.partition, f.message.offset, f.reason))
