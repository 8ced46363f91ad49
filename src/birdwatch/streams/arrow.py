"""Arrow payloads: one message that holds many rows, as an Arrow IPC stream.

A damaged payload is refused before any of it is used: Arrow itself trusts its offsets, and one that points outside the
message ends the process.
"""

import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from birdwatch.errors import RecordError

__all__ = ["MAGIC", "as_array", "encode_table", "is_arrow", "read_rows", "read_table", "rows_of"]

MAGIC: Final = b"\xff\xff\xff\xff"
"""How an Arrow IPC stream begins (the continuation marker); no JSON does."""


def is_arrow(value: bytes) -> bool:
    """Tell whether a message is an Arrow payload."""
    return value.startswith(MAGIC)


def read_table(value: bytes) -> Any:
    """Read a payload as a ``pyarrow.Table``.

    Raises
    ------
    RecordError
        It is no Arrow stream, or a damaged one.
    """
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

    try:
        with pa.ipc.open_stream(io.BytesIO(value)) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise RecordError(f"not an Arrow stream: {error}") from error
    if table.num_rows > len(value):  # columns of nulls take no room, until each row becomes an object
        raise RecordError(f"not an Arrow stream of records: {table.num_rows:,} rows in {len(value):,} bytes")
    return table


def read_rows(value: bytes) -> list[dict[str, Any]]:
    """Read a payload as one dictionary a row.

    Raises
    ------
    RecordError
        It is no Arrow stream, a damaged one, or holds values that Python has no word for.
    """
    return rows_of(read_table(value))


def rows_of(table: Any) -> list[dict[str, Any]]:
    """Give a table's rows as dictionaries.

    Raises
    ------
    RecordError
        It holds values that Python has no word for.
    """
    try:
        rows: list[dict[str, Any]] = table.to_pylist()
    except (ValueError, OverflowError) as error:
        raise RecordError(f"Arrow rows that cannot be read: {error}") from error
    return rows


def as_array(column: Any) -> NDArray[Any]:
    """Give a column of numbers as numpy has them; where there is a null, any number may stand.

    Arrow's own ``to_numpy`` loads pandas for it, which takes half a second.
    """
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [pa.Array.from_buffers(c.type, len(c), [None, c.buffers()[1]], 0, c.offset) for c in chunks]
    return np.concatenate([np.empty(0, column.type.to_pandas_dtype()), *map(np.from_dlpack, parts)])


def encode_table(table: Any) -> bytes:
    """Write a ``pyarrow.Table`` as a payload."""
    import pyarrow as pa  # noqa: PLC0415

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    payload: bytes = sink.getvalue().to_pybytes()
    return payload
