"""From archived bytes to columns: one for each field of the record, typed, with times as UTC timestamps."""

import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
import pyarrow as pa

from birdwatch.errors import RecordError
from birdwatch.records import RECORDS, UNREADABLE, as_token
from birdwatch.streams.arrow import is_arrow, read_rows
from birdwatch.streams.deadletters import DEADLETTERS, DeadLetter

__all__ = ["FEATURES", "Fault", "Rows", "decoder", "flat", "to_frame", "to_table", "united"]

FEATURES: Final = "features"
"""The field whose entries are columns of their own, ``features.NAME``; what is nested in them, ``features.NAME.INNER``."""

_TIMES: Final = frozenset({"ts", "request_ts", "received_ts", "started", "since"})
_ENDLESS_SECONDS: Final = 1e12
_TIME: Final = pa.timestamp("us", tz="UTC")
_JSON: Final = {b"birdwatch": b"json"}
_PLAIN: Final[dict[Any, pa.DataType]] = {float: pa.float64(), int: pa.int64(), str: pa.string(), bool: pa.bool_()}
_KINDS: Final[dict[str, type[msgspec.Struct]]] = {**RECORDS, DEADLETTERS: DeadLetter}


class Fault(NamedTuple):
    """A message, or that part of it, that cannot be read."""

    partition: int
    offset: int
    reason: str
    value: bytes


class Rows(NamedTuple):
    """Records as they were read, each with where it lay."""

    records: list[Any]
    partitions: list[int]
    offsets: list[int]
    faults: list[Fault]

    def take(self, at: Sequence[int]) -> "Rows":
        """Give some of the records, and all faults."""
        records, partitions, offsets = ([column[i] for i in at] for column in self[:3])
        return Rows(records, partitions, offsets, self.faults)


def decoder(stream: str) -> Callable[[pa.RecordBatch], Rows]:
    """Give what reads a batch of an archive into the records of a stream; of streams that are not ours, dictionaries."""
    kind: Any = _KINDS.get(stream, dict[str, Any])
    of_json = msgspec.json.Decoder(kind).decode
    times = sorted(_TIMES.intersection(_KINDS[stream].__struct_fields__)) if stream in _KINDS else []

    def read(batch: pa.RecordBatch) -> Rows:
        rows = Rows([], [], [], [])
        columns = (batch[name].to_pylist() for name in ("partition", "offset", "value"))
        for partition, offset, value in zip(*columns, strict=True):
            found, reason = [], None
            try:
                found.append(of_json(value))
            except UNREADABLE as error:
                if as_token(value) is not None:
                    continue  # it lies among the requests, and is none
                reason = str(error)
                if is_arrow(value):
                    found, reason = _of_many(value, kind)
            for record in found:
                rows.records.append(record)
                rows.partitions.append(partition)
                rows.offsets.append(offset)
            if reason is not None:
                rows.faults.append(Fault(partition, offset, reason, value))
        return _in_time(rows, batch, times)

    return read


def _of_many(value: bytes, kind: Any) -> tuple[list[Any], str | None]:
    """Give the records of a message of many rows, and what was wrong with the first that could not be read."""
    found, reason = [], None
    try:
        for number, row in enumerate(read_rows(value)):
            try:
                found.append(msgspec.convert(row, kind))
            except msgspec.ValidationError as error:
                reason = reason or f"row {number}: {error}"
    except RecordError as error:
        return [], str(error)
    return found, reason


def _in_time(rows: Rows, batch: pa.RecordBatch, times: Sequence[str]) -> Rows:
    """Take out records with times that no timestamp can hold."""
    for name in times:
        of = [getattr(record, name) or 0.0 for record in rows.records]
        if max(of, default=0.0) < _ENDLESS_SECONDS and min(of, default=0.0) > -_ENDLESS_SECONDS:
            continue
        values = dict(zip(batch["offset"].to_pylist(), batch["value"].to_pylist(), strict=True))
        endless = [i for i, time in enumerate(of) if not abs(time) < _ENDLESS_SECONDS]
        for i in endless:
            offset = rows.offsets[i]
            rows.faults.append(Fault(rows.partitions[i], offset, f"its {name} is no time: {of[i]}", values[offset]))
        rows = rows.take(sorted(set(range(len(of))).difference(endless)))
    return rows


