"""From messages to columns: only the fields in use are decoded, names become integers, and no event stays an object.

A message is one record in JSON, or one Arrow IPC stream of many rows. Records may be ours, or somebody else's read
through a `Mapping`. A row that cannot be read is a `Fault`, which the tail turns into a dead letter.
"""

import datetime as dt
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from birdwatch.config import Mapping
from birdwatch.errors import RecordError, SettingsError
from birdwatch.records import RECORDS, UNREADABLE, Reason, as_token
from birdwatch.streams import Message
from birdwatch.streams.arrow import is_arrow, read_rows
from birdwatch.windows.arms import arm_columns
from birdwatch.windows.inputs import NOTHING, Inputs, Reader, at

__all__ = ["COUNTED", "Columns", "Decoder", "Fault", "Names"]

Columns = dict[str, NDArray[Any]]
"""Arrays of one length, by field; ``id`` is the request's id as a 64-bit hash, ``name`` its text, ``time`` event time."""

_DAY: Final = 86_400.0


class Fault(NamedTuple):
    """A message, or one row of it, that cannot be counted, and why."""

    message: Message
    reason: str


class Names:
    """Numbers for names: (model, version) pairs become small integers, the same for as long as the process lives.

    So do the arms that were drawn among; 0 stands for none.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.arms: list[tuple[str, ...]] = [()]
        self._codes: dict[tuple[str, str], int] = {}
        self._arms_codes: dict[tuple[str, ...], int] = {(): 0}

    def code(self, pair: tuple[str, str]) -> int:
        """Give the number of a pair, a new one when it is new."""
        code = self._codes.get(pair)
        if code is None:
            code = self._codes[pair] = len(self.pairs)
            self.pairs.append(pair)
        return code

    def arms_code(self, arms: tuple[str, ...]) -> int:
        """Give the number of a row of arms, a new one when it is new."""
        code = self._arms_codes.get(arms)
        if code is None:
            code = self._arms_codes[arms] = len(self.arms)
            self.arms.append(arms)
        return code

    def codes(self, models: Iterable[str], versions: Iterable[str]) -> NDArray[np.int64]:
        """Give the numbers of many pairs."""
        return np.array([self.code(pair) for pair in zip(models, versions, strict=True)], dtype=np.int64)


class _Field(NamedTuple):
    kind: Any
    default: Any = msgspec.NODEFAULT


# The fields that panes are made of: a typed decoder skips all others.
COUNTED: Final[dict[str, dict[str, _Field]]] = {
    "requests": {"id": _Field(str), "ts": _Field(float)},
    "scores": {
        "request_id": _Field(str),
        "request_ts": _Field(float),
        "model": _Field(str),
        "version": _Field(str),
        "score": _Field(float | None),
        "ts": _Field(float),
        "error": _Field(str | None, None),
        "queue_seconds": _Field(float | None, None),
        "elapsed_seconds": _Field(float | None, None),
    },
    "metrics": {
        "request_id": _Field(str),
        "request_ts": _Field(float),
        "model": _Field(str),
        "version": _Field(str),
        "ts": _Field(float),
        "tier": _Field(int),
        "reason": _Field(Reason),
        "latency_seconds": _Field(float),
        "within_sla": _Field(bool),
        "propensities": _Field(dict[str, float | None] | None, None),
        "drawn": _Field(str | None, None),
    },
    "outcomes": {
        "request_id": _Field(str),
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
_TIMES: Final = ("request_ts", "ts")
_TEXTS: Final = ("id", "request_id", "model", "version")


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
        The wall clock: an event more than a day ahead of it is refused, since one mistaken unit would close every pane.

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
    ) -> None:
        self.stream = stream
        self._names = names
        self._now = now
        self._time_field = "request_ts" if "request_ts" in COUNTED[stream] else "ts"
        self._id_field = "id" if stream == "requests" else "request_id"
        fields = COUNTED[stream]
        self._paths: dict[str, list[str]] | None = None
        self._constants: dict[str, Any] = {}
        self._units: dict[str, float] = {}
        self._features: Reader | None = Reader(inputs) if stream == "requests" and inputs.columns else None
        if mapping is not None and (mapping.fields or mapping.constants or mapping.units):
            self._adopt(mapping, inputs)
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

    def _may_miss(self, name: str) -> bool:
        return name in _OPTIONAL_WHEN_MAPPED and name != self._time_field

    def _adopt(self, mapping: Mapping, inputs: Inputs) -> None:
        known = COUNTED[self.stream]
        watched = inputs if self._features is not None else NOTHING
        _refuse_idle(self.stream, mapping, watched)
        _refuse_unmapped(self.stream, mapping, watched)
        numbers = {name for name, field in known.items() if field.kind in _NUMBERS}
        watched_numbers = {f"features.{'.'.join(one.path)}" for one in watched.columns.values() if one.kind == "number"}
        numbers |= watched_numbers & set(mapping.fields)
        for name in sorted(set(mapping.units) - numbers):
            raise SettingsError(f"mappings.{self.stream}.units: {name!r} is not a number of any unit: leave it out")
        for name, field in known.items():
            needed = field.default is msgspec.NODEFAULT and not self._may_miss(name)
            if needed and name not in mapping.fields and name not in mapping.constants:
                raise SettingsError(f"mappings.{self.stream}.fields: say where {name!r} is to be found")
        self._paths = {name: path.split(".") for name, path in mapping.fields.items()}
        self._constants = dict(mapping.constants)
        self._units = dict(mapping.units)

    def __call__(self, messages: Sequence[Message]) -> tuple[Columns, NDArray[np.int64], list[Fault]]:
        """Decode messages.

        Returns
        -------
        columns, origin, faults
            ``origin`` has, for each row, which message it came from.
        """
        rows: list[Any] = []
        origin: list[int] = []
        faults: list[Fault] = []
        for index, message in enumerate(messages):
            try:
                if is_arrow(message.value):
                    found = self._from_arrow(message, faults)
                elif self._paths is None:
                    found = [self._from_json(message.value)]
                else:
                    found = [self._from_foreign(msgspec.json.decode(message.value))]
            except (RecordError, *UNREADABLE) as error:
                if as_token(message.value) is None:  # a swap's cut, which counts as nothing
                    faults.append(Fault(message, f"not a {self._row.__name__}: {error}"))
                continue
            rows += found
            origin += [index] * len(found)
        columns = self._columns(rows)
        refused = self._refuse(columns["time"])
        if refused.any():
            faults += [
                Fault(
                    messages[origin[i]], f"{self._time_field} = {columns['time'][i]!r} is no time in seconds up to now"
                )
                for i in np.flatnonzero(refused)
            ]
            columns = {name: values[~refused] for name, values in columns.items()}
        return columns, np.array(origin, dtype=np.int64)[~refused], faults

    def _refuse(self, time: NDArray[np.float64]) -> NDArray[np.bool_]:
        return ~((time >= 0) & (time <= self._now() + _DAY))

    def _from_json(self, value: bytes) -> Any:
        """Read one of our own records; a request counts whatever its features are."""
        try:
            return self._json.decode(value)
        except UNREADABLE:
            if self._features is None:
                raise
            return self._without_features(msgspec.json.decode(value, type=self._plain))

    def _from_foreign(self, record: Any) -> Any:
        """Read one of somebody else's records, given as plain dictionaries."""
        found: dict[str, Any] = {}
        for name, value in self._constants.items():
            _put(found, name, value)
        for name, path in (self._paths or {}).items():
            value = at(record, path, msgspec.NODEFAULT)
            if value is not msgspec.NODEFAULT:
                _put(found, name, self._as_ours(name, value, path))
        row = self._convert(found)
        for name, unit in self._units.items():
            value = getattr(row, name, None)
            if value is not None:
                setattr(row, name, value * unit)
        return row

    def _convert(self, record: dict[str, Any]) -> Any:
        if self._features is not None and not isinstance(record.get("features"), dict):
            record = {name: value for name, value in record.items() if name != "features"}
        return msgspec.convert(record, self._row, strict=False)

    def _as_ours(self, name: str, value: Any, path: list[str]) -> Any:
        """Give a foreign value the form that our field has."""
        if name in _TIMES:
            return _seconds(value, ".".join(path))
        if isinstance(value, float) and math.isnan(value):
            return None
        if name in _TEXTS and isinstance(value, int | float):
            return str(value)
        if name.startswith("features.") and name in self._units and isinstance(value, int | float):
            return value * self._units[name]
        return value

    def _without_features(self, row: Any) -> Any:
        return self._row(**{name: getattr(row, name) for name in self._fields})

    def _from_arrow(self, message: Message, faults: list[Fault]) -> list[Any]:
        """Read the rows of an Arrow payload; what is wrong with one row is that row's fault alone."""
        rows = []
        for number, record in enumerate(read_rows(message.value)):
            try:
                rows.append(
                    self._from_foreign(record) if self._paths is not None else self._convert(_without_nan(record))
                )
            except (RecordError, msgspec.ValidationError) as error:
                alone = Message(message.stream, message.partition, message.offset, message.key, _json_of(record))
                faults.append(Fault(alone, f"row {number} is not a {self._row.__name__}: {error}"))
        return rows

    def _columns(self, rows: list[Any]) -> Columns:
        ids = [getattr(row, self._id_field) for row in rows]
        columns: Columns = {
            # Python's own hash is 64 bits and as good as random: among a million ids two collide once in 10⁷ panes.
            "id": np.fromiter(map(hash, ids), np.int64, len(ids)),
            "name": np.array([i.encode() for i in ids], dtype="S") if ids else np.empty(0, "S1"),
            "time": _numbers(rows, self._time_field),
        }
        if "model" in self._fields:
            columns["who"] = self._names.codes((r.model for r in rows), (r.version for r in rows))
        for name, field in self._fields.items():
            if field.kind in _NUMBERS and name != self._time_field:
                columns[name] = _numbers(rows, name)
        if "error" in self._fields:
            columns["error"] = np.fromiter((r.error is not None for r in rows), np.bool_, len(rows))
        if "tier" in self._fields:
            columns["tier"] = np.fromiter((r.tier for r in rows), np.int64, len(rows))
            columns["reason"] = np.array([r.reason for r in rows], dtype="U12")
            columns["within_sla"] = np.fromiter((r.within_sla for r in rows), np.bool_, len(rows))
            columns |= arm_columns(rows, self._names)
        if self._features is not None:
            columns |= self._features.columns([r.features for r in rows])
        return columns


