"""Scores to be counted, and the places they lie in: ten models score each request, one of them the champion."""

from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from birdwatch.streams import Streams
from birdwatch.streams.arrow import encode_table

__all__ = ["A_PANE", "CHAMPION", "ROWS_A_PAYLOAD", "append_arrow", "append_json", "different", "table", "write_parquet"]

CHAMPION: Final = "model-0"
A_PANE: Final = 100_000
"""Events in a pane of a minute."""

ROWS_A_PAYLOAD: Final = 1_000
A_REQUEST: Final = 10
REPEATED: Final = 1_000
"""One event of so many comes twice, as happens where delivery is at least once."""

SEED: Final = 20_260_014
BEGIN: Final = 1_760_000_040.0
AT_ONCE: Final = 100_000


def table(models: int, events: int, part: int = 0) -> pa.Table:
    """Give events in order of time, seven fields each: each request is scored by the champion and by nine other models.

    Parameters
    ----------
    models
        How many there are; of fewer than ten, all score each request.
    part
        Which stretch of the same stream, each of so many events.
    """
    rng = np.random.default_rng([SEED, part] if part else SEED)
    of_request = min(A_REQUEST, models)
    requests = -(-events // of_request)
    raw = rng.bytes(16 * requests)
    ids = [raw[at : at + 16].hex() for at in range(0, len(raw), 16)]
    request = np.arange(events) // of_request
    turn = np.arange(events) % of_request
    model = np.where(turn == 0, 0, 1 + (request * (of_request - 1) + turn - 1) % max(models - 1, 1))
    asked = BEGIN + (part * requests + request) * (of_request * 60 / A_PANE)
    common = rng.normal(size=requests)[request]
    seconds = rng.exponential(0.02, size=events)
    score = 1 / (1 + np.exp(-common - 0.1 * rng.normal(size=events)))
    row = np.arange(events)
    row[REPEATED - 1 :: REPEATED] -= 1
    found = pa.table(
        {
            "request_id": pa.array(ids).take(request),
            "request_ts": asked,
            "ts": asked + seconds,
            "model": pa.array([f"model-{number}" for number in range(models)]).take(model),
            "version": pa.array(["1"] * events),
            "score": score,
            "elapsed_seconds": seconds,
        }
    )
    return found.take(row)


def different(events: int) -> int:
    """Say how many of so many events are left when those that came twice count once."""
    return events - events // REPEATED


def append_json(streams: Streams, topic: str, events: pa.Table) -> None:
    """Write a message for each event, in JSON."""
    for first in range(0, events.num_rows, AT_ONCE):
        rows: list[dict[str, Any]] = events.slice(first, AT_ONCE).to_pylist()
        streams.append(topic, [(row["request_id"].encode(), msgspec.json.encode(row)) for row in rows])


def append_arrow(streams: Streams, topic: str, events: pa.Table) -> None:
    """Write a message for each thousand events, as an Arrow IPC stream."""
    starts = range(0, events.num_rows, ROWS_A_PAYLOAD)
    streams.append(topic, [(b"", encode_table(events.slice(first, ROWS_A_PAYLOAD))) for first in starts])


def write_parquet(folder: Path, topic: str, events: pa.Table) -> None:
    """Write a recorded stream, ``NAME.parquet``."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(events, folder / f"{topic}.parquet")
