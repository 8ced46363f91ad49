"""A small HTTP server for processes that have none: ``/healthz`` and ``/metrics``."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from birdwatch.errors import ServingError

__all__ = ["Health"]

Counts = Callable[[], Counter[tuple[str, str]]]


class _Counted(Collector):
    """Shows what a process has counted by (what, model)."""

    def __init__(self, component: str, counts: Counts) -> None:
        self._component = component
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily] = {}
        for (what, model), count in sorted(self._counts().copy().items()):
            family = families.get(what)
            if family is None:
                family = families[what] = CounterMetricFamily(
                    f"birdwatch_{self._component}_{what}", f"{what.replace('_', ' ')} since the start", labels=["model"]
                )
            family.add_metric([model], count)
        yield from families.values()


class Health:
    """Serves from a thread until it is closed.

    Parameters
    ----------
    port
        0 takes a free one.
    component
        Goes into the names of the metrics.
    counts
        Gives what the process has counted so far, by (what, model).

    Raises
    ------
    ServingError
        The port is taken.
    """

    def __init__(self, port: int, component: str, counts: Counts, host: str = "127.0.0.1") -> None:
        registry = CollectorRegistry()
        registry.register(_Counted(component, counts))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = 200, b"ok\n"
                if self.path == "/metrics":
                    body = generate_latest(registry)
                elif self.path != "/healthz":
                    status, body = 404, b"not found\n"
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ServingError(f"port {port} on {host} cannot be used: {error.strerror}; name another one") from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
