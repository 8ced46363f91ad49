"""What the same question costs without a gate: both files joined by request, and the mean difference, nothing else.

.venv/bin/python -m benchmarks.check.joined CHAMPION SHADOW
"""

import sys
from typing import Any

import duckdb

__all__ = ["mean_difference"]


def mean_difference(champion: str, shadow: str) -> tuple[int, float]:
    """Give how many requests are in both files, and by how much the scores differ in the mean."""
    question = (
        "SELECT count(*), avg(s.score - c.score) FROM read_parquet(?) c JOIN read_parquet(?) s USING (request_id)"
        " WHERE c.request_ts = s.request_ts"
    )
    found: Any = duckdb.execute(question, [champion, shadow]).fetchone()
    return found


if __name__ == "__main__":
    print(*mean_difference(*sys.argv[1:]))
