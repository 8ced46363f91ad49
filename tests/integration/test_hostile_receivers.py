"""Real sockets that mean harm: nothing is lost, nothing goes out unsigned, and no other sink waits."""

import json
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import standardwebhooks
from msgspec import structs

from birdwatch.alerts.attempts import Attempts
from birdwatch.alerts.delivery import deliver_due
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.outbox import waiting
from birdwatch.alerts.receivers import disabled
from birdwatch.alerts.sinks import Apprise, Log, Webhook
from birdwatch.alerts.sinks.post import Poster
from birdwatch.alerts.sinks.webhook import read_key
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.errors import DeliveryError
from birdwatch.testing import an_alert
from birdwatch.windows.store import Store

pytestmark = pytest.mark.integration

SECRET = "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"  # noqa: S105 - of nobody
ALERT = an_alert(fingerprint="ab12", ts=60.0, started=0.0, attribution="", model="m", reason="moved", partner="")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    yield store
    store.close()


class Handler(BaseHTTPRequestHandler):
    """Does, with each request, the next thing that its server was told; afterwards it is well."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        # Whatever comes, to whatever it does: the receiver's own library says who sent it.
        standardwebhooks.Webhook(SECRET).verify(body, dict(self.headers))
        self.server.asked += 1
        does = self.server.behaviours.pop(0) if self.server.behaviours else 204
        if does == "hang":
            self.server.over.wait(60)
        elif does == "drip":
            self.drip()
        elif does == "close":
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.answer(*does) if isinstance(does, tuple) else self.answer(does)
            if does == 204:
                self.server.taken.append((self.headers["webhook-id"], json.loads(body)["status"]))

    def drip(self):
        try:
            for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"z" * 10_000:
                self.wfile.write(bytes([byte]))
                if self.server.over.wait(0.02):
                    return
        except OSError:
            pass  # the sender has had enough

    def answer(self, status, *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Hostile(ThreadingHTTPServer):
    """A server of such."""

    def __init__(self, behaviours=(), context=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours = list(behaviours)
        self.taken = []
        self.asked = 0
        self.over = threading.Event()
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def handle_error(self, request, client_address):
        pass  # senders that had enough

    def close(self):
        self.over.set()
        self.shutdown()
        self.server_close()
        self._thread.join()


@pytest.fixture
def hostile():
    made = []

    def make(*behaviours, context=None):
        made.append(Hostile(behaviours, context))
        return made[-1]

    yield make
    for one in made:
        one.close()


def signed(url, seconds=1.0):
    return Webhook(url, key=read_key(SECRET), poster=Poster(timeout_seconds=seconds))


def test_whatever_a_receiver_does_it_gets_everything_in_order_and_nobody_else_waits(hostile, store, tmp_path):
    misdeeds = (
        "hang",
        "drip",
        "close",
        500,
        (302, ("location", "http://169.254.169.254/latest/meta-data/")),
        (429, ("retry-after", "100")),
        (503, ("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")),
        404,
    )
    receiver = hostile(*misdeeds)
    sinks = {"hook": signed(receiver.url), "log": Log(tmp_path / "alerts.jsonl")}
    page = {"rule": "shift", "subject": Subject("m", "2"), "severity": "page"}
    advance(store, [Finding(ts=60, active=True, reason="moved", **page)], sinks=sinks)
    advance(store, [Finding(ts=120, active=False, over=True, reason="retired", **page)])
    clock, failed = 0.0, 0
    while waiting(store):
        results = deliver_due(store, sinks, lambda at=clock: at, jitter=lambda: 0.0)
        failed += results["hook"].failed
        assert results["log"] == Attempts(1 if clock <= 10 else 0, 0)
        clock += 10.0 if clock < 10 else 10_000.0
        assert clock < 1e6
    assert failed == len(misdeeds)
    first, second = receiver.taken
    assert (first[1], second[1]) == ("firing", "resolved")
    assert first[0] != second[0]
    assert receiver.asked == len(misdeeds) + 2


def test_a_receiver_that_is_gone_is_asked_no_more(hostile, store):
    receiver = hostile(410)
    page = {"rule": "shift", "subject": Subject("m", "2"), "severity": "page"}
    advance(store, [Finding(ts=60, active=True, reason="moved", **page)], sinks=["hook"])
    for clock in (0.0, 1e6, 1e7):
        deliver_due(store, {"hook": signed(receiver.url)}, lambda at=clock: at)
    assert (receiver.asked, receiver.taken, list(disabled(store))) == (1, [], ["hook"])


@pytest.fixture
def certificate(tmp_path):
    """Make a certificate that nobody has signed but its owner."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not there: apt-get install openssl")
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", made),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return made, context


def test_a_receiver_that_is_not_who_it_says_gets_nothing(hostile, certificate, monkeypatch):
    made, context = certificate
    receiver = hostile(context=context)
    with pytest.raises(DeliveryError, match=r"its certificate is not trusted: self.signed certificate"):
        signed(f"https://localhost:{receiver.port}/", 10).send(ALERT, "id")
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    with pytest.raises(DeliveryError, match="its certificate is not trusted: IP address mismatch"):
        signed(f"https://127.0.0.1:{receiver.port}/", 10).send(ALERT, "id")
    assert receiver.asked == 0
    signed(f"https://localhost:{receiver.port}/", 10).send(ALERT, "id")
    assert receiver.taken == [("id", "firing")]


def test_what_apprise_knows_is_told(httpserver):
    httpserver.expect_request("/team").respond_with_data("")
    told = structs.replace(ALERT, runbook="Call the owners.")
    Apprise([f"json://127.0.0.1:{httpserver.port}/team"]).send(told, "id")
    ((request, _),) = httpserver.log
    assert request.json["title"] == "page: m 2: pairs"
    assert request.json["message"] == "moved\nsince 1970-01-01 00:00 UTC\nwhat to do: Call the owners."
    httpserver.clear()
    httpserver.expect_request("/team").respond_with_data("", status=500)
    with pytest.raises(DeliveryError, match="address 1 of 1 did not take it"):
        Apprise([f"json://127.0.0.1:{httpserver.port}/team"]).send(ALERT, "id")
