"""From messages to columns: only the fields in use are decoded, names become integers, and no event stays an object.

A message is one record in JSON, or one Arrow IPC stream of many rows. Records may be ours, or somebody else's read
through a `Mapping`. A row that cannot be read is a `Fault`, which the tail turns into a dead letter.
"""

import datetime as dt
import math
import secrets
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from birdwatch.config import Mapping, Settings
from birdwatch.errors import RecordError
from birdwatch.records import RECORDS, UNREADABLE, Reason, as_token
from birdwatch.streams import Message
from birdwatch.streams.arrow import is_arrow, read_table, rows_of
from birdwatch.windows.arms import arm_columns
from birdwatch.windows.columnar import Columnar
from birdwatch.windows.foreign import Foreign
from birdwatch.windows.ids import ids_of_texts
from birdwatch.windows.inputs import NOTHING, Inputs, Reader
from birdwatch.windows.names import Names

__all__ = ["COUNTED", "Columns", "Decoder", "Fault", "FaultKind"]

Columns = dict[str, NDArray[Any]]
"""Arrays of one length, by field; ``id`` is the request's id as a 64-bit hash, ``name`` its text, ``time`` event time."""

AHEAD_SECONDS: Final[float] = Settings.model_fields["ahead_seconds"].default
EARLIEST: Final[float] = Settings.model_fields["earliest"].default

FaultKind = Literal["unreadable", "out of range"]
"""What is wrong: it is not what it should be, or it happened at a time at which nothing can have."""

_SAID_OF_MANY: Final = 3

_NUMBER: Final = secrets.randbits(62)
_BETWEEN: Final = b",%d," % _NUMBER


class Fault(NamedTuple):
    """A message, or that part of it, that cannot be counted, and why."""

    message: Message
    reason: str
    kind: FaultKind = "unreadable"


class _OutOfRangeError(RecordError):
    """A time is not one at which anything can have happened."""


_UNUSABLE: Final = (RecordError, msgspec.ValidationError)


class _Field(NamedTuple):
    kind: Any
    default: Any = msgspec.NODEFAULT


# Rows become arrays whose items are as large as the largest of them, so one id of a megabyte would take it ten thousand
# times. What is longer is none of anybody's names.
_Name = Annotated[str, msgspec.Meta(max_length=256)]
_Tier = Annotated[int, msgspec.Meta(ge=-1, lt=2**31)]


# The fields that panes are made of: a typed decoder skips all others.
COUNTED: Final[dict[str, dict[str, _Field]]] = {
    "requests": {"id": _Field(_Name), "ts": _Field(float)},
    "scores": {
        "request_id": _Field(_Name),
        "request_ts": _Field(float),
        "model": _Field(_Name),
        "version": _Field(_Name),
        "score": _Field(float | None),
        "ts": _Field(float),
        "error": _Field(str | None, None),
        "queue_seconds": _Field(float | None, None),
        "elapsed_seconds": _Field(float | None, None),
    },
    "metrics": {
        "request_id": _Field(_Name),
        "request_ts": _Field(float),
        "model": _Field(_Name),
        "version": _Field(_Name),
        "ts": _Field(float),
        "tier": _Field(_Tier),
        "reason": _Field(Reason),
        "latency_seconds": _Field(float),
        "within_sla": _Field(bool),
        "propensities": _Field(dict[str, float | None] | None, None),
        "drawn": _Field(_Name | None, None),
    },
    "outcomes": {
        "request_id": _Field(_Name),
        "ts": _Field(float),
        "reward": _Field(float | None, None),
        "label": _Field(float | None, None),
    },
}
"""By stream; ``canary`` is read as ``scores`` are."""

COUNTED["canary"] = COUNTED["scores"]

# What somebody else's stream need not say.
_OPTIONAL_WHEN_MAPPED: Final[dict[str, Any]] = {
    "version": "",
    "ts": 0.0,
    "tier": 0,
    "reason": "first choice",
    "within_sla": True,
}
_NUMBERS: Final = (float, float | None)

_PLAIN_KINDS: Final[list[tuple[Any, str]]] = [
    (_Name, "name"),
    (float, "number"),
    (float | None, "number?"),
    (str | None, "text?"),
]
"""What can be read column by column, of Arrow payloads."""


