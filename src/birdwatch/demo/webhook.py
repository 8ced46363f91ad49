"""The demo's receiver of alerts: what would be a chat room or a pager elsewhere."""

import threading
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import msgspec

from birdwatch.records import Alert

__all__ = ["Receiver"]

_MOST_BYTES = 1_000_000


class Receiver:
    """A local web server that takes alerts, each once.

    Parameters
    ----------
    on_alert
        Called for every new alert, in a thread of the server.

    Attributes
    ----------
    url
        Where alerts are posted; a free port is taken.
    alerts
        What has come so far.
    """

    def __init__(self, on_alert: Callable[[Alert], None]) -> None:
        self.alerts: list[Alert] = []
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                if length > _MOST_BYTES:
                    self._answer(413)
                    return
                try:
                    alerts = _read(self.rfile.read(length))
                except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
                    self._answer(400)
                    return
                if receiver._is_new(self.headers.get("webhook-id") or ""):
                    for alert in alerts:
                        receiver.alerts.append(alert)
                        on_alert(alert)
                self._answer(204)

            def _answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing: the demo prints the alerts themselves."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def took(self, fingerprint: str, ts: float) -> bool:
        """Tell whether an alert has come that fired at ``ts``."""
        return any(a.fingerprint == fingerprint and a.ts == ts and a.state == "firing" for a in self.alerts)

    def _is_new(self, message_id: str) -> bool:
        """Delivery is at least once: the id is the same over all attempts."""
        with self._lock:
            if message_id and message_id in self._seen:
                return False
            self._seen.add(message_id)
            return True


def _read(content: bytes) -> list[Alert]:
    """Read a webhook's body (see `birdwatch.alerts.sinks.webhook`), as anybody's receiver would."""
    body: Any = msgspec.json.decode(content)
    return [
        Alert(
            fingerprint=one["fingerprint"],
            ts=_seconds(one["annotations"]["changed"]),
            started=_seconds(one["startsAt"]),
            state=one["status"],
            rule=one["labels"]["alertname"],
            severity=one["labels"]["severity"],
            attribution=one["labels"].get("attribution", ""),
            model=one["labels"].get("model", ""),
            version=one["labels"].get("version", ""),
            reason=one["annotations"]["description"],
        )
        for one in body["alerts"]
    ]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
