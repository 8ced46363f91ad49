"""Polars: KS and PSI as expressions."""

import json
import math
import sys

import polars as pl

reference, current = (pl.read_parquet(path) for path in sys.argv[1:3])
found = {}
for model in current.columns:
    now, before = current[model], reference[model]
    n, m = len(now), len(before)
    both = pl.DataFrame({"x": pl.concat([now, before])}).with_columns(
        pl.concat([pl.repeat(1 / n, n, eager=True), pl.repeat(-1 / m, m, eager=True)]).alias("step")
    )
    ks = (
        both.sort("x")
        .with_columns(pl.col("step").cum_sum().abs())
        .group_by("x")
        .agg(pl.col("step").last())["step"]
        .max()
    )
    edges = [before.quantile(k / 10, "linear") for k in range(1, 10)]
    buckets = [sum((x > edge).cast(pl.Int8) for edge in edges) for x in (now, before)]
    p, q = ([(bucket == k).sum() / len(bucket) for k in range(10)] for bucket in buckets)
    found[model] = {
        "ks": float(ks),
        "psi": float(sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))),
        "moved": bool(ks > math.sqrt(-math.log(0.05 / 2) / 2 * (n + m) / (n * m))),
    }
print(json.dumps(found))
