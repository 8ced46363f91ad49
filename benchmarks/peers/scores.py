"""Scores of ten models, a column each: a reference, one more draw of the same, and one in which a single model has moved.

.venv/bin/python -m benchmarks.peers.scores FOLDER ROWS
"""

import sys
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["MODELS", "MOVED", "SHIFT", "write"]

MODELS: Final = tuple(f"model-{number}" for number in range(10))
MOVED: Final = MODELS[3]
SHIFT: Final = 0.1
"""By how many standard deviations of its logit the scores of `MOVED` have moved."""

SEED: Final = 20_261_123


def write(folder: Path, scores: int) -> None:
    """Write ``reference.parquet``, ``unchanged.parquet`` and ``moved.parquet``, of ``scores`` scores each, a tenth a model."""
    rng = np.random.default_rng(SEED)
    rows = scores // len(MODELS)
    centres = np.linspace(-2, 1, len(MODELS))
    for name in ("reference", "unchanged", "moved"):
        columns = {}
        for model, centre in zip(MODELS, centres, strict=True):
            logit = centre + rng.normal(size=rows) + (SHIFT if (name, model) == ("moved", MOVED) else 0.0)
            columns[model] = 1 / (1 + np.exp(-logit))
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