class Decoder:
    """Reads the messages of one stream into columns.

    Parameters
    ----------
    stream
        One of `COUNTED`.
    names
        Where (model, version) pairs get their numbers; shared by all decoders of a tail.
    mapping
        How a foreign stream names things; None for our own records.
    inputs
        What is watched of ``requests``: a column each. Whatever their features are, the requests themselves count.
    now
        The wall clock.
    earliest, ahead_seconds
        An event before the one, or further ahead of the clock than the other, is out of range: one mistaken clock or
        unit would close every pane.

    Raises
    ------
    SettingsError
        The mapping names a field that the record does not have, or leaves out one that it needs.
    """

    def __init__(
        self,
        stream: str,
        names: Names,
        mapping: Mapping | None = None,
        inputs: Inputs = NOTHING,
        *,
        now: Callable[[], float],
        earliest: float = EARLIEST,
        ahead_seconds: float = AHEAD_SECONDS,
    ) -> None:
        self.stream = stream
        self._names = names
        self._now = now
        self._earliest = earliest
        self._latest = earliest
        self._ahead_seconds = ahead_seconds
        self._time_field = "request_ts" if "request_ts" in COUNTED[stream] else "ts"
        self._time = attrgetter(self._time_field)
        self._id_field = "id" if stream == "requests" else "request_id"
        fields = COUNTED[stream]
        self._number_fields = [name for name, field in fields.items() if field.kind in _NUMBERS]
        self._foreign: Foreign | None = None
        self._features: Reader | None = Reader(inputs) if stream == "requests" and inputs.columns else None
        if mapping is not None and (mapping.fields or mapping.constants or mapping.units):
            needed = {
                name: field.default is msgspec.NODEFAULT and not self._may_miss(name) for name, field in fields.items()
            }
            self._foreign = Foreign(stream, mapping, needed, self._number_fields, inputs if self._features else NOTHING)
            fields = {
                name: field._replace(default=_OPTIONAL_WHEN_MAPPED[name]) if self._may_miss(name) else field
                for name, field in fields.items()
            }
        self._fields = fields
        definition = [
            (name, field.kind) if field.default is msgspec.NODEFAULT else (name, field.kind, field.default)
            for name, field in fields.items()
        ]
        name = RECORDS[stream].__name__
        self._plain: type[msgspec.Struct] = msgspec.defstruct(name, cast("Any", definition), kw_only=True, gc=False)
        self._row = self._plain
        if self._features is not None:
            definition.append(("features", self._features.kind | None, None))
            self._row = msgspec.defstruct(name, cast("Any", definition), kw_only=True, gc=False)
        self._json: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._row)
        self._array: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[self._row | int])  # type: ignore[name-defined]
        self._columnar = self._by_columns(mapping if self._foreign is not None else None)

    def _by_columns(self, mapping: Mapping | None) -> Columnar | None:
        """Give what reads whole columns, where no field of the stream and no path of the mapping needs more than that."""
        kinds = {
            name: kind for name, field in self._fields.items() for known, kind in _PLAIN_KINDS if field.kind == known
        }
        nested = mapping is not None and (mapping.each is not None or any("." in p for p in mapping.fields.values()))
        if nested or self._features is not None or len(kinds) < len(self._fields):
            return None
        return Columnar(
            kinds,
            {name: f.default for name, f in self._fields.items() if f.default is not msgspec.NODEFAULT},
            mapping,
            id_field=self._id_field,
            time_field=self._time_field,
            codes=self._names.codes,
        )

    def _may_miss(self, name: str) -> bool:
        return name in _OPTIONAL_WHEN_MAPPED and name != self._time_field

    def __call__(self, messages: Sequence[Message]) -> tuple[Columns, NDArray[np.int64], list[Fault]]:
        """Decode messages.

        Returns
        -------
        columns, origin, faults
            ``origin`` has, for each row, which message it came from.
        """
        rows: list[Any] = []
        origin: list[int] = []
        pieces: list[Columns] = []
        faults: list[Fault] = []
        earliest = self._earliest
        latest = self._latest = self._now() + self._ahead_seconds
        time = self._time
        at_once = self._at_once(messages)
        if at_once is not None:
            return (*at_once, faults)
        for index, message in enumerate(messages):
            try:
                if is_arrow(message.value):
                    table = read_table(message.value)
                    columns = self._columnar(table, earliest, latest) if self._columnar is not None else None
                    if columns is not None:
                        if rows:
                            pieces.append(self._columns(rows))
                            rows = []
                        pieces.append(columns)
                        origin += [index] * table.num_rows
                        continue
                    found = self._from_arrow(message, rows_of(table), faults)
                elif self._foreign is None:
                    row = self._from_json(message.value)
                    found = [row if earliest <= time(row) <= latest else self._in_range(row)]  # spares most the call
                else:
                    found = self._from_foreign(self._foreign, msgspec.json.decode(message.value), message, faults)
            except (RecordError, *UNREADABLE) as error:
                if as_token(message.value) is None:  # a swap's cut, which counts as nothing
                    faults.append(self._fault(message, error))
                continue
            rows += found
            origin += [index] * len(found)
        if rows or not pieces:
            pieces.append(self._columns(rows))
        whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        return whole, np.array(origin, dtype=np.int64), faults

    def _at_once(self, messages: Sequence[Message]) -> tuple[Columns, NDArray[np.int64]] | None:
        """Read all messages together; None where that cannot be done, so that one by one shows which are faults, and why."""
        found = self._columnar.all_of(messages, self._earliest, self._latest) if self._columnar is not None else None
        if found is not None:
            return found
        rows = self._together(messages)
        return None if rows is None else (self._columns(rows), np.arange(len(rows)))

    def _together(self, messages: Sequence[Message]) -> list[Any] | None:
        """Read messages as one JSON array, not by a call for each; None where one is not plainly a record of ours.

        Between any two of them stands a number that nobody can guess. Where all of these are found in their places, each
        message was one whole record by itself: two halves of one in neighbouring messages would have swallowed a number.
        """
        if self._foreign is not None:
            return None
        try:
            found = self._array.decode(b"[%b]" % _BETWEEN.join([message.value for message in messages]))
        except UNREADABLE:
            return None
        rows, between = found[::2], found[1::2]
        if (len(rows), between.count(_NUMBER)) != (len(messages), len(between)) or set(map(type, rows)) != {self._row}:
            return None
        times = list(map(self._time, rows))
        return rows if self._earliest <= min(times) and max(times) <= self._latest else None

    def _in_range(self, row: Any) -> Any:
        if self._earliest <= self._time(row) <= self._latest:
            return row
        raise _OutOfRangeError(f"{self._time_field} = {self._wrong_time(self._time(row))}")

    def _sound(self, row: Any) -> Any:
        """See that a row is one as JSON could say it, which has no word for what is infinite."""
        for name in self._number_fields:
            value = getattr(row, name)
            if value is not None and not math.isfinite(value):
                raise RecordError(f"{name} = {value!r} is not finite")
        return self._in_range(row)

    def _wrong_time(self, time: float) -> str:
        """Say of a time why nothing can have happened then, and what may be meant."""
        if time < self._earliest:
            why = f"before {_utc(self._earliest)} (earliest)"
        else:
            why = f"more than {self._ahead_seconds:g} s ahead of the clock (ahead_seconds)"
        for parts, name in ((1e3, "milli"), (1e6, "micro"), (1e9, "nano")):
            if self._earliest <= time / parts <= self._latest:
                why += f"; are these {name}seconds? As such it is {_utc(time / parts)}"
        return f"{time!r} is out of range in Unix seconds: {why}"

    def _fault(self, message: Message, error: Exception, where: str = "") -> Fault:
        if isinstance(error, _OutOfRangeError):
            return Fault(message, f"{where}: {error}" if where else str(error), "out of range")
        return Fault(message, f"{where}{' is ' if where else ''}not a {self._row.__name__}: {error}")

    def _from_json(self, value: bytes) -> Any:
        """Read one of our own records; a request counts whatever its features are."""
        try:
            return self._json.decode(value)
        except UNREADABLE:
            if self._features is None:
                raise
            return self._without_features(msgspec.json.decode(value, type=self._plain))

    def _from_foreign(
        self, foreign: Foreign, record: Any, message: Message, faults: list[Fault], where: str = ""
    ) -> list[Any]:
        """Read one of somebody else's messages, given as plain dictionaries: a row, or many."""
        fields = foreign.fields(record)
        if not foreign.many:
            return [self._sound(foreign.in_our_units(self._convert(fields)))]
        rows: list[Any] = []
        bad: dict[FaultKind, list[tuple[str, Any, Exception]]] = {}
        entries = foreign.entries(record)
        for key, entry in entries:
            try:
                row = self._convert(foreign.of_entry(fields, key, entry))
                rows.append(self._sound(foreign.in_our_units(row)))
            except _UNUSABLE as error:
                kind: FaultKind = "out of range" if isinstance(error, _OutOfRangeError) else "unreadable"
                bad.setdefault(kind, []).append((key, entry, error))
        # What is wrong with some is not the fault of the others; told together, since each alone would repeat the message.
        for some in bad.values():
            value = _json_of(foreign.only(record, ((key, entry) for key, entry, _ in some)))
            faults.append(self._fault_of_many(_alone(message, value), where, some))
        return rows

    def _fault_of_many(self, alone: Message, where: str, some: list[tuple[str, Any, Exception]]) -> Fault:
        told = [
            self._fault(alone, error, f"{where}{', ' if where else ''}entry {key!r:.60}")
            for key, _, error in some[:_SAID_OF_MANY]
        ]
        more = f"; and {len(some) - len(told)} more" if len(some) > len(told) else ""
        return told[0]._replace(reason="; ".join(fault.reason for fault in told) + more)

    def _convert(self, record: dict[str, Any]) -> Any:
        if self._features is not None and not isinstance(record.get("features"), dict):
            record = {name: value for name, value in record.items() if name != "features"}
        return msgspec.convert(record, self._row, strict=False)

    def _without_features(self, row: Any) -> Any:
        return self._row(**{name: getattr(row, name) for name in self._fields})

    def _from_arrow(self, message: Message, records: list[dict[str, Any]], faults: list[Fault]) -> list[Any]:
        """Read the rows of an Arrow payload; what is wrong with one row is that row's fault alone."""
        rows: list[Any] = []
        for number, record in enumerate(records):
            where = f"row {number}"
            try:
                if self._foreign is not None:
                    rows += self._from_foreign(self._foreign, record, message, faults, where)
                else:
                    rows.append(self._sound(self._convert(_without_nan(record))))
            except _UNUSABLE as error:
                faults.append(self._fault(_alone(message, _json_of(record)), error, where))
        return rows

    def _columns(self, rows: list[Any]) -> Columns:
        found = {name: list(map(attrgetter(name), rows)) for name in self._fields}
        ids, names = ids_of_texts(found[self._id_field])
        columns: Columns = {"id": ids, "name": names, "time": np.array(found[self._time_field], dtype=np.float64)}
        if "model" in self._fields:
            columns["who"] = self._names.codes(found["model"], found["version"])
        for name in self._number_fields:
            if name != self._time_field:
                columns[name] = np.array(found[name], dtype=np.float64)  # None becomes NaN
        if "error" in self._fields:
            columns["error"] = np.array([error is not None for error in found["error"]], dtype=np.bool_)
        if "tier" in self._fields:
            columns["tier"] = np.array(found["tier"], dtype=np.int64)
            columns["reason"] = np.array(found["reason"], dtype="U12")
            columns["within_sla"] = np.array(found["within_sla"], dtype=np.bool_)
            columns |= arm_columns(rows, self._names)
        if self._features is not None:
            columns |= self._features.columns([r.features for r in rows])
        return columns


def _alone(message: Message, value: bytes) -> Message:
    """Give a part of a message as if it lay there alone."""
    return Message(message.stream, message.partition, message.offset, message.key, value)


def _utc(ts: float) -> str:
    return f"{dt.datetime.fromtimestamp(ts, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _json_of(record: Any) -> bytes:
    return msgspec.json.encode(record, enc_hook=str)


def _without_nan(record: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()}
