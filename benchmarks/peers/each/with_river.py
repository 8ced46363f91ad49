"""River: KSWIN over each model's scores as one stream, the reference first."""

import json
import sys

import pyarrow.parquet as pq
from river.drift import KSWIN

reference, current = (pq.read_table(path) for path in sys.argv[1:3])
found = {}
for model in current.column_names:
    detector = KSWIN(alpha=0.0001, seed=1)
    for score in reference[model].to_pylist():
        detector.update(score)
    moved = False
    for score in current[model].to_pylist():
        detector.update(score)
        moved |= detector.drift_detected
    found[model] = {"moved": moved}
print(json.dumps(found))
