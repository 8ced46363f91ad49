"""What could not be read: how many messages of each stream were put to dead letters, and why, kept beside the panes.

The dead letters themselves are on a stream of their own, which who looks at a store does not read.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import pandas as pd

from birdwatch.deltas import LaneLetters
from birdwatch.windows.decode import Fault
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, timestamp

__all__ = ["letters_of", "put_unreadable", "unreadable_table"]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS unreadable (
    start INTEGER NOT NULL, stream TEXT NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL, reason TEXT NOT NULL,
    first TEXT NOT NULL, PRIMARY KEY (start, stream, kind)) WITHOUT ROWID;
"""

_LONGEST_REASON: Final = 300


def letters_of(faults: Iterable[Fault]) -> list[LaneLetters]:
    """Count faults by stream and kind, each with the reason and the place of the first."""
    found: dict[tuple[str, str], LaneLetters] = {}
    for message, reason, kind in faults:
        counted = found.get((message.stream, kind))
        if counted is None:
            where = f"{message.stream}/{message.partition}@{message.offset}"
            found[message.stream, kind] = LaneLetters(
                stream=message.stream, kind=kind, n=1, reason=reason[:_LONGEST_REASON], first=where
            )
        else:
            counted.n += 1
    return [counted for _, counted in sorted(found.items())]


def put_unreadable(store: Store, start: int, letters: Sequence[LaneLetters]) -> None:
    """Count dead letters under the last pane that had closed when they were read; their own time may be unreadable."""
    if not letters:
        return
    store.connection.execute(_TABLE)
    store.connection.executemany(
        "INSERT INTO unreadable VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
        [(start, one.stream, one.kind, one.n, one.reason, one.first) for one in letters],
    )


def unreadable_table(store: Store, span: Span) -> pd.DataFrame:
    """Count dead letters by stream, kind and step.

    Returns
    -------
    DataFrame
        ``time, to`` (the step; only those in which there were any), ``stream, kind`` (``unreadable`` or ``out of
        range``), ``n, reason, first``: why the first of them could not be read, and where it lies.
    """
    first = (store.closed_range() or (span.since, 0))[0]
    rows: Any = []
    if store.connection.table_exists(None, "unreadable"):
        # Of several rows SQLite gives the other columns of the one that has the least. What came before any pane had
        # closed stands with the first.
        rows = store.connection.execute(
            "SELECT ?1 + (max(start, ?2) - ?1) / ?4 * ?4 AS step, stream, kind, sum(n), reason, first, min(start)"
            " FROM unreadable WHERE max(start, ?2) >= ?1 AND max(start, ?2) < ?3"
            " GROUP BY step, stream, kind ORDER BY step, stream, kind",
            (span.since, first, span.until, span.step),
        )
    found = [(timestamp(step), timestamp(step + span.step), *rest) for step, *rest, _ in rows]
    table = pd.DataFrame(found, columns=["time", "to", "stream", "kind", "n", "reason", "first"])
    return table.astype({"time": "datetime64[ns, UTC]", "to": "datetime64[ns, UTC]", "n": "int64"})
