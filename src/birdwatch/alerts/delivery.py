"""Delivery: a process of its own takes from the outbox what is due and gives it to the sinks.

Each sink has a thread and a connection to itself, so one that hangs keeps nobody waiting but itself. The store is
written only between attempts, a row at a time: the tail never waits for a receiver.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from birdwatch.alerts.outbox import due, mark_delivered, mark_failed, subscribe
from birdwatch.alerts.silences import settle
from birdwatch.alerts.sinks import Sink
from birdwatch.errors import DiskFullError, StoreBusyError, StoreError
from birdwatch.windows.store import Store

__all__ = ["Attempts", "deliver", "deliver_due", "deliver_once"]

_log = logging.getLogger(__name__)

_WRITE_PATIENCE_MILLISECONDS: Final = 60_000  # the tail may judge for long in one transaction


class Attempts(NamedTuple):
    """What came of the attempts of one step."""

    delivered: int = 0
    failed: int = 0


def deliver_due(
    store: Store, sinks: Mapping[str, Sink], now: Callable[[], float], most: int = 100
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
        How many attempts to make for a sink.

    Returns
    -------
    dict[str, Attempts]
        By sink. What failed is due again after the back-off.
    """
    settle(store, now())
    results: dict[str, Attempts] = {}
    for name, sink in sinks.items():
        delivered = failed = 0
        for item in due(store, name, now(), most):
            try:
                sink.send(item.alert, item.message_id)
            except Exception as error:  # noqa: BLE001 - a sink may be anybody's code: whatever it raises, it failed
                failed += 1
                reason = str(error) or type(error).__name__
                pause = mark_failed(store, item, now(), reason)
                _log.warning("%s: %s: %s; tried again in %g s", name, item.message_id, reason, pause)
            else:
                delivered += 1
                mark_delivered(store, item, now())
                _log.info("%s: %s: delivered", name, item.message_id)
        results[name] = Attempts(delivered, failed)
    return results


def deliver_once(path: Path, sinks: Mapping[str, Sink]) -> int:
    """Subscribe the sinks, give each what is due now, and count what failed.

    Raises
    ------
    StoreError
        There is no store.
    """
    Store(path, readonly=True).close()  # opened for writing, a store that is missing would be made
    store = Store(path)
    store.connection.set_busy_timeout(_WRITE_PATIENCE_MILLISECONDS)
    failed = 0
    try:
        for name, sink in sinks.items():
            subscribe(store, name)
            # Again while something is taken: a change may only follow once the one before it is delivered.
            made = Attempts(delivered=1)
            while made.delivered:
                made = deliver_due(store, {name: sink}, time.time)[name]
                failed += made.failed
    finally:
        store.close()
    return failed


def deliver(path: Path, sinks: Mapping[str, Sink], stop: threading.Event, *, poll_seconds: float = 0.5) -> None:
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

    Raises
    ------
    Exception
        The store failed for good (a store that is merely busy is waited for); all threads have ended.
    """
    while not _is_made(path) and not stop.is_set():
        stop.wait(poll_seconds)
    with ThreadPoolExecutor(len(sinks), thread_name_prefix="deliver") as pool:
        running = [pool.submit(_serve, path, name, sink, stop, poll_seconds) for name, sink in sinks.items()]
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


def _serve(path: Path, name: str, sink: Sink, stop: threading.Event, poll_seconds: float) -> None:
    store = Store(path)
    store.connection.set_busy_timeout(_WRITE_PATIENCE_MILLISECONDS)
    subscribed = False
    try:
        while not stop.is_set():
            made = Attempts()
            try:
                if not subscribed:
                    subscribe(store, name)
                    subscribed = True
                # One at a time, so that `stop` is heard between attempts.
                made = deliver_due(store, {name: sink}, time.time, most=1)[name]
            except (apsw.BusyError, StoreBusyError, DiskFullError) as error:
                # What was sent but could not be marked is sent again, with the same id.
                _log.warning("%s: %s", name, error)
            if not any(made):
                stop.wait(poll_seconds)
    finally:
        store.close()
