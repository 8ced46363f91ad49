"""Delivery: a process of its own takes from the outbox what is due and gives it to the sinks.

Each sink has a thread and a connection to itself, so one that hangs keeps nobody waiting but itself. The store is
written only between attempts, in short transactions: the tail never waits for a receiver. A sink that takes several
changes at once is given all that is new in one attempt; what has failed comes again by itself, so that one which a
receiver never takes holds up no other.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import apsw

from birdwatch.alerts.attempts import Attempts
from birdwatch.alerts.beside import beside
from birdwatch.alerts.outbox import Due, due, mark_delivered, mark_failed, standing, subscribe
from birdwatch.alerts.receivers import disable, disabled, enter, pause
from birdwatch.alerts.silences import settle
from birdwatch.alerts.sinks.sink import Sink
from birdwatch.alerts.watchdog import WATCHDOG_FINGERPRINT
from birdwatch.errors import DeliveryError, DiskFullError, GoneError, StoreBusyError, StoreError
from birdwatch.windows.store import Store

__all__ = ["RESOLVED_FOR_SECONDS", "deliver", "deliver_due", "deliver_once", "repeat"]

_log = logging.getLogger(__name__)

RESOLVED_FOR_SECONDS: Final = 300.0
"""For how long a sink that wants to hear everything again hears of what has resolved."""

_REMIND_SECONDS: Final = 600.0  # how often the log says that a sink is disabled


def deliver_due(
    store: Store,
    sinks: Mapping[str, Sink],
    now: Callable[[], float],
    most: int = 100,
    *,
    jitter: Callable[[], float] = random.random,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[str, Attempts]:
    """Give every sink what is due for it, once; keep the result of each attempt before the next is made.

    Parameters
    ----------
    store
        The store with the outbox, open for writing.
    sinks
        By the name under which they subscribed.
    now
        The wall clock: Unix seconds.
    most
        How many changes to give to a sink.
    jitter
        Gives a number in 0 to 1: see `birdwatch.alerts.outbox.mark_failed`.
    stopping
        Asked after each attempt whether it was the last.

    Returns
    -------
    dict[str, Attempts]
        By sink. What failed is due again after the back-off.
    """
    settle(store, now())
    return {name: _serve_due(store, name, sink, now, most, jitter, stopping) for name, sink in sinks.items()}


def _serve_due(
    store: Store,
    name: str,
    sink: Sink,
    now: Callable[[], float],
    most: int,
    jitter: Callable[[], float],
    stopping: Callable[[], bool],
) -> Attempts:
    delivered = failed = 0
    for items in _attempts(due(store, name, now(), most), sink.batch):
        try:
            sink.send_all([(item.alert, item.message_id) for item in items])
        except Exception as error:  # noqa: BLE001 - a sink may be anybody's code: whatever it raises, it failed
            failed += len(items)
            if _keep_failure(store, items, error, now(), jitter()):
                break
        else:
            delivered += len(items)
            with store.transaction():
                for item in items:
                    mark_delivered(store, item, now())
            for item in items:
                _log.info("%s: %s: delivered", name, item.message_id)
        if stopping():
            break
    return Attempts(delivered, failed)


def _attempts(items: Sequence[Due], batch: int) -> Iterator[Sequence[Due]]:
    """Part what is due into attempts: what is new together, what has failed one by one."""
    new = [item for item in items if item.attempts == 0]
    yield from (new[start : start + batch] for start in range(0, len(new), batch))
    yield from ([item] for item in items if item.attempts > 0)


def _keep_failure(store: Store, items: Sequence[Due], error: Exception, now: float, jitter: float) -> bool:
    """Keep why an attempt failed; tell whether the sink wants to be left alone with all else that is due."""
    sink = items[0].sink
    reason = str(error) or type(error).__name__
    asked = error.retry_after if isinstance(error, DeliveryError) else None
    unsure = error.unsure if isinstance(error, DeliveryError) else True
    with store.transaction():
        for item in items:
            wait = mark_failed(store, item, now, reason, retry_after=asked, jitter=jitter, unsure=unsure)
        if asked is not None:
            pause(store, sink, now + wait)
        if isinstance(error, GoneError):
            disable(store, sink, now, reason)
    if isinstance(error, GoneError):
        _log.error("%s", disabled(store)[sink].in_words())
        return True
    for item in items:
        _log.warning("%s: %s: %s; tried again in %.0f s", sink, item.message_id, reason, wait)
    return asked is not None


def repeat(store: Store, name: str, sink: Sink, now: float) -> None:
    """Tell a sink again what it has taken: what fires, and what has just resolved.

    It may fail: the next time says the same. What a sink has not taken yet is in the outbox.
    """
    if name in disabled(store):
        return
    try:
        since = now - RESOLVED_FOR_SECONDS
        stands = standing(store, name, since)
        # The watchdog stands only as long as the judge says so.
        sink.repeat([alert for alert in stands if alert.fingerprint != WATCHDOG_FINGERPRINT or alert.ts > since])
    except Exception as error:  # noqa: BLE001 - as above
        _log.warning("%s: what stands could not be said again: %s", name, str(error) or type(error).__name__)


def deliver_once(path: Path, sinks: Mapping[str, Sink]) -> int:
    """Subscribe the sinks, give each what is due now, and count what failed, and what waits for one that is disabled.

    Raises
    ------
    StoreError
        There is no store.
    """
    failed = 0
    with beside(path) as store:
        for name, sink in sinks.items():
            subscribe(store, name)
            enter(store, name, sink.place)
            # Again while something is taken: a change may only follow once the one before it is delivered.
            made = Attempts(delivered=1)
            while made.delivered:
                made = deliver_due(store, {name: sink}, time.time)[name]
                failed += made.failed
            if sink.repeat_seconds is not None:
                repeat(store, name, sink, time.time())
        for one in disabled(store).values():
            if one.sink in sinks and one.waiting:
                failed += one.waiting
                _log.error("%s", one.in_words())
    return failed


def deliver(
    path: Path,
    sinks: Mapping[str, Sink],
    stop: threading.Event,
    *,
    poll_seconds: float = 0.5,
    turned: Callable[[str, Attempts], None] = lambda *_: None,
) -> None:
    """Deliver to all sinks, each in a thread of its own, until ``stop`` is set.

    Parameters
    ----------
    path
        The store; waited for while it is not there.
    sinks
        By name; they are subscribed first. They stay open.
    stop
        Ends the delivery after the attempt in hand.
    poll_seconds
        How often to look into the outbox.
    turned
        Told of each turn of a sink, in its thread, and what came of it.

    Raises
    ------
    Exception
        The store failed for good (a store that is merely busy is waited for); all threads have ended.
    """
    while not _is_made(path) and not stop.is_set():
        stop.wait(poll_seconds)
    with ThreadPoolExecutor(len(sinks), thread_name_prefix="deliver") as pool:
        running = [pool.submit(_serve, path, name, sink, stop, poll_seconds, turned) for name, sink in sinks.items()]
        wait(running, return_when=FIRST_EXCEPTION)
        stop.set()
    for thread in running:
        thread.result()


def _is_made(path: Path) -> bool:
    """Tell whether the tail has made its store."""
    if not path.exists():
        return False
    try:
        Store(path, readonly=True).close()
    except (StoreError, apsw.Error) as error:
        _log.warning("%s cannot be read yet: %s", path, error)
        return False
    return True


def _serve(
    path: Path,
    name: str,
    sink: Sink,
    stop: threading.Event,
    poll_seconds: float,
    turned: Callable[[str, Attempts], None],
) -> None:
    subscribed = False
    next_repeat = next_reminder = 0.0
    with beside(path) as store:
        while not stop.is_set():
            made = Attempts()
            try:
                if not subscribed:
                    subscribe(store, name)
                    enter(store, name, sink.place)
                    subscribed = True
                # One attempt at a time, so that `stop` is heard, and a silence, between two.
                made = deliver_due(store, {name: sink}, time.time, most=sink.batch, stopping=lambda: True)[name]
                if sink.repeat_seconds is not None and time.monotonic() >= next_repeat:
                    next_repeat = time.monotonic() + sink.repeat_seconds
                    repeat(store, name, sink, time.time())
                if time.monotonic() >= next_reminder:
                    next_reminder = time.monotonic() + _REMIND_SECONDS
                    _remind(store, name)
            except (apsw.BusyError, StoreBusyError, DiskFullError) as error:
                # What was sent but could not be marked is sent again, with the same id.
                _log.warning("%s: %s", name, error)
            turned(name, made)
            if not any(made):
                stop.wait(poll_seconds)


def _remind(store: Store, name: str) -> None:
    found = disabled(store).get(name)
    if found is not None:
        _log.error("%s", found.in_words())
