"""The watchdog: an alert that fires as long as the judge works, so that its absence says that nobody watches.

Whoever hears it (a dead man's switch) raises the alarm when it has not been heard for a while. It goes the way of all
alerts, through the outbox and the delivery, and so vouches for these too. Only the newest is kept: a receiver that was
away wants to hear that Birdwatch works now, and no more. It is no trouble, so lists and counts of alerts leave it out, and
no silence holds it back.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from birdwatch.alerts.condition import fingerprint
from birdwatch.alerts.outbox import create_tables, put, subscribe
from birdwatch.detect.duration import say_duration
from birdwatch.detect.verdict import WATCHDOG, Subject
from birdwatch.records import Alert
from birdwatch.windows.store import Store

__all__ = ["WATCHDOG_FINGERPRINT", "Watchdog"]

_CAUSE: Final = "birdwatch works"

WATCHDOG_FINGERPRINT: Final = fingerprint(WATCHDOG, Subject(), _CAUSE)
"""How to tell it from all other alerts."""

_FORGET: Final = """
DELETE FROM outbox WHERE alert IN (SELECT id FROM alerts WHERE fingerprint = :fingerprint);
DELETE FROM doubts WHERE alert IN (SELECT id FROM alerts WHERE fingerprint = :fingerprint);
DELETE FROM alerts WHERE fingerprint = :fingerprint
"""


class Watchdog:
    """Says that the judge works: at once, and then on a schedule by the wall clock.

    Parameters
    ----------
    store
        The store, open for writing.
    every_seconds
        How often.
    sinks
        Sinks to subscribe first.
    now
        The wall clock, in Unix seconds.
    """

    def __init__(
        self, store: Store, every_seconds: float, *, sinks: Sequence[str] = (), now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._every = every_seconds
        self._sinks = sinks
        self._now = now
        self._first: float | None = None
        self._last: float | None = None

    def beat(self) -> bool:
        """Say it if it is time; tell whether it was.

        Raises
        ------
        StoreError
            The store cannot be written, or another process has taken it over: nothing was said.
        """
        now = self._now()
        # A clock that was put back must not keep it from being said.
        if self._last is not None and 0 <= now - self._last < self._every:
            return False
        first = now if self._first is None else self._first
        alert = Alert(
            fingerprint=WATCHDOG_FINGERPRINT,
            ts=now,
            started=first,
            state="firing",
            rule=WATCHDOG,
            severity="info",
            attribution=_CAUSE,
            model="",
            version="",
            reason=f"said every {say_duration(self._every)} as long as the judge works: if it stays away, nobody watches",
        )
        with self._store.transaction():
            create_tables(self._store)
            for sink in self._sinks:
                subscribe(self._store, sink)
            self._store.connection.execute(_FORGET, {"fingerprint": WATCHDOG_FINGERPRINT})
            put(self._store, alert)
        self._first, self._last = first, now
        return True
