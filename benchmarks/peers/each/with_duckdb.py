"""DuckDB: KS and PSI in SQL, nothing else."""

import json
import math
import sys

import duckdb

reference, current = sys.argv[1:3]
models = [row[0] for row in duckdb.sql(f"describe select * from '{current}'").fetchall()]
found = {}
for model in models:
    n, m, ks = duckdb.sql(f"""
        with one as (
            select "{model}" as x, 1 as now, 0 as before from '{current}'
            union all select "{model}", 0, 1 from '{reference}'),
        steps as (select x, sum(now) as now, sum(before) as before from one group by x),
        size as (select sum(now) as n, sum(before) as m from steps),
        upto as (select sum(now) over (order by x) as now, sum(before) over (order by x) as before from steps)
        select any_value(n), any_value(m), max(abs(now / n - before / m)) from upto, size""").fetchall()[0]
    edges = duckdb.sql(
        f"""select quantile_cont("{model}", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]) from '{reference}'"""
    ).fetchall()[0][0]
    buckets = " + ".join(f'("{model}" > {edge!r})::int' for edge in edges)
    (p, q) = (
        [
            k / of
            for _, k in duckdb.sql(f"select {buckets} as b, count(*) from '{path}' group by b order by b").fetchall()
        ]
        for path, of in ((current, n), (reference, m))
    )
    found[model] = {
        "ks": float(ks),
        "psi": float(sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))),
        "moved": bool(ks > math.sqrt(-math.log(0.05 / 2) / 2 * (n + m) / (n * m))),
    }
print(json.dumps(found))
