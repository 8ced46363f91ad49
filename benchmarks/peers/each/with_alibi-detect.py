"""Alibi Detect: the KS test over all columns, with its correction for their number."""

import json
import sys

import pyarrow.parquet as pq
from alibi_detect.cd import KSDrift

reference, current = (pq.read_table(path).to_pandas() for path in sys.argv[1:3])
detector = KSDrift(reference.to_numpy(), p_val=0.05)
told = detector.predict(current.to_numpy(), drift_type="batch", return_p_val=True, return_distance=True)["data"]
print(
    json.dumps(
        {
            model: {"ks": float(distance), "moved": bool(p < told["threshold"])}
            for model, distance, p in zip(current.columns, told["distance"], told["p_val"], strict=True)
        }
    )
)
