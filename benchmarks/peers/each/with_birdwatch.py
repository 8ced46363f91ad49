"""Birdwatch: counts on the grid, from which KS and PSI follow."""

import json
import sys

import pyarrow.parquet as pq

from birdwatch.stats.distances import bucket_counts, bucket_cuts, ks, ks_noise, psi
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts


def counted(path: str) -> dict[str, Counts]:
    """Count each model's scores, a column at a time."""
    file = pq.ParquetFile(path)
    return {name: Counts.of(bins_of(file.read([name])[name].to_numpy(), "probability")) for name in file.schema.names}


reference, current = (counted(path) for path in sys.argv[1:3])
found = {}
for model, counts in current.items():
    before = reference[model]
    n, m = counts.counts.sum(), before.counts.sum()
    cuts = bucket_cuts(before)
    apart = ks(counts, before)
    found[model] = {
        "ks": apart.value,
        "psi": psi(bucket_counts(counts, cuts), bucket_counts(before, cuts)),
        "moved": bool(apart.value - apart.error > ks_noise(n, m, 1 - 0.05 / len(current))),
    }
print(json.dumps(found))
