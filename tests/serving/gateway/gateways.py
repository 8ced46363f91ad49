"""A gateway's application without a process around it, and who answers it."""

import threading
from contextlib import contextmanager
from functools import partial

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from birdwatch.records import Request, Result, as_token, decode, encode
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.gateway.gateway import Gateway

# Short, where a test waits for the deadline; the clock is the real one, since the event loop has its own.
SCHEDULE = {"version": "v", "default": 0.1, "deadline_seconds": 0.2, "return_margin_seconds": 0.1}
# Where the default must come back through the log: that leaves it a third of a second, however busy the machine is.
ROOMY = SCHEDULE | {"deadline_seconds": 1.0, "return_margin_seconds": 0.8}
PATIENT = SCHEDULE | {"deadline_seconds": 30.0}


def schedule(**values):
    return parse_schedule({"tiers": [{"models": ["champion"]}]} | values, place="test")


class Client:
    """Calls a gateway's application in its event loop, from any thread."""

    def __init__(self, portal, made):
        transport = httpx.ASGITransport(made.app)
        self.gateway = made
        self._portal = portal
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60)

    def post(self, path, **content):
        return self._portal.call(partial(self._client.post, path, **content))

    def get(self, path):
        return self._portal.call(self._client.get, path)


@contextmanager
def gateway(streams, plan=PATIENT, **options):
    made = Gateway(streams, schedule(**plan), **options)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(made.app.router.lifespan_context(made.app)),
    ):
        yield Client(portal, made)


@contextmanager
def answering(streams, answer=lambda request: float(request.features["x"])):
    """Answer each request from a thread, as a rendezvous would."""
    stop = threading.Event()

    def answer_all():
        reader = streams.reader(["requests"])
        while not stop.is_set():
            for message in reader.poll(timeout=0.01):
                if as_token(message.value):
                    continue
                request = decode(message.value, Request)
                result = a_result(request.id, score=answer(request), ts=request.ts, reply_to=request.reply_to)
                streams.append("results", [(request.id.encode(), encode(result))])

    thread = threading.Thread(target=answer_all)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def a_result(request_id, *, score=0.5, ts=0.0, **fields):
    return Result(
        request_id=request_id,
        request_ts=ts,
        ts=ts,
        model="champion",
        version="1",
        score=score,
        latency_seconds=0.01,
        **fields,
    )


def requests(streams):
    messages = streams.reader(["requests"]).poll(limit=10**6, timeout=0.0)
    return [decode(message.value, Request) for message in messages if not as_token(message.value)]


def results(streams):
    return [decode(m.value, Result) for m in streams.reader(["results"]).poll(timeout=0.0)]


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not come about")
