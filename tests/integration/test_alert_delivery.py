"""Alerts reach a real receiver over HTTP, from a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from birdwatch.alerts.attempts import Attempts
from birdwatch.alerts.delivery import deliver_due
from birdwatch.alerts.history import read_alerts
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.sinks import Webhook
from birdwatch.alerts.sinks.post import Poster
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.windows.store import Store

from .waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    yield store
    store.close()


@pytest.fixture
def httpserver():
    """Serve each request in a thread: one that hangs must not hide the next."""
    with HTTPServer(threaded=True) as server:
        yield server


class Receiver:
    """A receiver that does, at each request, the next thing it was told; well when it was told nothing more."""

    def __init__(self, httpserver, *behaviours):
        self.behaviours = list(behaviours)
        self.seen = []
        self.released = threading.Event()
        httpserver.expect_request("/alerts").respond_with_handler(self.answer)
        self.url = httpserver.url_for("/alerts")

    def answer(self, request):
        self.seen.append((request.headers["webhook-id"], json.loads(request.data)["status"]))
        does = self.behaviours.pop(0) if self.behaviours else 204
        if does == "hang":
            self.released.wait(60)
            does = 204
        return Response(status=does, headers={"location": "/elsewhere"} if does == 302 else {})


def raise_alert(store, ts, *, over=False, sinks=("webhook",)):
    found = Finding(
        rule="shift",
        subject=Subject("m", "2"),
        ts=ts,
        severity="page",
        active=not over,
        over=over,
        reason="rolled back" if over else "moved",
    )
    return advance(store, [found], sinks=sinks)


def test_a_receiver_that_hangs_fails_and_redirects_gets_the_alert_when_it_is_well(httpserver, store):
    receiver = Receiver(httpserver, "hang", 500, 302)
    sinks = {"webhook": Webhook(receiver.url, poster=Poster(timeout_seconds=1.0))}
    raise_alert(store, 60)
    now = 0.0
    results = []
    for wait in (0, 5, 300, 1800, 7200):
        now += wait
        results.append(deliver_due(store, sinks, lambda at=now: at, jitter=lambda: 0.0)["webhook"])
    receiver.released.set()
    sinks["webhook"].close()
    assert results == [Attempts(0, 1)] * 3 + [Attempts(1, 0), Attempts()]
    assert len(receiver.seen) == 4
    assert len(set(receiver.seen)) == 1
    assert {request.path for request, _ in httpserver.log} == {"/alerts"}  # the redirect was not followed
    (row,) = read_alerts(store, 0, 100)
    assert row.delivered == {"webhook": 2105.0}


@pytest.fixture
def deliverer(tmp_path):
    started = []

    def start(*options):
        command = [sys.executable, "-m", "birdwatch", "alerts", "deliver", "--store", str(tmp_path / "birdwatch.db")]
        process = subprocess.Popen(
            [*command, "--streams", f"sqlite:{tmp_path / 'streams'}", *options],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def delivered(store):
    return [
        sink
        for (sink,) in store.connection.execute(
            "SELECT sink FROM outbox WHERE delivered IS NOT NULL ORDER BY alert, sink"
        )
    ]


def test_the_process_serves_every_sink_while_the_receiver_hangs_then_fails_then_is_well(
    httpserver, store, deliverer, tmp_path
):
    receiver = Receiver(httpserver, "hang", 500)
    log = tmp_path / "alerts.jsonl"
    process = deliverer("--webhook", receiver.url, "--log", str(log))
    assert "delivering" in process.stdout.readline()
    raise_alert(store, 60, sinks=["webhook", "log", "stream"])
    until(lambda: len(receiver.seen) == 1 and delivered(store) == ["log", "stream"])  # while the webhook hangs
    httpserver.check_assertions()
    raise_alert(store, 120, over=True)
    until(lambda: delivered(store) == ["log", "stream", "log", "stream"])
    assert [state for _, state in receiver.seen] == ["firing"]
    process.kill()  # in the middle of an attempt, whose outcome nobody will know
    process.wait(30)
    receiver.released.set()
    again = deliverer("--webhook", receiver.url, "--log", str(log))
    until(lambda: len(delivered(store)) == 6)
    assert [state for _, state in receiver.seen] == ["firing", "firing", "firing", "resolved"]
    assert len({message for message, _ in receiver.seen}) == 2
    assert [json.loads(line)["state"] for line in log.read_text().splitlines()] == ["firing", "resolved"]
    again.send_signal(signal.SIGTERM)
    assert again.wait(30) == 0


def test_a_store_that_is_not_there_yet_is_waited_for(httpserver, deliverer, tmp_path):
    receiver = Receiver(httpserver)
    process = deliverer("--webhook", receiver.url)
    assert "once it is there" in process.stdout.readline()
    assert not (tmp_path / "birdwatch.db").exists()
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    raise_alert(store, 60)
    until(lambda: len(receiver.seen) == 1)
    store.close()


def test_once_delivers_what_is_due_and_says_whether_all_was_taken(httpserver, store, deliverer):
    receiver = Receiver(httpserver, 500)
    raise_alert(store, 60)
    assert deliverer("--webhook", receiver.url, "--once").wait(60) == 1
    store.connection.execute("UPDATE outbox SET due = 0")
    assert deliverer("--webhook", receiver.url, "--once").wait(60) == 0
    assert len(receiver.seen) == 2
