"""A small HTTP server for processes that have none: ``/healthz``, ``/readyz`` and ``/metrics``.

``/healthz`` says that the process lives, ``/readyz`` whether it does its work: 503 with the reason until it is ready, when
its loop stands still, and when the component itself has trouble.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from birdwatch.errors import ServingError

__all__ = ["Health", "Pulse", "Trouble"]

Counts = Callable[[], Counter[tuple[str, str]]]

_STILL_SECONDS: Final = 10.0
_TEXT: Final = "text/plain; charset=utf-8"


class Pulse:
    """Whether a process is at work: its loop beats this with every turn.

    Parameters
    ----------
    still_seconds
        A loop that has not turned for so long stands still.
    clock
        Monotonic seconds.

    Examples
    --------
    >>> pulse = Pulse()
    >>> pulse.reason()
    'starting'
    >>> pulse.beat()
    >>> pulse.reason()
    """

    def __init__(self, still_seconds: float = _STILL_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._still_seconds = still_seconds
        self._clock = clock
        self._last: float | None = None

    def beat(self) -> None:
        """Take note of a turn of the loop; the first says that the process is ready."""
        self._last = self._clock()

    def turning(self, stopping: Callable[[], bool]) -> Callable[[], bool]:
        """Give what asks ``stopping``, as a loop does with every turn, and beats."""

        def turn() -> bool:
            self.beat()
            return stopping()

        return turn

    def reason(self) -> str | None:
        """Say why the process is not ready, or None when it is."""
        if self._last is None:
            return "starting"
        still = self._clock() - self._last
        return f"the loop has not turned for {still:.0f} s" if still >= self._still_seconds else None


class Trouble:
    """Why a process cannot do its work at present, such as a full disk: said once when it begins, and when it is over.

    Parameters
    ----------
    say
        Tells people.

    Attributes
    ----------
    reason
        The present one, or None.
    times
        How often there was one.

    Examples
    --------
    >>> trouble = Trouble(print)
    >>> trouble.begins("the disk is full"), trouble.begins("the disk is full")
    the disk is full
    (None, None)
    >>> trouble.ends(), trouble.reason, trouble.times
    it is over: the disk is full
    (None, None, 1)
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.reason: str | None = None
        self.times = 0

    def begins(self, reason: str) -> None:
        """Take note of what keeps the process from its work, and say it unless there was something already."""
        if self.reason is None:
            self.times += 1
            self._say(reason)
        self.reason = reason

    def ends(self) -> None:
        """Take note that the work goes on."""
        if self.reason is not None:
            self._say(f"it is over: {self.reason}")
            self.reason = None


def _no_trouble() -> str | None:
    return None


class _Counted(Collector):
    """Shows whether a process is ready, and what it has counted by (what, model), or by another label."""

    def __init__(self, component: str, counts: Counts, label: str, reason: Callable[[], str | None]) -> None:
        self._label = label
        self._component = component
        self._counts = counts
        self._reason = reason

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("birdwatch_ready", "1 where /readyz answers 200, else 0", self._reason() is None)
        families: dict[str, CounterMetricFamily] = {}
        for (what, model), count in sorted(self._counts().copy().items()):
            family = families.get(what)
            if family is None:
                family = families[what] = CounterMetricFamily(
                    f"birdwatch_{self._component}_{what}",
                    f"{what.replace('_', ' ')} since the start",
                    labels=[self._label],
                )
            family.add_metric([model], count)
        yield from families.values()


class Health:
    """Serves from a thread until it is closed.

    Parameters
    ----------
    port
        0 takes a free one; None serves nothing.
    component
        Goes into the names of the metrics.
    host
        Where to listen: in a container, 0.0.0.0.
    still_seconds
        How long the process' loop may take for a turn.
    clock
        Monotonic seconds.

    Attributes
    ----------
    port
        The one it has, or None.
    pulse
        Says whether the process is at work.

    Raises
    ------
    ServingError
        The port is taken.
    """

    def __init__(
        self,
        port: int | None,
        component: str,
        host: str = "127.0.0.1",
        still_seconds: float = _STILL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.port: int | None = None
        self.pulse = Pulse(still_seconds, clock)
        self._component = component
        self._registries: list[CollectorRegistry] = []
        self._trouble: Callable[[], str | None] = _no_trouble
        self._folders: dict[str, tuple[str, Callable[[str], bytes | None]]] = {}
        self._server: ThreadingHTTPServer | None = None
        if port is not None:
            self._listen(host, port)

    def _listen(self, host: str, port: int) -> None:
        health = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = health.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        try:
            server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ServingError(f"port {port} on {host} cannot be used: {error.strerror}; name another one") from error
        self.port = server.server_address[1]
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="health", daemon=True)
        self._thread.start()

    def show(
        self,
        counts: Counts,
        measures: CollectorRegistry | None = None,
        trouble: Callable[[], str | None] = _no_trouble,
        *,
        label: str = "model",
    ) -> None:
        """Show a component from now on.

        Parameters
        ----------
        counts
            Gives what it has counted so far, by (what, model).
        measures
            What else is shown at ``/metrics``.
        trouble
            Gives why it does not do its work at present, or None.
        label
            What the second of each pair in ``counts`` names.
        """
        registry = CollectorRegistry()
        registry.register(_Counted(self._component, counts, label, self._reason))
        self._registries = [registry] if measures is None else [registry, measures]
        self._trouble = trouble

    def _reason(self) -> str | None:
        """Say why the process does not do its work at present, or None when it does."""
        return self.pulse.reason() or self._trouble()

    def offer(self, folder: str, kind: str, give: Callable[[str], bytes | None]) -> None:
        """Serve files below ``/folder/`` too, of one content type: ``give`` has them by name, or None; it never raises."""
        self._folders[folder] = kind, give

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Answer a GET with status, content type and body; for a process that has a server of its own too."""
        if path == "/healthz":
            return 200, _TEXT, b"ok\n"
        if path == "/readyz":
            reason = self._reason()
            return (503, _TEXT, f"{reason}\n".encode()) if reason else (200, _TEXT, b"ready\n")
        if path == "/metrics":
            return 200, _TEXT, b"".join(map(generate_latest, self._registries))
        _, folder, name = [*path.split("/", 2), "", ""][:3]
        if folder in self._folders:
            kind, give = self._folders[folder]
            found = give(name)
            if found is not None:
                return 200, kind, found
        return 404, _TEXT, b"not found\n"

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
