"""The demo's client: one HTTP request for each question.

Each of a few threads keeps a connection of its own. That takes a twentieth of the time that one asynchronous client with
a pool of connections needs, and the two cores are wanted for the pipeline.
"""

import asyncio
import http.client
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self
from urllib.parse import urlsplit

import msgspec
import stamina

from birdwatch.demo.feeder import IN_FLIGHT, Answer
from birdwatch.demo.flights import Question

__all__ = ["Client"]


class _Reply(msgspec.Struct):
    """What is needed of the gateway's reply."""

    model: str
    reason: str
    within_sla: bool
    accepted: bool | None = None


class Client:
    """Asks a gateway; used as a context.

    Parameters
    ----------
    url
        The gateway.
    timeout_seconds
        When to give a request up; the gateway answers long before.
    on_error
        Called with what went wrong, when a question gets no answer.
    """

    def __init__(self, url: str, on_error: Callable[[str], None], *, timeout_seconds: float = 10.0) -> None:
        self._address = urlsplit(url).netloc
        self._on_error = on_error
        self._timeout = timeout_seconds
        self._threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="client")
        self._mine = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        # A connection that was closed while nobody asked is no news; a question without an answer is told.
        stamina.instrumentation.set_on_retry_hooks([])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        for connection in self._connections:
            connection.close()

    async def ask(self, question: Question) -> Answer | None:
        """Put a question. A connection that breaks is tried again with the same id: it gets the same answer."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, question)

    def _ask(self, question: Question) -> Answer | None:
        body = msgspec.json.encode({"id": question.id, "ts": question.ts, "features": question.features})
        asked = time.perf_counter()
        try:
            status, content = self._post(body)
            answered = time.perf_counter()
            if status == http.client.OK:
                reply = msgspec.json.decode(content, type=_Reply)
                return Answer(reply.model, reply.reason, answered - asked, reply.within_sla, reply.accepted)
            self._on_error(f"no answer to {question.id}: HTTP {status}: {content[:200].decode(errors='replace')}")
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            self._on_error(f"no answer to {question.id}: {type(error).__name__}: {error}")
        return None

    @stamina.retry(on=(OSError, http.client.HTTPException), attempts=3, wait_initial=0.05)
    def _post(self, body: bytes) -> tuple[int, bytes]:
        connection: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = http.client.HTTPConnection(self._address, timeout=self._timeout)
            self._connections.append(connection)
        try:
            connection.request("POST", "/v1/score", body, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except BaseException:
            connection.close()  # it opens again at the next request
            raise