def to_table(stream: str, rows: Rows, columns: Sequence[str] | None = None) -> pa.Table:
    """Lay records out in columns.

    Parameters
    ----------
    columns
        Which, in which order; all by default, with ``partition`` and ``offset`` at the end. One that no record has is null.
    """
    kind = _KINDS.get(stream)
    fields = {} if kind is None else {field.encode_name: field for field in msgspec.structs.fields(kind)}
    flats: list[dict[str, Any]] | None = None
    if kind is None:
        flats = [flat(record) for record in rows.records]
    elif FEATURES in fields and (columns is None or any(name.startswith(f"{FEATURES}.") for name in columns)):
        flats = [flat(record.features, FEATURES) for record in rows.records]
    if columns is None:
        loose = list(dict.fromkeys(name for row in flats or () for name in row))
        columns = [*(name for name in fields if name != FEATURES), *loose, "partition", "offset"]
    made: dict[str, pa.Array] = {}
    schema = []
    for name in columns:
        array, is_json = _column(name, rows, fields, flats)
        made[name] = array
        schema.append(pa.field(name, array.type, metadata=_JSON if is_json else None))
    return pa.Table.from_arrays(list(made.values()), schema=pa.schema(schema))


def _column(name: str, rows: Rows, fields: dict[str, Any], flats: list[dict[str, Any]] | None) -> tuple[pa.Array, bool]:
    """Give a column, and whether it is JSON."""
    if name == "partition":
        return pa.array(rows.partitions, pa.int32()), False
    if name == "offset":
        return pa.array(rows.offsets, pa.int64()), False
    if name not in fields:
        loose = [row.get(name) for row in flats] if flats is not None else [None] * len(rows.records)
        return _loose(loose, is_time=not fields and name in _TIMES)
    field = fields[name]
    values = [getattr(record, field.name) for record in rows.records]
    kind = _TIME if name in _TIMES else _arrow(field.type)
    if kind is None:
        return _json(values), True
    return _times(values) if kind is _TIME else pa.array(values, kind), False


def _loose(values: list[Any], *, is_time: bool) -> tuple[pa.Array, bool]:
    """Lay out what has the type that its values have."""
    try:
        return _times(values) if is_time else pa.array(values), False
    except (pa.ArrowException, OverflowError, TypeError, ValueError):  # numbers and words, say
        return _json(values), True


def _times(values: Iterable[float | None]) -> pa.Array:
    return pa.array([None if value is None else round(value * 1e6) for value in values], pa.int64()).cast(_TIME)


def _json(values: Iterable[Any]) -> pa.Array:
    return pa.array([None if value is None else msgspec.json.encode(value).decode() for value in values], pa.string())


def _arrow(kind: Any) -> pa.DataType | None:
    """Give the type of a field's column; None for what has no type of its own: it becomes JSON."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        others = [each for each in inner if each is not type(None)]
        return _arrow(others[0]) if len(others) == 1 else None
    if origin in {dict, list}:
        value = _arrow(inner[-1])
        return None if value is None else pa.list_(value) if origin is list else pa.map_(pa.string(), value)
    return pa.string() if origin is Literal else _PLAIN.get(kind)


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give what is nested by its path.

    >>> flat({"origin": "JFK", "weather": {"wind": 3.5}}, "features")
    {'features.origin': 'JFK', 'features.weather.wind': 3.5}
    """
    found: dict[str, Any] = {}
    for name, inner in value.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(inner, dict) and inner:
            found |= flat(inner, path)
        else:
            found[path] = inner
    return found


def united(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables one below the other; a column that is words here and numbers there becomes JSON."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        kinds: dict[str, set[pa.DataType]] = {}
        for table in tables:
            for field in table.schema:
                if not pa.types.is_null(field.type):
                    kinds.setdefault(field.name, set()).add(field.type)
        mixed = {name for name, found in kinds.items() if not _agree(found)}
        return pa.concat_tables([_as_json(table, mixed) for table in tables], promote_options="permissive")


def _agree(kinds: set[pa.DataType]) -> bool:
    try:
        pa.unify_schemas([pa.schema([pa.field("", kind)]) for kind in kinds], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def _as_json(table: pa.Table, names: set[str]) -> pa.Table:
    for at, field in enumerate(table.schema):
        if field.name in names:
            already = (field.metadata or {}) == _JSON
            column = table.column(at) if already else _json(table.column(at).to_pylist())
            table = table.set_column(at, pa.field(field.name, pa.string(), metadata=_JSON), column)
    return table


def to_frame(table: pa.Table) -> Any:
    """Give a table as a ``pandas.DataFrame``: what is JSON becomes objects again."""
    frame = table.to_pandas(maps_as_pydicts="lossy")
    for field in table.schema:
        if (field.metadata or {}) == _JSON:
            decoded = [None if text is None else msgspec.json.decode(text) for text in table[field.name].to_pylist()]
            frame[field.name] = _objects(decoded)
        elif pa.types.is_boolean(field.type) and table[field.name].null_count:
            frame[field.name] = frame[field.name].astype("boolean")
    return frame


def _objects(values: list[Any]) -> Any:
    import numpy as np  # noqa: PLC0415 - only here

    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
