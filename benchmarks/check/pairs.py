"""Two Parquet files of scores for the same requests: a champion, and a shadow that agrees but for a little noise.

.venv/bin/python -m benchmarks.check.pairs FOLDER ROWS DAYS
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["ROLES", "write"]

ROLES: Final = ("champion", "shadow")
SEED: Final = 20_260_007
BEGIN: Final = 1_760_000_000.0
AT_ONCE: Final = 1_000_000


def write(folder: Path, rows: int, days: float) -> None:
    """Write ``champion.parquet`` and ``shadow.parquet``: requests in order of time, at an even rate, with UUIDs as ids."""
    rng = np.random.default_rng(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema({"request_id": pa.string(), "request_ts": pa.float64(), "score": pa.float64()})
    with (
        pq.ParquetWriter(folder / "champion.parquet", schema) as champion,
        pq.ParquetWriter(folder / "shadow.parquet", schema) as shadow,
    ):
        for first in range(0, rows, AT_ONCE):
            n = min(AT_ONCE, rows - first)
            ids = _uuids(rng, n)
            times = BEGIN + (first + np.arange(n)) * (days * 86_400 / rows)
            logit = rng.normal(size=n)
            for writer, noise in ((champion, 0.0), (shadow, 0.05)):
                scores = 1 / (1 + np.exp(-logit - noise * rng.normal(size=n)))
                writer.write_table(pa.table([ids, times, scores], schema=schema))


def _uuids(rng: np.random.Generator, n: int) -> pa.Array:
    """Give random ids of 36 characters, as ``uuid.uuid4()`` prints them."""
    letters = np.frombuffer(b"0123456789abcdef", np.uint8)[rng.integers(0, 16, size=(n, 36))]
    letters[:, [8, 13, 18, 23]] = ord("-")
    offsets = np.arange(0, 36 * (n + 1), 36, dtype=np.int32)
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(letters))


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
