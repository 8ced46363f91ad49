"""The demo's client and its receiver of alerts, over real connections."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import msgspec
import pytest

from birdwatch.alerts.sinks import Webhook
from birdwatch.demo.client import Client
from birdwatch.demo.flights import Question
from birdwatch.demo.webhook import Receiver
from birdwatch.testing import an_alert

pytestmark = pytest.mark.integration

ALERT = an_alert(fingerprint="ab12", ts=60.0, started=0.0, reason="it differs", partner="")


@pytest.fixture
def received():
    return []


@pytest.fixture
def receiver(received):
    with Receiver(received.append) as made:
        yield made


def test_an_alert_is_taken_once_however_often_it_comes(receiver, received):
    webhook = Webhook(receiver.url)
    for message_id in ("ab12-60-firing", "ab12-60-firing", "ab12-120-resolved"):
        webhook.send(ALERT, message_id)
    webhook.close()
    assert received == receiver.alerts == [ALERT, ALERT]
    assert receiver.took("ab12", 60.0)
    assert not receiver.took("ab12", 61.0)


@pytest.mark.parametrize("body", [b"{}", b"not JSON", b""])
def test_what_is_no_alert_is_refused(receiver, received, body):
    assert httpx.post(receiver.url, content=body).status_code == 400
    assert received == []


class Gateway:
    """Answers as told: a status and a body for each request, or a connection that breaks."""

    def __init__(self):
        self.asked = []
        self.answers = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                gateway.asked.append(msgspec.json.decode(self.rfile.read(int(self.headers["content-length"]))))
                answer = gateway.answers.pop(0)
                if answer is None:
                    self.close_connection = True
                    return
                status, body = answer
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def gateway():
    made = Gateway()
    yield made
    made.close()


GOOD = (200, b'{"model": "champion", "reason": "first choice", "score": 0.2, "within_sla": true}')
QUESTION = Question(0, "flight-0", 60.0, {"origin": "EWR"})


def ask(gateway):
    said = []
    with Client(gateway.url, said.append) as client:
        answer = asyncio.run(client.ask(QUESTION))
    return answer, said


def test_a_question_is_one_request_with_its_id_and_event_time(gateway):
    gateway.answers = [GOOD]
    answer, said = ask(gateway)
    assert (answer.model, answer.reason, answer.within_sla) == ("champion", "first choice", True)
    assert answer.latency_seconds > 0
    assert gateway.asked == [{"id": "flight-0", "ts": 60.0, "features": {"origin": "EWR"}}]
    assert said == []


def test_a_connection_that_breaks_is_tried_again_with_the_same_id(gateway):
    gateway.answers = [None, None, GOOD]
    answer, said = ask(gateway)
    assert answer.model == "champion"
    assert [asked["id"] for asked in gateway.asked] == ["flight-0"] * 3
    assert said == []


@pytest.mark.parametrize("wrong", [(503, b"come again"), (200, b"<html>"), (200, b'{"model": 5}')])
def test_what_is_no_answer_is_said(gateway, wrong):
    gateway.answers = [wrong]
    answer, said = ask(gateway)
    assert answer is None
    assert "no answer to flight-0" in said[0]


def test_a_gateway_that_is_gone_gives_no_answer(gateway):
    gateway.answers = [None, None, None]
    answer, said = ask(gateway)
    assert answer is None
    assert len(said) == 1
