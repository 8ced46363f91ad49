"""Reading recorded streams message by message: lines of JSON, plain or compressed, and tables as Arrow batches."""

import gzip
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol, Self

from birdwatch.errors import StreamError
from birdwatch.streams.arrow import encode_table

__all__ = ["ROWS_A_MESSAGE", "SUFFIXES", "Lines", "Recording", "Table", "column_of", "count_messages", "open_recording"]

SUFFIXES: Final = (".csv", ".jsonl", ".jsonl.gz", ".parquet")
"""What the names of recorded streams end in."""

ROWS_A_MESSAGE: Final = 1000
"""How many rows of a table travel in one message."""

_TEXTS: Final = ("id", "key", "model", "request_id", "version")
"""Columns of a CSV that are text, whatever they look like: a version 1.10 is none of 1.1."""

_CHUNK_BYTES: Final = 1 << 18
_BUFFER_BYTES: Final = 1 << 20


class Recording(Protocol):
    """A file that is read from its start.

    Attributes
    ----------
    at
        The number of the next message.
    rows
        How many rows a message holds, at most.
    fault
        Why the file cannot be read further, once all before has been taken.
    """

    at: int
    rows: int
    fault: StreamError | None

    def take(self, *, stalled: bool) -> bytes | None:
        """Give the next message, or None while there is none; ``stalled``: what is half there will not become whole."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_recording(path: Path) -> Recording:
    """Open a file by what its name ends in."""
    return Lines(path) if path.name.endswith((".jsonl", ".jsonl.gz")) else Table(path)


def count_messages(path: Path) -> int:
    """Give how many messages a file holds; but for Parquet, which says so itself, by reading it to its end."""
    if path.suffix == ".parquet":
        import pyarrow as pa  # noqa: PLC0415 - slow to import, and recorded streams are mostly lines
        from pyarrow import parquet  # noqa: PLC0415

        try:
            rows: int = parquet.read_metadata(path).num_rows
        except pa.ArrowException:
            return 0
        return -(-rows // ROWS_A_MESSAGE)
    with open_recording(path) as recording:
        while recording.take(stalled=True) is not None:
            pass
        return recording.at


class Lines:
    """Lines, from a file that may grow while it is read."""

    rows = 1

    def __init__(self, path: Path) -> None:
        self.at = 0
        self.fault: StreamError | None = None
        self._path = path
        self._file = path.open("rb", buffering=0)
        self._read = gzip.GzipFile(fileobj=self._file).read1 if path.suffix == ".gz" else self._file.read
        self._whole: deque[bytes] = deque()
        self._rest = b""
        self._torn = False
        self._broken = False

    def take(self, *, stalled: bool) -> bytes | None:
        """Give the next line; the last one without its end only when ``stalled``."""
        while not self._whole:
            chunk = self._chunk()
            if not chunk:
                if not (stalled and self._rest):
                    return None
                self._torn = True
                self._whole.append(self._rest)
                self._rest = b""
                break
            lines = (self._rest + chunk).split(b"\n")
            if self._torn:
                # The rest of a line that has been handed over without it: whoever reads anew gets both as one.
                self._torn = len(lines) == 1
                lines = lines[1:] or [b""]
            self._rest = lines.pop()
            self._whole.extend(lines)
        self.at += 1
        return self._whole.popleft()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _chunk(self) -> bytes:
        if self._broken:
            return b""
        try:
            chunk: bytes = self._read(_CHUNK_BYTES)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            self._broken = True
            self.fault = StreamError(f"{self._path} is damaged: {error}; what could be read of it has been read")
            return b""
        return chunk


class Table:
    """Rows of a CSV or Parquet file, a thousand a message: the same ones each time."""

    rows = ROWS_A_MESSAGE

    def __init__(self, path: Path) -> None:
        self.at = 0
        self.fault: StreamError | None = None
        self._path = path
        self._messages = _csv(path) if path.suffix == ".csv" else _parquet(path)

    def take(self, *, stalled: bool) -> bytes | None:
        """Give the next thousand rows as one Arrow IPC stream, or a line that is no row as it lies."""
        del stalled  # a table does not grow
        import pyarrow as pa  # noqa: PLC0415 - slow to import, and recorded streams are mostly lines

        try:
            value = next(self._messages, None)
        except pa.ArrowException as error:
            self.fault = StreamError(f"{self._path} cannot be read: {error}")
            return None
        if value is not None:
            self.at += 1
        return value

    def close(self) -> None:
        """Let go of the rows."""
        self._messages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def column_of(path: Path, name: str) -> Iterator[Any]:
    """Give one column of a table, as Arrow has it, in the order of its rows.

    Raises
    ------
    pyarrow.ArrowException, KeyError
        The file cannot be read, or has no such column.
    """
    if path.suffix == ".csv":
        yield _read_csv(path, [], [name])[name]
        return
    for batch in _batches(path, [name]):
        yield batch[name]


def _csv(path: Path) -> Generator[bytes, None, None]:
    bad: list[str] = []
    yield from _thousands(iter([_read_csv(path, bad)]))
    yield from (text.encode() for text in bad)


def _read_csv(path: Path, bad: list[str], only: list[str] | None = None) -> Any:
    """Read a file, or only some columns of it; what is no row goes to ``bad``."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    def put_aside(row: Any) -> str:
        bad.append(row.text)
        return "skip"

    return csv.read_csv(
        path,
        # One thread, so that rows put aside keep their order.
        read_options=csv.ReadOptions(use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=put_aside),
        convert_options=csv.ConvertOptions(
            strings_can_be_null=True, column_types=dict.fromkeys(_TEXTS, pa.string()), include_columns=only or []
        ),
    )


def _parquet(path: Path) -> Generator[bytes, None, None]:
    import pyarrow as pa  # noqa: PLC0415

    yield from _thousands(pa.Table.from_batches([batch]) for batch in _ahead(_batches(path)))


def _batches(path: Path, only: list[str] | None = None) -> Iterator[Any]:
    from pyarrow import parquet  # noqa: PLC0415

    # By itself it would keep what it has read of the file until it is closed.
    with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
        yield from file.iter_batches(columns=only)


def _ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """Read the next batch while somebody works on this one."""
    with ThreadPoolExecutor(1, thread_name_prefix="birdwatch-parquet") as reader:
        waiting = reader.submit(next, batches, None)
        while (batch := waiting.result()) is not None:
            waiting = reader.submit(next, batches, None)
            yield batch


def _thousands(tables: Iterator[Any]) -> Iterator[bytes]:
    """Cut tables anew, so that what is in a message does not depend on how they were stored."""
    import pyarrow as pa  # noqa: PLC0415

    rest = None
    for table in tables:
        rest = table if rest is None else pa.concat_tables([rest, table])
        while rest.num_rows >= ROWS_A_MESSAGE:
            yield encode_table(rest.slice(0, ROWS_A_MESSAGE))
            rest = rest.slice(ROWS_A_MESSAGE)
    if rest is not None and rest.num_rows:
        yield encode_table(rest)
