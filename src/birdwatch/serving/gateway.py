"""The gateway: HTTP in front of the streams.

A request is put on ``requests``, and the first Result that the log gives for it is the answer. When the deadline comes
near and there is none, with the rendezvous dead, say, the gateway appends the default itself; whichever Result the log then
has first is what the client gets. Asking again with the same id gives the same answer, also from another gateway.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from birdwatch.errors import RecordError, StreamError
from birdwatch.records import Control, Request, Result, decode, encode, new_id
from birdwatch.serving.ask import MOST_BYTES, Ask, RefusedError, parse_ask
from birdwatch.serving.desk import Desk, Pending
from birdwatch.serving.features import Inject, as_they_are
from birdwatch.serving.fleet import Fleet
from birdwatch.serving.process import provenance, warn
from birdwatch.serving.schedule import DEFAULT_MODEL, Schedule
from birdwatch.serving.wire import Wire
from birdwatch.streams import Message, Streams

__all__ = ["Gateway", "Reply"]

_LATENCIES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Reply(msgspec.Struct, kw_only=True):
    """What a client gets: the answer, and how it came about."""

    id: str
    score: float | None
    model: str
    version: str
    tier: int
    reason: str
    latency_seconds: float
    within_sla: bool
    output: Any = None


class Gateway:
    """The ASGI application and what it holds.

    Parameters
    ----------
    schedule
        Gives the deadline and the default, until a control record brings another.
    inject
        Adds external state to the features, once for all models.
    name
        The gateway's name: the return address, and its consumer group. Of several, each has its own.
    max_in_flight
        How many clients may wait at a time; the next one is told to come again.
    horizon_seconds
        How long answers are remembered for those who ask again.
    clock
        The wall clock.
    """

    def __init__(
        self,
        streams: Streams,
        schedule: Schedule,
        *,
        inject: Inject = as_they_are,
        name: str = "gateway",
        max_in_flight: int = 256,
        horizon_seconds: float = 300.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = Fleet(schedule)
        self._inject = inject
        self._name = name
        self._max_in_flight = max_in_flight
        self._clock = clock
        self._who = provenance("gateway")
        # What is open must not be forgotten before its deadline.
        self._desk = Desk(horizon_seconds=max(horizon_seconds, 2 * schedule.deadline_seconds))
        self._wire = Wire(streams, self._take, group=name, horizon_seconds=horizon_seconds, clock=clock)
        self._in_flight = 0
        self._metrics = _Metrics()
        self.app = Starlette(
            routes=[
                Route("/v1/score", self._score, methods=["POST"]),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/metrics", self._scrape),
            ],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._wire.start, loop)
        yield
        await asyncio.to_thread(self._wire.close)

    def _take(self, messages: list[Message]) -> None:
        records = []
        for message in messages:
            if message.stream != "control":
                records.append(message)
                continue
            try:
                refused = self._fleet.apply(decode(message.value, Control))
            except RecordError:
                continue  # the rendezvous sends it to the dead letters
            if refused:
                warn("gateway", refused)
        self._metrics.unreadable.inc(self._desk.take(records, self._clock()))

    async def _score(self, http: HttpRequest) -> Response:
        received = self._clock()
        try:
            ask = parse_ask(await _body(http))
            reply = await self._answer(ask, received)
        except RefusedError as refused:
            self._metrics.responses.labels(str(refused.status)).inc()
            retry = {"Retry-After": "1"} if refused.status == 503 else None
            return _json(refused.status, {"error": refused.reason}, retry)
        except ClientDisconnect:
            return Response(status_code=499)  # nobody is there to read it
        self._metrics.responses.labels("200").inc()
        return _json(200, reply)

    async def _answer(self, ask: Ask, received: float) -> Reply:
        """Give the answer in the log, now or when it comes.

        Raises
        ------
        RefusedError
            Too many are waiting, the features or the override cannot be used, or the streams cannot be written.
        """
        request_id = ask.id or new_id(received)
        logged = self._desk.answered(request_id)
        if logged is not None:
            return self._reply(logged, logged.latency_seconds, self._fleet.schedule.deadline_seconds)
        if self._in_flight >= self._max_in_flight:
            raise RefusedError(503, f"{self._in_flight} requests are waiting: come again")
        pending = self._desk.pending(request_id) or self._open(ask, request_id, received)
        self._in_flight += 1
        try:
            result = await self._wait(pending, received)
        finally:
            self._in_flight -= 1
        latency = self._clock() - received
        self._metrics.latency.observe(latency)
        self._metrics.answers.labels(result.model, result.reason).inc()
        return self._reply(result, latency, pending.deadline_seconds)

    def _reply(self, result: Result, latency: float, deadline: float) -> Reply:
        return Reply(
            id=result.request_id,
            score=result.score,
            model=result.model,
            version=result.version,
            tier=result.tier,
            reason=result.reason,
            latency_seconds=latency,
            within_sla=latency <= deadline,
            output=result.output,
        )

    def _open(self, ask: Ask, request_id: str, received: float) -> Pending:
        """Put a new request on its stream."""
        if ask.override in self._fleet.canaries:
            raise RefusedError(422, f"override: {ask.override!r} is the canary, which never answers")
        ts = received if ask.ts is None else ask.ts
        try:
            features = self._inject(ask.features, ts)
        except Exception as error:
            # What a plug-in cannot use is mostly what the client left out.
            raise RefusedError(422, f"features: the plug-in refused them: {type(error).__name__}: {error}") from error
        request = Request(
            id=request_id,
            ts=ts,
            received_ts=received,
            deadline_seconds=self._fleet.schedule.deadline_seconds,
            features=features,
            reply_to=self._name,
            key=ask.key if ask.key is not None else request_id,
            override=ask.override,
            provenance=self._who,
        )
        try:
            value = encode(request)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise RefusedError(422, f"features: cannot travel as JSON: {type(error).__name__}: {error}") from error
        pending = Pending(request_id, ts, received, request.deadline_seconds)
        self._desk.add(pending, received)
        self._wire.append("requests", request_id.encode(), value, lambda error: self._desk.fail(request_id, error))
        return pending

    async def _wait(self, pending: Pending, received: float) -> Result:
        """Wait for the first Result in the log; when it is nearly too late, append the default, and wait for what it gives.

        The client that asks again waits no longer than the one that asked first would have; if that is over, as long as
        it takes to append the default and read it back.
        """
        if pending.answer is None:
            pending.answer = asyncio.get_running_loop().create_future()
        margin = self._fleet.schedule.return_margin_seconds / 2
        deadline = received + pending.deadline_seconds
        answer = await self._until(
            pending.answer, min(deadline, pending.received_ts + pending.deadline_seconds) - margin
        )
        if answer is None:
            if pending.default is None:
                pending.default = self._default(pending)
                key = pending.id.encode()
                self._wire.append("results", key, encode(pending.default), lambda _: None)
            answer = await self._until(pending.answer, deadline) or pending.default
        if isinstance(answer, StreamError):
            raise RefusedError(503, f"the request was not taken, the streams cannot be written: {answer}")
        return answer

    async def _until(
        self, answer: asyncio.Future[Result | StreamError], wall_time: float
    ) -> Result | StreamError | None:
        if not answer.done():
            await asyncio.wait((answer,), timeout=max(0.0, wall_time - self._clock()))
        return answer.result() if answer.done() else None

    def _default(self, pending: Pending) -> Result:
        latency = self._clock() - pending.received_ts
        schedule = self._fleet.schedule
        return Result(
            request_id=pending.id,
            request_ts=pending.ts,
            ts=pending.ts + latency,
            model=DEFAULT_MODEL,
            version=schedule.version,
            score=schedule.default,
            tier=-1,
            reason="default",
            latency_seconds=latency,
            reply_to=self._name,
        )

    async def _healthz(self, _: HttpRequest) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, _: HttpRequest) -> Response:
        if self._wire.reading:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("the streams cannot be read\n", status_code=503)

    async def _scrape(self, _: HttpRequest) -> Response:
        self._metrics.in_flight.set(self._in_flight)
        return Response(generate_latest(self._metrics.registry), media_type="text/plain; version=0.0.4")


class _Metrics:
    """What the gateway counts and times about itself."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.responses = Counter(
            "birdwatch_gateway_responses", "HTTP responses, by status.", ["status"], registry=self.registry
        )
        self.answers = Counter(
            "birdwatch_gateway_answers", "Answers, by model and reason.", ["model", "reason"], registry=self.registry
        )
        self.latency = Histogram(
            "birdwatch_gateway_latency_seconds",
            "From receipt to the answer.",
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self.in_flight = Gauge("birdwatch_gateway_in_flight", "Clients that wait.", registry=self.registry)
        self.unreadable = Counter(
            "birdwatch_gateway_unreadable", "Messages that could not be read.", registry=self.registry
        )


async def _body(http: HttpRequest) -> bytes:
    """Read the body, and no more of it than is allowed."""
    body = b""
    async for chunk in http.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            break
    return body


def _json(status: int, content: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, media_type="application/json")
