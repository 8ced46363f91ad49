"""A picture of what lies behind an alert reaches receivers: as an attachment, and at the address that others are told."""

import base64
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest
from PIL import Image
from pytest_httpserver import HTTPServer

from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.sinks import Apprise
from birdwatch.detect.verdict import Finding, Subject, Verdict, create_table, put_verdicts
from birdwatch.errors import DeliveryError
from birdwatch.testing import an_alert
from birdwatch.windows.store import Store

from .waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")


@pytest.fixture
def httpserver():
    """Serve each request in a thread: apprise and the webhook come at once."""
    with HTTPServer(threaded=True) as server:
        yield server


def raise_alert(path):
    """Have the share of errors rise, and a ticket fire."""
    store = Store(path, pane_seconds=3600)
    create_table(store)
    share = {"rule": "errors", "kind": "rate", "subject": Subject("m", "1"), "statistic": "share", "reason": "so many"}
    put_verdicts(
        store,
        [
            Verdict(start=day * 86_400, end=(day + 1) * 86_400, value=0.01, tolerance=0.02, status="ok", **share)
            for day in range(9)
        ]
        + [Verdict(start=9 * 86_400, end=864_000, value=0.3, tolerance=0.02, effect=0.28, status="drifting", **share)],
    )
    found = Finding(
        rule="errors", subject=Subject("m", "1"), ts=864_000, severity="ticket", active=True, reason="so many"
    )
    advance(store, [found])
    store.close()


def size(png):
    with Image.open(io.BytesIO(png)) as picture:
        picture.load()
        return picture.format, picture.size


def test_a_picture_is_attached_by_apprise_and_served_to_whom_a_webhook_tells_its_address(httpserver, tmp_path):
    raise_alert(tmp_path / "birdwatch.db")
    for place in ("/team", "/hook"):
        httpserver.expect_request(place).respond_with_data("")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    (tmp_path / "birdwatch.yaml").write_text(
        f"pictures_url: http://127.0.0.1:{port}\n"
        "streams: files:recorded\n"
        "sinks:\n"
        f"  team: {{kind: apprise, urls: ['json://127.0.0.1:{httpserver.port}/team']}}\n"
        f"  hook: {{kind: webhook, url: '{httpserver.url_for('/hook')}', signed: false}}\n"
    )
    command = [sys.executable, "-m", "birdwatch", "alerts", "deliver", "--health-port", str(port)]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
        try:
            until(lambda: len(httpserver.log) >= 2)
            told = {request.path: request.json for request, _ in httpserver.log}
            (attached,) = told["/team"]["attachments"]
            assert re.fullmatch(r"errors-[0-9a-f]{16}\.png", attached["filename"])
            png = base64.b64decode(attached["base64"])
            assert size(png) == ("PNG", (1600, 900))
            address = told["/hook"]["alerts"][0]["annotations"]["image"]
            served = httpx.get(address, timeout=60)
            assert (served.headers["content-type"], size(served.content)) == ("image/png", ("PNG", (1600, 900)))
            assert served.content == png
            assert httpx.get(address.replace("-864000-", "-777600-")).status_code == 404
            metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            assert 'birdwatch_alerts_pictures_total{result="drawn"} 1.0' in metrics
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_an_attempt_by_apprise_has_a_deadline_though_a_receiver_drips():
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            taken, _ = server.accept()
            with taken:
                taken.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
                while not over.wait(0.05):
                    try:
                        taken.sendall(b"z")
                    except OSError:
                        return

        threading.Thread(target=drip, daemon=True).start()
        sink = Apprise([f"json://127.0.0.1:{server.getsockname()[1]}/"], timeout_seconds=1.0)
        try:
            with pytest.raises(DeliveryError, match=r"^address 1 of 1 did not take it$"):
                sink.send(an_alert(), "id")
        finally:
            over.set()