def _numbers(rows: list[Any], name: str) -> NDArray[np.float64]:
    return np.array([getattr(row, name) for row in rows], dtype=np.float64)  # None becomes NaN


def _refuse_idle(stream: str, mapping: Mapping, inputs: Inputs) -> None:
    """See that all that a mapping names is a field that is counted, or leads to an input that is watched."""
    record, known = RECORDS[stream].__name__, COUNTED[stream]
    for name in sorted({*mapping.fields, *mapping.constants, *mapping.units} - set(known)):
        if stream == "requests" and name.partition(".")[0] == "features":
            if any(_leads_to(name, one.path) for one in inputs.columns.values()):
                continue
            raise SettingsError(
                f"mappings.{stream}: nothing watches {name!r}: name it under `features` or `segments`, or leave it out"
            )
        raise SettingsError(f"mappings.{stream}: a {record} has no field {name!r}; it has {', '.join(known)}")


def _refuse_unmapped(stream: str, mapping: Mapping, inputs: Inputs) -> None:
    for one in inputs.columns.values():
        if not any(_leads_to(name, one.path) for name in {*mapping.fields, *mapping.constants}):
            raise SettingsError(
                f"mappings.{stream}.fields: say where 'features.{'.'.join(one.path)}' is to be found, which is watched"
            )


def _leads_to(name: str, path: Sequence[str]) -> bool:
    """Tell whether a mapped name is that of a watched path, or of an object that it lies in.

    Examples
    --------
    >>> _leads_to("features.weather", ["weather", "visib"]), _leads_to("features.wea", ["weather", "visib"])
    (True, False)
    """
    parts = name.split(".")
    return parts == ["features", *path][: len(parts)]


def _put(record: dict[str, Any], name: str, value: Any) -> None:
    """Set a field; one of the features by its path, unless an object that it would lie in is none."""
    if not name.startswith("features."):
        record[name] = value
        return
    *objects, last = name.split(".")
    for part in objects:
        inside = record.get(part)
        record[part] = record = dict(inside) if isinstance(inside, dict) else {}
    record[last] = value


def _json_of(record: Any) -> bytes:
    return msgspec.json.encode(record, enc_hook=str)


def _without_nan(record: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()}


def _seconds(value: Any, path: str) -> Any:
    """Read a time as Unix seconds: a number as it is, a date and time by ISO 8601 (UTC unless it says otherwise)."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            try:
                return float(value)
            except ValueError as error:
                raise RecordError(f"{path} = {value!r} is no time: write seconds or ISO 8601") from error
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    return value
