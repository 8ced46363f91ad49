"""Recorded streams as tables: a row for each record, a column for each of its fields."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from birdwatch.archive.narrowing import day_of
from birdwatch.archive.reader import UnreadableWarning
from birdwatch.errors import RecordError, StreamError
from birdwatch.records import RECORDS, decode
from birdwatch.streams import Gap, Streams, open_recorded, open_streams
from birdwatch.streams.archived import ArchiveStreams, is_archive
from birdwatch.streams.arrow import is_arrow, read_table
from birdwatch.streams.parquet import Days

__all__ = ["read_between", "read_stream", "read_streams"]

_LATE_DAYS: Final = 31
"""What is said of a request a month later is still read with it."""


def read_stream(place: str, stream: str, *, days: Days | None = None) -> pd.DataFrame:
    """Read a stream as a table.

    Parameters
    ----------
    place
        An archive or a folder of recorded streams, or any address of streams.
    stream
        Which one, such as ``requests``.
    days
        Of an archive only these; all by default.

    Returns
    -------
    DataFrame
        In the order of the log, duplicates included; the columns are the fields of the record, and there are no rows
        where the stream holds nothing. What is damaged or gone is warned of.

    Raises
    ------
    StreamError
        A record cannot be read, or the stream; the message says which offset and why.
    """
    kind = RECORDS[stream]
    names = kind.__struct_fields__
    reader = _open(place, days).reader([stream])
    rows: list[tuple[object, ...]] = []
    tables: list[pd.DataFrame] = []
    try:
        while batch := reader.poll(limit=10_000, timeout=0.0):
            for message in batch:
                try:
                    if is_arrow(message.value):
                        tables.append(read_table(message.value).to_pandas())
                    else:
                        record = decode(message.value, kind)
                        rows.append(tuple(getattr(record, name) for name in names))
                except RecordError as error:
                    raise StreamError(
                        f"{place}, {stream}, offset {message.offset}: {error}: take it out, or evaluate what lies before it"
                    ) from error
        _warn(place, reader.gaps())
    finally:
        reader.close()
    if rows or not tables:
        tables.append(pd.DataFrame(rows, columns=list(names)))
    return pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]


def read_streams(place: str, streams: Sequence[str]) -> pd.DataFrame:
    """Read several streams of one kind of record, such as ``scores`` and ``canary``, one below the other."""
    found = [table for table in (read_stream(place, stream) for stream in streams) if len(table)]
    return pd.concat(found, ignore_index=True) if found else read_stream(place, streams[0])


def read_between(place: str, since: float, until: float, *streams: str) -> pd.DataFrame:
    """Read what streams of one kind of record say of requests in [since, until), or what was written then: control, alerts."""
    days = Days(day_of(since, -1), day_of(until + _LATE_DAYS * 86_400, 1))
    found = [table for stream in streams if len(table := read_stream(place, stream, days=days))]
    if not found:
        return pd.DataFrame(columns=list(RECORDS[streams[0]].__struct_fields__))
    table = pd.concat(found, ignore_index=True) if len(found) > 1 else found[0]
    at = table["request_ts" if "request_ts" in table else "ts"]
    return table[(at >= since) & (at < until)].reset_index(drop=True)


def _open(place: str, days: Days | None) -> Streams:
    folder = place.removeprefix("archive:")
    if days is not None and is_archive(Path(folder)):
        return ArchiveStreams(f"archive:{folder}", days=days)
    return open_streams(place) if ":" in place else open_recorded(Path(place))


def _warn(place: str, gaps: Iterable[Gap]) -> None:
    for gap in gaps:
        warnings.warn(
            f"{place}, {gap.partition.stream}, partition {gap.partition.number}: offsets {gap.wanted} to {gap.found - 1} are"
            f" {gap.reason}, and left out",
            UnreadableWarning,
            stacklevel=3,
        )
