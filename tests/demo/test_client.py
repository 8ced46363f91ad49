"""The demo's client: a connection that was closed while nobody asked is asked again, and is no news."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from birdwatch.demo.client import Client
from birdwatch.demo.flights import Question


class Closing(BaseHTTPRequestHandler):
    """Answers, and closes the connection without having said so."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"model": "champion", "reason": "first choice", "within_sla": True}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    with ThreadingHTTPServer(("127.0.0.1", 0), Closing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_connection_that_was_closed_is_asked_again_and_nothing_is_said(url, caplog):
    troubles = []

    async def ask():
        with Client(url, troubles.append) as client:
            return [await client.ask(Question(row=n, id=f"r{n}", ts=0.0, features={})) for n in range(3)]

    answers = asyncio.run(ask())
    assert {answer.model for answer in answers} == {"champion"}
    assert troubles == []
    assert caplog.records == []
