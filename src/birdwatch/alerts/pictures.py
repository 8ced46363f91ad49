"""Pictures for receivers, drawn by a process beside the delivery: whatever becomes of one, its alert does not wait for long.

Drawing takes the interpreter for itself for a second, and a hundred megabytes: so it is done elsewhere, by one that ends
when it has had nothing to do for a while. One that hangs is ended, and one that dies is made anew.
"""

import hashlib
import hmac
import logging
import re
import secrets
import signal
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from birdwatch.alerts.beside import beside
from birdwatch.alerts.history import read_changes
from birdwatch.alerts.watchdog import WATCHDOG_FINGERPRINT
from birdwatch.records import Alert, decode, encode
from birdwatch.windows.store import Store

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

__all__ = ["PATIENCE_SECONDS", "Pictures"]

_log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 20.0
"""So long an alert waits for its picture at the most."""

_REST_SECONDS: Final = 60.0  # after one that took too long, so that a storm of alerts is not held up by each
_KEY_PATIENCE_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 120.0
_KEPT: Final = 64
_NOTE: Final = "pictures.key"
_NAME: Final = re.compile(r"([0-9a-f]{16})-([0-9]{1,12})-([0-9a-f]{32})\.png")
_RESULTS: Final = ("drawn", "nothing", "failed")

Result = Literal["drawn", "nothing", "failed"]

Draw = Callable[[Store, Alert], bytes | None]
"""Draws an alert as a PNG, or says that there is nothing to draw; importable by name, for another process calls it."""


