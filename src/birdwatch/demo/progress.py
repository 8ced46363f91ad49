"""How far the readers have come, seen from outside: the tail, the delivery of alerts, and the guard."""

import time
from collections.abc import Callable
from typing import Final

from birdwatch.alerts.outbox import waiting
from birdwatch.serving.control.guard import GROUP
from birdwatch.streams import Positions, Streams
from birdwatch.windows.store import Store

__all__ = ["Progress"]

READ_BY_TAIL: Final = ("requests", "scores", "canary", "metrics", "outcomes", "control")
READ_BY_GUARD: Final = ("control", "alerts")
_SINK: Final = "stream"
_CHECK_SECONDS: Final = 0.5


class Progress:
    """Tells whether all that is on the streams was taken into account.

    Nothing more comes of it then: the tail has counted it, its alerts are on their stream, the guard has acted on them,
    and the tail knows of that too.

    Parameters
    ----------
    store
        The tail's store, open for reading.
    check
        Called every half second meanwhile: it starts a dead process again, or raises.
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
        before = self._streams.ends(["control"])
        counted = {at: point.position for at, point in self._store.checkpoints().items()}
        return (
            _beyond(counted, self._streams.ends(READ_BY_TAIL))
            and not waiting(self._store).get(_SINK)
            and _beyond(self._streams.committed(GROUP, READ_BY_GUARD), self._streams.ends(READ_BY_GUARD))
            # If the guard has acted since the tail was looked at, the tail has that before it.
            and self._streams.ends(["control"]) == before
        )


def _beyond(positions: Positions, ends: Positions) -> bool:
    return all(positions.get(at, 0) >= end for at, end in ends.items())
