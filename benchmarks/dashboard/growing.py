"""The store grows while one looks: the next panes close, as under a tail."""

from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from benchmarks.dashboard.fleet import draw_panes, kind_at
from benchmarks.dashboard.judged import START
from benchmarks.dashboard.store import DAYS, put_sources

from birdwatch.windows.rollups import Keep
from birdwatch.windows.store import Store

__all__ = ["Growing"]

_MINUTE: Final = 60


class Growing:
    """A store, open for writing within a ``with`` block."""

    _drawn: Any = None

    def __init__(self, path: Path, seed: int = 1) -> None:
        self._path = path
        self._rng = np.random.default_rng(seed)

    def __enter__(self) -> Self:
        # Drawn once for all: it takes some seconds.
        Growing._drawn = Growing._drawn or draw_panes(self._rng, _MINUTE)
        self._store = Store(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def close_a_pane(self) -> int:
        """Close the next pane, roll up what has ended, and give the event time up to which panes are closed."""
        closed = self._store.closed_range()
        start = START if closed is None else closed[1]
        drawn = self._drawn[kind_at(start - START, DAYS)._replace(odd=False)]
        with self._store.transaction():
            self._store.put(start, drawn[int(self._rng.integers(len(drawn)))])
            put_sources(self._store, start + _MINUTE)
            self._store.age(start + _MINUTE, Keep(), open_from=start)
        return start + _MINUTE
