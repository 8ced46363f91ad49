"""Somebody else's records, read as ours through a `Mapping`: other names, other units, other nesting, many in a message."""

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from birdwatch.config import Mapping as Said
from birdwatch.errors import RecordError, SettingsError
from birdwatch.records import RECORDS
from birdwatch.windows.inputs import Inputs, as_number, at

__all__ = ["Foreign"]

_TIMES: Final = ("request_ts", "ts")
_TEXTS: Final = ("id", "request_id", "model", "version")
_EACH: Final = "each"
_NOTHING: Final = msgspec.NODEFAULT
"""Stands for what is not there, since null is."""


class Foreign:
    """Reads messages of a foreign stream, given as plain dictionaries, into dictionaries by our fields.

    Parameters
    ----------
    stream
        What it is to us: one of `birdwatch.records.RECORDS`.
    mapping
        How it names things.
    fields
        Our fields; True where a record must have it.
    numbers
        Those of them that have a unit.
    inputs
        What is watched of the features.

    Attributes
    ----------
    many
        Whether a message holds many records.

    Raises
    ------
    SettingsError
        The mapping names a field that the record does not have, or leaves out one that it needs.
    """

    def __init__(
        self, stream: str, mapping: Said, fields: Mapping[str, bool], numbers: Iterable[str], inputs: Inputs
    ) -> None:
        _refuse_idle(stream, mapping, fields, inputs)
        _refuse_unmapped(stream, mapping, inputs)
        watched = {f"features.{'.'.join(one.path)}" for one in inputs.columns.values() if one.kind == "number"}
        for name in sorted(set(mapping.units) - {*numbers, *(watched & set(mapping.fields))}):
            raise SettingsError(f"mappings.{stream}.units: {name!r} is not a number of any unit: leave it out")
        for name, needed in fields.items():
            if needed and name not in mapping.fields and name not in mapping.constants:
                raise SettingsError(f"mappings.{stream}.fields: say where {name!r} is to be found")
        self._constants = dict(mapping.constants)
        self._units = dict(mapping.units)
        self._each = mapping.each.split(".") if mapping.each is not None else []
        self.many = mapping.each is not None
        paths = {name: path.split(".") for name, path in mapping.fields.items()}
        within = {name for name, path in paths.items() if self.many and path[0] == _EACH}
        self._paths = [(name, path) for name, path in paths.items() if name not in within]
        self._keys = [name for name in within if paths[name][1] == "key"]
        self._within = [(name, path[2:], path) for name, path in paths.items() if name in within and path[1] == "value"]

    def entries(self, message: Any) -> list[tuple[str, Any]]:
        """Give the records that a message holds, each with its name, or its number in a list.

        Raises
        ------
        RecordError
            There is no list or object of them.
        """
        found = at(message, self._each, _NOTHING)
        if isinstance(found, dict):
            return [(str(key), entry) for key, entry in found.items()]
        if isinstance(found, list):
            return [(str(number), entry) for number, entry in enumerate(found)]
        what = "is not there" if found is _NOTHING else f"is neither a list nor an object, but {found!r:.60}"
        raise RecordError(f"each: {'.'.join(self._each)} {what}")

    def only(self, message: dict[str, Any], entries: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Give a message that holds no more than some of its records; what was a list names them by their numbers."""
        *objects, last = self._each
        copy = inner = dict(message)
        for part in objects:
            inner[part] = inner = dict(inner[part])
        inner[last] = dict(entries)
        return copy

    def fields(self, message: Any) -> dict[str, Any]:
        """Give our fields as far as a message has them for all of its records.

        Raises
        ------
        RecordError
            A time is none.
        """
        found: dict[str, Any] = {}
        for name, value in self._constants.items():
            _put(found, name, value)
        for name, path in self._paths:
            self._take(found, name, message, path, path)
        return found

    def of_entry(self, fields: Mapping[str, Any], key: str, entry: Any) -> dict[str, Any]:
        """Give our fields of one record: those of its message, and its own.

        Raises
        ------
        RecordError
            A time is none.
        """
        found = dict(fields)
        for name in self._keys:
            _put(found, name, key)
        for name, path, whole in self._within:
            self._take(found, name, entry, path, whole)
        return found

    def in_our_units(self, row: Any) -> Any:
        """Multiply a row's numbers by their units; those of features have theirs already."""
        for name, unit in self._units.items():
            value = getattr(row, name, None)
            if value is not None:
                setattr(row, name, value * unit)
        return row

    def _take(self, found: dict[str, Any], name: str, record: Any, path: Sequence[str], said: Sequence[str]) -> None:
        value = at(record, path, _NOTHING)
        if value is not _NOTHING:
            _put(found, name, self._as_ours(name, value, said))

    def _as_ours(self, name: str, value: Any, path: Sequence[str]) -> Any:
        """Give a foreign value the form that our field has."""
        if name in _TIMES:
            return _seconds(value, ".".join(path))
        if isinstance(value, float) and math.isnan(value):
            return None
        if name in _TEXTS and isinstance(value, int | float):
            return str(value)
        if name.startswith("features.") and name in self._units and isinstance(value, int | float):
            return as_number(value) * self._units[name]
        return value


def _refuse_idle(stream: str, mapping: Said, known: Mapping[str, bool], inputs: Inputs) -> None:
    """See that all that a mapping names is a field that is counted, or leads to an input that is watched."""
    record = RECORDS[stream].__name__
    for name in sorted({*mapping.fields, *mapping.constants, *mapping.units} - set(known)):
        if stream == "requests" and name.partition(".")[0] == "features":
            if any(_leads_to(name, one.path) for one in inputs.columns.values()):
                continue
            raise SettingsError(
                f"mappings.{stream}: nothing watches {name!r}: name it under `features` or `segments`, or leave it out"
            )
        raise SettingsError(f"mappings.{stream}: a {record} has no field {name!r}; it has {', '.join(known)}")


def _refuse_unmapped(stream: str, mapping: Said, inputs: Inputs) -> None:
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


def _seconds(value: Any, path: str) -> Any:
    """Read a time as Unix seconds: a number as it is, a date and time by ISO 8601 (UTC unless it says otherwise)."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            try:
                return float(value)
            except ValueError as error:
                raise RecordError(f"{path} = {value!r:.60} is no time: write seconds or ISO 8601") from error
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    return value
