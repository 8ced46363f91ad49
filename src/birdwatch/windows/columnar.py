"""Arrow payloads read column by column, many at a time: far faster than row by row, and the same to the last bit.

A payload in which anything is out of the ordinary (a null where none may be, another type, a number that is not finite, a
time at which nothing can have happened) is left to whoever reads rows: that knows what is wrong with which.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.config import Mapping as Said
from birdwatch.errors import RecordError
from birdwatch.streams import Message
from birdwatch.streams.arrow import as_array, is_arrow, read_table
from birdwatch.windows.ids import ids_of_column

__all__ = ["Columnar", "Kind"]

Kind = str
"""``name`` (a text that is there), ``number``, ``number?`` (or null), ``text?`` (of which only matters whether it is there)."""

_LONGEST: Final = 256

Columns = dict[str, NDArray[Any]]


class _Field(NamedTuple):
    """Where a field of ours is found: in a column, or else a value that is the same for all rows."""

    kind: Kind
    column: str
    otherwise: Any
    unit: float | None


class _NotPlainError(Exception):
    """Something is out of the ordinary."""


class Columnar:
    """Reads tables of one stream.

    Parameters
    ----------
    kinds
        Our fields.
    defaults
        What fields are that are not there; those without one must be there.
    mapping
        How a foreign stream names things; None for our own records.
    id_field, time_field
        Which of the fields is the request's id, and which the event time.
    codes
        Gives (model, version) pairs their numbers.
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        defaults: Mapping[str, Any],
        mapping: Said | None,
        *,
        id_field: str,
        time_field: str,
        codes: Callable[[Sequence[str], Sequence[str]], NDArray[np.int64]],
    ) -> None:
        fields = mapping.fields if mapping else {}
        constants = mapping.constants if mapping else {}
        units = mapping.units if mapping else {}
        self._fields = {
            name: _Field(
                kind,
                fields.get(name, "" if mapping else name),
                constants.get(name, defaults.get(name, _NotPlainError)),
                units.get(name),
            )
            for name, kind in kinds.items()
        }
        self._id, self._time = id_field, time_field
        self._codes = codes

    def all_of(
        self, messages: Sequence[Message], earliest: float, latest: float
    ) -> tuple[Columns, NDArray[np.int64]] | None:
        """Read messages as one table; None where one of them has none, or not one like the others, or a row is not in order.

        Returns
        -------
        columns, origin
            ``origin`` has, for each row, which message it came from.
        """
        import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

        if not all(is_arrow(message.value) for message in messages):
            return None
        try:
            tables = [read_table(message.value) for message in messages]
            columns = self(pa.concat_tables(tables), earliest, latest)
        except (RecordError, pa.ArrowException):
            return None
        if columns is None:
            return None
        return columns, np.repeat(np.arange(len(tables)), [table.num_rows for table in tables])

    def __call__(self, table: Any, earliest: float, latest: float) -> Columns | None:
        """Read a ``pyarrow.Table``; None where a row of it is not plainly in order.

        Parameters
        ----------
        earliest, latest
            Between these, in Unix seconds, all must have happened.
        """
        import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

        try:
            found = {name: self._read(table, name, field) for name, field in self._fields.items()}
        except (_NotPlainError, pa.ArrowException):
            return None
        time = found[self._time]
        if not table.num_rows or time.min() < earliest or time.max() > latest:
            return None
        ids, names = found.pop(self._id)
        columns: Columns = {"id": ids, "name": names, "time": time}
        if "model" in self._fields:
            columns["who"] = self._who(found.pop("model"), found.pop("version"))
        found.pop(self._time)
        return columns | found

    def _who(self, models: Any, versions: Any) -> NDArray[np.int64]:
        (first, known), (second, others) = models, versions
        pairs = first * len(others) + second
        if len(known) == len(others) == 1:
            return np.full(pairs.size, self._codes(known, others)[0])
        seen, where = np.unique(pairs, return_inverse=True)
        numbers = self._codes(
            [known[pair // len(others)] for pair in seen.tolist()],
            [others[pair % len(others)] for pair in seen.tolist()],
        )
        return numbers[where]

    def _read(self, table: Any, name: str, field: _Field) -> Any:
        place = table.schema.get_all_field_indices(field.column) if field.column else []
        if len(place) > 1:
            raise _NotPlainError
        column = table.column(place[0]) if place else None
        if field.kind == "name":
            if name == self._id:
                return _ids(column)
            return _coded(column, field.otherwise, table.num_rows)
        if field.kind == "text?":
            return _there(column, field.otherwise, table.num_rows)
        return _numbers(column, field, table.num_rows)


def _is_text(column: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _ids(column: Any) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
    import pyarrow.compute as pc  # noqa: PLC0415 - slow to import, and seldom needed

    if column is None or not _is_text(column) or column.null_count:
        raise _NotPlainError
    if (pc.max(pc.utf8_length(column)).as_py() or 0) > _LONGEST:
        raise _NotPlainError
    return ids_of_column(column)


def _coded(column: Any, otherwise: Any, rows: int) -> tuple[NDArray[np.int64], list[str]]:
    """Give texts that repeat as numbers, and what the numbers stand for."""
    if column is None:
        if not isinstance(otherwise, str) or len(otherwise) > _LONGEST:
            raise _NotPlainError
        return np.zeros(rows, dtype=np.int64), [otherwise]
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

    if not _is_text(column) or column.null_count:
        raise _NotPlainError
    coded = pa.concat_arrays(column.chunks).dictionary_encode()
    texts: list[str] = coded.dictionary.to_pylist()
    if max(map(len, texts), default=0) > _LONGEST:
        raise _NotPlainError
    return as_array(coded.indices).astype(np.int64), texts


def _there(column: Any, otherwise: Any, rows: int) -> NDArray[np.bool_]:
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

    if column is None:
        if otherwise is not None and not isinstance(otherwise, str):
            raise _NotPlainError
        return np.full(rows, otherwise is not None)
    if not (pa.types.is_null(column.type) or _is_text(column)):
        raise _NotPlainError
    return _valid(column)


def _valid(column: Any) -> NDArray[np.bool_]:
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

    return as_array(column.is_valid().cast(pa.uint8())).astype(np.bool_)


def _numbers(column: Any, field: _Field, rows: int) -> NDArray[np.float64]:
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

    nullable = field.kind == "number?"
    if column is None:
        value = field.otherwise
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise _NotPlainError
        if value is None and nullable:
            return np.full(rows, np.nan)
        found = np.full(rows, np.nan if value is None else float(value))
        missing = np.full(rows, value is None)
    elif pa.types.is_integer(column.type) or pa.types.is_float64(column.type) or pa.types.is_float32(column.type):
        numbers = column.cast(pa.float64(), safe=False)
        found = as_array(numbers)
        if numbers.null_count:
            found[~_valid(numbers)] = np.nan
        missing = np.isnan(found)
    elif pa.types.is_null(column.type):
        missing, found = np.ones(rows, dtype=np.bool_), np.full(rows, np.nan)
    else:
        raise _NotPlainError
    if field.unit is not None:
        found = found * field.unit
    if (missing.any() and not nullable) or not np.isfinite(found[~missing]).all():
        raise _NotPlainError
    return found