class Pictures(Collector):
    """Draws what lies behind alerts, and counts what came of it.

    Parameters
    ----------
    path
        The store.
    draw
        Draws.
    url
        Where receivers reach what `named` gives; None where nobody serves it.
    patience_seconds
        How long to wait for a picture at the most.
    """

    def __init__(
        self,
        path: Path,
        draw: Draw,
        *,
        url: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._path = path
        self._draw = draw
        self._url = url
        self._patience_seconds = patience_seconds
        self._counts: Counter[str] = Counter()
        self._kept: OrderedDict[str, bytes | None] = OrderedDict()
        self._key: bytes | None = None
        self._turn = threading.Lock()
        self._rests_until = 0.0
        self._worker: BaseProcess | None = None
        self._line: Connection | None = None

    def png(self, alert: Alert) -> bytes | None:
        """Give the picture of an alert that fires; None where there is nothing to draw, or it did not come in time."""
        if alert.state != "firing" or alert.fingerprint == WATCHDOG_FINGERPRINT:
            return None
        until = time.monotonic() + self._patience_seconds
        if not self._turn.acquire(timeout=self._patience_seconds):
            self._fail(alert, "others are drawn")
            return None
        try:
            return self._drawn(alert, until)
        finally:
            self._turn.release()

    def _drawn(self, alert: Alert, until: float) -> bytes | None:
        which = f"{alert.fingerprint}-{alert.ts:.0f}"
        if which in self._kept:
            return self._kept[which]
        if time.monotonic() < self._rests_until:
            self._fail(alert, "one before it took too long")
            return None
        try:
            result, found = self._asked(encode(alert), until)
        except Exception as error:  # noqa: BLE001 - whatever it is, the alert goes without
            self._end()
            self._fail(alert, f"what draws has ended: {type(error).__name__}")
            return None
        if result == "failed":
            self._fail(alert, found.decode())
            return None
        self._counts[result] += 1
        self._kept[which] = found or None
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found or None

    def _asked(self, record: bytes, until: float) -> tuple[Result, bytes]:
        """Have the process beside draw an alert; end it when it takes too long."""
        for again in (True, False):
            line = self._open()
            try:
                line.send_bytes(record)
                if not line.poll(max(0.0, until - time.monotonic())):
                    self._end()
                    self._rests_until = time.monotonic() + _REST_SECONDS
                    return "failed", f"it took longer than {self._patience_seconds:g} s".encode()
                result, found = line.recv()
            except (OSError, EOFError):
                self._end()
                if not again:  # once, it may have had nothing to do for too long
                    raise
            else:
                return result, found
        raise AssertionError

    def _open(self) -> Connection:
        if self._worker is None or self._line is None or not self._worker.is_alive():
            self._end()
            context = get_context("spawn")  # a fork would take the threads' locks along
            self._line, theirs = context.Pipe()
            self._worker = context.Process(
                target=_work, args=(theirs, self._path, self._draw), name="pictures", daemon=True
            )
            self._worker.start()
            theirs.close()
        return self._line

    def _fail(self, alert: Alert, why: str) -> None:
        self._counts["failed"] += 1
        _log.warning("%s-%.0f goes without a picture: %s", alert.fingerprint, alert.ts, why)

    def address(self, alert: Alert) -> str:
        """Give the address of the picture of an alert that fires; empty where it has none.

        Nobody can guess it: it has a code in it that only who can read the store can make. It stays the same.
        """
        if self._url is None or alert.state != "firing" or alert.fingerprint == WATCHDOG_FINGERPRINT:
            return ""
        try:
            name = f"{alert.fingerprint}-{alert.ts:.0f}"
            return f"{self._url.rstrip('/')}/pictures/{name}-{self._code(name)}.png"
        except Exception as error:  # noqa: BLE001 - whatever it is, the alert goes without
            _log.warning("%s goes without the address of its picture: %s", alert.fingerprint, error)
            return ""

    def named(self, name: str) -> bytes | None:
        """Give the picture that an address names; None where there is none, or nobody was told of it."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        fingerprint, moment, code = found.groups()
        try:
            if not hmac.compare_digest(self._code(f"{fingerprint}-{moment}"), code):
                return None
            store = Store(self._path, readonly=True)
            try:
                alerts = [change.alert for change in read_changes(store, fingerprint)]
            finally:
                store.close()
        except Exception as error:  # noqa: BLE001 - who asks is told that there is none
            _log.warning("the picture %s-%s cannot be given: %s", fingerprint, moment, error)
            return None
        wanted = (alert for alert in alerts if alert.state == "firing" and f"{alert.ts:.0f}" == moment)
        return next((self.png(alert) for alert in wanted), None)

    def _code(self, name: str) -> str:
        if self._key is None:
            with beside(self._path, _KEY_PATIENCE_SECONDS) as store, store.transaction():
                key = store.noted(_NOTE)
                if key is None:
                    key = secrets.token_hex(32)
                    store.note(_NOTE, key)
                self._key = bytes.fromhex(key)
        return hmac.digest(self._key, name.encode(), hashlib.sha256).hex()[:32]

    def collect(self) -> Iterator[Metric]:
        """Give the counts."""
        family = CounterMetricFamily(
            "birdwatch_alerts_pictures", "pictures of what lies behind alerts", labels=["result"]
        )
        for result in _RESULTS:
            family.add_metric([result], self._counts[result])
        yield family

    def close(self) -> None:
        """End the process that draws."""
        with self._turn:
            self._end()

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
        if self._worker is not None:
            self._worker.kill()
            self._worker.join()
        self._worker = self._line = None


def _work(line: Connection, path: Path, draw: Draw) -> None:
    """Draw what is asked for, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the delivery ends it
    while line.poll(_IDLE_SECONDS):
        try:
            record = line.recv_bytes()
        except EOFError:
            return
        answer: tuple[Result, bytes]
        try:
            store = Store(path, readonly=True)
            try:
                png = draw(store, decode(record, Alert))
            finally:
                store.close()
            answer = ("drawn", png) if png else ("nothing", b"")
        except Exception as error:  # noqa: BLE001 - whatever it is, this one goes without
            answer = ("failed", f"{type(error).__name__}: {str(error)[:200]}".encode())
        line.send(answer)
