"""How far the tail has come, seen from outside: by the offsets that it keeps in its store."""

import time
from collections.abc import Callable
from typing import Final

from birdwatch.streams import Streams
from birdwatch.windows.store import Store

__all__ = ["TailProgress"]

READ_BY_TAIL: Final = ("requests", "scores", "canary", "metrics", "outcomes", "control")
_CHECK_SECONDS: Final = 0.5


class TailProgress:
    """Tells whether the tail has counted all that is on the streams.

    Parameters
    ----------
    store
        The tail's store, open for reading.
    check
        Called every half second meanwhile: it starts a dead tail again, or raises.
    """

    def __init__(
        self,
        streams: Streams,
        store: Store,
        check: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams = streams
        self._store = store
        self._check = check
        self._clock = clock
        self._checked = clock()

    def caught_up(self) -> bool:
        """Look once."""
        now = self._clock()
        if now - self._checked >= _CHECK_SECONDS:
            self._checked = now
            self._check()
        kept = self._store.checkpoints()
        ends = self._streams.ends(READ_BY_TAIL)
        return all(at in kept and kept[at].position >= end for at, end in ends.items())
