"""The gate as a service: what delivers models step by step asks it whether to go on.

=====================  ==========================================================================================
``GET /check``         the report as JSON, for Argo Rollouts' web metric. It answers 200 whatever the check comes to: a
                       metric reads ``verdict``, and one that is neither pass nor fail is inconclusive there too
``POST /flagger``      for Flagger's webhooks: 200 where the check passes, else 409 (failed) or 425 (inconclusive) with the
                       reason, which Flagger shows; whom to compare stands in the webhook's ``metadata``
``GET /healthz``       200 while it serves; ``/readyz`` and ``/metrics`` are there too, as in every process
=====================  ==========================================================================================

It reads the store that a tail fills, and nothing is counted again.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from birdwatch.check.formats.data import json_text
from birdwatch.check.report import Exit, Report
from birdwatch.errors import BirdwatchError, ServingError, SettingsError
from birdwatch.health import Health

__all__ = ["Asked", "Gate"]

_MOST_BYTES: Final = 65_536
_SECONDS: Final = 30
_STATUS: Final = {Exit.PASS: 200, Exit.FAIL: 409, Exit.INCONCLUSIVE: 425}
_RESULTS: Final = (*(exit_.word for exit_ in _STATUS), "refused", "error")
_HEALTH: Final = ("/healthz", "/readyz", "/metrics")
_FIELDS: Final = ("champion", "shadow", "since")


class Asked(NamedTuple):
    """Who is compared with whom, and since when; None is for the gate to know."""

    shadow: str
    champion: str | None = None
    since: str | None = None


class _Answer(NamedTuple):
    status: int
    body: str
    kind: str = "text/plain"


class Gate:
    """Serves from a thread until it is closed.

    Parameters
    ----------
    judge
        Gives the report on a shadow; called by one request at a time.
    host, port
        Where to listen; port 0 takes a free one.

    Attributes
    ----------
    port
        The one it has.
    pulse
        Says whether the process is at work: its loop beats it.

    Raises
    ------
    ServingError
        The port is taken.
    """

    def __init__(self, judge: Callable[[Asked], Report], host: str, port: int) -> None:
        self._judge = judge
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter({("checks", word): 0 for word in _RESULTS})
        self._health = Health(None, "gate")
        self._health.show(lambda: self._counts, label="result")
        self.pulse = self._health.pulse
        gate = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _SECONDS

            def do_GET(self) -> None:
                self._send(gate.answer("GET", self.path))

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not length.isdigit() or int(length) > _MOST_BYTES:
                    self._send(_Answer(413, f"send a body of at most {_MOST_BYTES} bytes, with its length"))
                    return
                self._send(gate.answer("POST", self.path, self.rfile.read(int(length))))

            def _send(self, answer: _Answer) -> None:
                body = answer.body.encode()
                self.send_response(answer.status)
                self.send_header("Content-Type", f"{answer.kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ServingError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, body: bytes = b"") -> _Answer:
        """Answer one request; whatever goes wrong is never taken for a pass."""
        asked = urlsplit(target)
        try:
            if (method, asked.path) == ("GET", "/check"):
                report = self._report(dict(parse_qsl(asked.query)))
                return _Answer(200, json_text(report), "application/json")
            if (method, asked.path) == ("POST", "/flagger"):
                report = self._report(_metadata(body))
                return _Answer(_STATUS[report.exit], f"{report.exit.word}: {report.reason}\n")
        except SettingsError as error:
            self._count("refused")
            return _Answer(400, f"{error}\n")
        except BirdwatchError as error:
            self._count("error")
            return _Answer(503, f"{error}\n")
        if method == "GET" and asked.path in _HEALTH:
            status, _, said = self._health.answer(asked.path)
            return _Answer(status, said.decode())
        return _Answer(404, f"there is GET /check, POST /flagger and GET {', '.join(_HEALTH)}\n")

    def _report(self, said: Mapping[str, str]) -> Report:
        given = {name: said[name] for name in _FIELDS if said.get(name)}
        if "shadow" not in given:
            raise SettingsError("name the shadow: /check?shadow=MODEL, or metadata with the key shadow")
        with self._lock:
            report = self._judge(Asked(**given))
        self._count(report.exit.word)
        return report

    def _count(self, result: str) -> None:
        with self._counting:
            self._counts["checks", result] += 1


def _metadata(body: bytes) -> Mapping[str, str]:
    """Read what a webhook of Flagger says: name, namespace, phase, and under ``metadata`` texts by name."""
    try:
        found = json.loads(body).get("metadata") or {}
        return {str(key): str(value) for key, value in found.items()}
    except (ValueError, AttributeError) as error:
        raise SettingsError('send what Flagger sends: {"name": ..., "metadata": {"shadow": "MODEL"}}') from error
