"""Scipy: the two-sample test, and PSI by numpy."""

import json
import sys

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import ks_2samp

reference, current = (pq.read_table(path) for path in sys.argv[1:3])
found = {}
for model in current.column_names:
    now, before = current[model].to_numpy(), reference[model].to_numpy()
    edges = np.quantile(before, np.linspace(0.1, 0.9, 9))
    p, q = (np.bincount(np.searchsorted(edges, x), minlength=10) / x.size for x in (now, before))
    test = ks_2samp(now, before)
    found[model] = {
        "ks": float(test.statistic),
        "psi": float(((p - q) * np.log(p / q)).sum()),
        "moved": bool(test.pvalue < 0.05),
    }
print(json.dumps(found))
