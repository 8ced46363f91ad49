"""Lag: how many messages were written and not yet read, by partition; asked seldom, and kept beside the panes.

A store knows what was read. How much was not is known only to who reads, so it is noted with what is counted: how it
stands now by partition, and the most there was by stream while each pane was the last that had closed.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from birdwatch.streams import Partition
from birdwatch.windows.store import Store

__all__ = ["EVERY_SECONDS", "Lag", "forget_lag", "put_lag", "read_lag"]

EVERY_SECONDS: Final = 5.0
"""How often, on the wall clock, streams are asked where they end."""

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS lag (
    stream TEXT NOT NULL, partition INTEGER NOT NULL, behind INTEGER NOT NULL, PRIMARY KEY (stream, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lag_peaks (
    start INTEGER NOT NULL, stream TEXT NOT NULL, behind INTEGER NOT NULL, PRIMARY KEY (start, stream)) WITHOUT ROWID;
"""

# What stays as it is is not written: a store at rest is left alone.
_PUT: Final = """
INSERT INTO lag VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET behind = excluded.behind WHERE behind != excluded.behind
"""
_PEAK: Final = """
INSERT INTO lag_peaks SELECT ?, stream, sum(behind) FROM lag WHERE true GROUP BY stream
ON CONFLICT DO UPDATE SET behind = excluded.behind WHERE behind < excluded.behind
"""


class Lag:
    """Asks how far behind a reader is, once in a while.

    Parameters
    ----------
    ask
        Gives it by partition, or nothing while nobody answers: `birdwatch.windows.reading.Reading.lags`.
    """

    def __init__(self, ask: Callable[[], dict[Partition, int]]) -> None:
        self._ask = ask
        self._asked = -math.inf

    def step(self, now: float) -> dict[Partition, int]:
        """Give the lag by partition if it is time to ask again; else, and while nobody answers, nothing."""
        if 0 <= now - self._asked < EVERY_SECONDS:
            return {}
        self._asked = now
        return self._ask()


def put_lag(store: Store, start: int, behind: Mapping[Partition, int], *, of_all: bool = False) -> None:
    """Keep how far behind the reading is.

    Parameters
    ----------
    start
        The last pane that has closed.
    behind
        Messages not yet read; where this is empty, what was known stays.
    of_all
        These are all partitions there are: others are read no more, and are forgotten.
    """
    if not behind:
        return
    store.connection.execute(_TABLES)
    if of_all:
        for gone in sorted(read_lag(store).keys() - behind.keys()):
            store.connection.execute("DELETE FROM lag WHERE (stream, partition) = (?, ?)", gone)
    store.connection.executemany(_PUT, [(*at, messages) for at, messages in sorted(behind.items())])
    store.connection.execute(_PEAK, (start,))


def forget_lag(store: Store) -> None:
    """Forget how it stands now: who reads from here on says so anew."""
    if store.connection.table_exists(None, "lag"):
        store.connection.execute("DELETE FROM lag")


def read_lag(store: Store) -> dict[Partition, int]:
    """Give how many messages are not yet read, by partition, as it was noted last; nothing where it never was."""
    if not store.connection.table_exists(None, "lag"):
        return {}
    rows: Any = store.connection.execute("SELECT stream, partition, behind FROM lag ORDER BY stream, partition")
    return {Partition(stream, number): behind for stream, number, behind in rows}
