"""Recorded streams as tables: a row for each record, a column for each of its fields."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from birdwatch.archive.reader import UnreadableWarning
from birdwatch.errors import RecordError, StreamError
from birdwatch.records import RECORDS, decode
from birdwatch.streams import Gap, open_recorded, open_streams
from birdwatch.streams.arrow import is_arrow, read_table

__all__ = ["read_stream", "read_streams"]


def read_stream(place: str, stream: str) -> pd.DataFrame:
    """Read a stream as a table.

    Parameters
    ----------
    place
        An archive or a folder of recorded streams, or any address of streams.
    stream
        Which one, such as ``requests``.

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
    reader = (open_streams(place) if ":" in place else open_recorded(Path(place))).reader([stream])
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


def _warn(place: str, gaps: Iterable[Gap]) -> None:
    for gap in gaps:
        warnings.warn(
            f"{place}, {gap.partition.stream}, partition {gap.partition.number}: offsets {gap.wanted} to {gap.found - 1} are"
            f" {gap.reason}, and left out",
            UnreadableWarning,
            stacklevel=3,
        )
