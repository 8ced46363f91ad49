"""What could not be read: how many messages of each stream were put to dead letters, and why, kept beside the panes.

The dead letters themselves are on a stream of their own, which who looks at a store does not read.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from birdwatch.deltas import LaneLetters
from birdwatch.windows.decode import Fault
from birdwatch.windows.store import Store

__all__ = ["letters_of", "put_unreadable"]

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
