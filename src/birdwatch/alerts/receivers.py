"""What is known of each receiver: until when it wants to be left alone, and whether it wants nothing any more.

A receiver that answered 410 is disabled until somebody enables it, or its address changes. Its alerts wait meanwhile:
nothing is thrown away, and nobody can overlook it.
"""

from typing import Any

import msgspec

from birdwatch.alerts.outbox import create_tables
from birdwatch.windows.store import Store

__all__ = ["Disabled", "disable", "disabled", "enable", "enter", "pause"]


class Disabled(msgspec.Struct, frozen=True):
    """A sink that is given nothing: since when (wall time), why, and how many changes wait for it."""

    sink: str
    since: float
    why: str
    waiting: int

    def in_words(self) -> str:
        """Say it, with the remedy.

        >>> Disabled("pager", 0.0, "answered 410 Gone", 2).in_words()
        'pager is disabled: answered 410 Gone; 2 changes wait: give it another address, or `birdwatch alerts enable pager`'
        """
        waits = "1 change waits" if self.waiting == 1 else f"{self.waiting} changes wait"
        return f"{self.sink} is disabled: {self.why}; {waits}: give it another address, or `birdwatch alerts enable {self.sink}`"


def enter(store: Store, sink: str, place: str) -> None:
    """Keep where a sink leads; another place than before is a receiver of which nothing is known yet."""
    with store.transaction():
        create_tables(store)
        store.connection.execute(
            "INSERT INTO receivers (sink, place) VALUES (?, ?) ON CONFLICT (sink) DO UPDATE SET"
            " place = excluded.place, resume = 0, disabled = NULL, why = '' WHERE place <> excluded.place",
            (sink, place),
        )
        if store.connection.changes():
            _try_now(store, sink)


def pause(store: Store, sink: str, until: float) -> None:
    """Give a sink nothing before a moment of wall time: it has asked for that."""
    _know(store, sink)
    store.connection.execute("UPDATE receivers SET resume = ? WHERE sink = ?", (until, sink))


def disable(store: Store, sink: str, now: float, why: str) -> None:
    """Give a sink nothing until it is enabled."""
    _know(store, sink)
    store.connection.execute("UPDATE receivers SET disabled = ?, why = ? WHERE sink = ?", (now, why, sink))


def enable(store: Store, sink: str) -> None:
    """Give a sink what waits for it, at once; one that is well already is only asked again sooner."""
    with store.transaction():
        create_tables(store)
        _know(store, sink)
        store.connection.execute("UPDATE receivers SET resume = 0, disabled = NULL, why = '' WHERE sink = ?", (sink,))
        _try_now(store, sink)


def disabled(store: Store) -> dict[str, Disabled]:
    """Give the sinks that are disabled, by name."""
    if not store.connection.table_exists(None, "receivers"):
        return {}
    rows: Any = store.connection.execute(
        "SELECT sink, disabled, why, (SELECT count(*) FROM outbox o WHERE o.sink = r.sink AND o.delivered IS NULL)"
        " FROM receivers r WHERE disabled IS NOT NULL ORDER BY sink"
    )
    return {row[0]: Disabled(*row) for row in rows}


def _know(store: Store, sink: str) -> None:
    store.connection.execute("INSERT OR IGNORE INTO receivers (sink) VALUES (?)", (sink,))


def _try_now(store: Store, sink: str) -> None:
    store.connection.execute("UPDATE outbox SET due = 0 WHERE sink = ? AND delivered IS NULL", (sink,))
