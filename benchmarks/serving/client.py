"""A client that costs little beside what it measures: some connections kept alive, each asking again when it is answered."""

import asyncio
import time
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import msgspec
import uvloop

__all__ = ["Answer", "Round", "ask"]

NUMBERS = count()
# The size of a small tabular request.
PADDING = b"".join(b',"feature_%d":%d.25' % (i, i) for i in range(10))


class Answer(msgspec.Struct):
    """What the benchmark looks at of a reply."""

    id: str
    score: float | None
    reason: str
    latency_seconds: float


class Round(NamedTuple):
    """What came of some questions: how long each took, in seconds, what was answered, and how long all of them took."""

    each: list[float]
    answers: list[Answer]
    seconds: float


class _Connection(asyncio.Protocol):
    def __init__(self, numbers: Iterator[int], round_: list[tuple[int, float, bytes]]) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self._numbers = numbers
        self._round = round_
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0]):
            return
        self._round.append((self._number, time.perf_counter() - self._asked, self._buffer))
        self._buffer = b""
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server hung up"))

    def _ask(self) -> None:
        number = next(self._numbers, None)
        if number is None:
            self.done.set_result(None)
            self._transport.close()
            return
        body = b'{"features":{"x":%d%s}}' % (number, PADDING)
        self._number, self._asked = number, time.perf_counter()
        self._transport.write(
            b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )


def ask(url: str, requests: int, in_flight: int = 1) -> Round:
    """Ask so many questions, so many at a time.

    Raises
    ------
    RuntimeError
        One was refused, or got the answer to another.
    """
    host, port = url.removeprefix("http://").split(":")
    numbers = iter([next(NUMBERS) for _ in range(requests)])
    answered: list[tuple[int, float, bytes]] = []

    async def all_of_them() -> float:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        made = [
            loop.create_connection(lambda: _Connection(numbers, answered), host, int(port)) for _ in range(in_flight)
        ]
        await asyncio.gather(*[protocol.done for _, protocol in await asyncio.gather(*made)])
        return time.perf_counter() - began

    seconds = uvloop.run(all_of_them())
    # Looked at only now, so that it costs nothing while others are being measured.
    return Round([each for _, each, _ in answered], [_checked(number, reply) for number, _, reply in answered], seconds)


def _checked(number: int, reply: bytes) -> Answer:
    head, _, body = reply.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the question {number} was refused: {reply.decode()}")
    answer = msgspec.json.decode(body, type=Answer)
    if answer.reason != "default" and answer.score != number:
        raise RuntimeError(f"the question {number} got the answer {answer.score}")
    return answer
