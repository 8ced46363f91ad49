"""What was lost on the way here: messages that were gone before they were read, kept in the store and told of."""

from collections.abc import Sequence
from typing import Any, Final

from birdwatch.streams import Gap, Partition
from birdwatch.windows.store import Store

__all__ = ["gaps_since", "put_gaps"]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS gaps (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, partition INTEGER NOT NULL, wanted INTEGER NOT NULL,
    found INTEGER NOT NULL, reason TEXT NOT NULL)
"""


def put_gaps(store: Store, gaps: Sequence[Gap]) -> None:
    """Keep what was found missing."""
    if not gaps:
        return
    store.connection.execute(_TABLE)
    store.connection.executemany(
        "INSERT INTO gaps (stream, partition, wanted, found, reason) VALUES (?, ?, ?, ?, ?)",
        [(*gap.partition, gap.wanted, gap.found, gap.reason) for gap in gaps],
    )


def gaps_since(store: Store, number: int) -> list[tuple[int, Gap]]:
    """Give what was found missing after the gap of this number, each with its own number, which rises."""
    if not store.connection.table_exists(None, "gaps"):
        return []
    rows: Any = store.connection.execute(
        "SELECT id, stream, partition, wanted, found, reason FROM gaps WHERE id > ? ORDER BY id", (number,)
    )
    return [
        (number, Gap(Partition(stream, partition), wanted, found, reason))
        for number, stream, partition, wanted, found, reason in rows
    ]
