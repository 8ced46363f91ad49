"""The gateway: HTTP in front of the streams, in two protocols.

``POST /v1/score`` takes one request as JSON; under ``/v2`` clients of the Open Inference Protocol find what they know. Asking
again with the same id gives the same answer, also from another gateway.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import msgspec
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from birdwatch.records import new_id
from birdwatch.serving.control.schedule import Schedule
from birdwatch.serving.features.extraction import Extraction
from birdwatch.serving.features.plugin import Inject, as_they_are
from birdwatch.serving.gateway.ask import MOST_BYTES, RefusedError, parse_ask
from birdwatch.serving.gateway.intake import Intake
from birdwatch.serving.gateway.meters import Meters
from birdwatch.serving.gateway.oip import HEADER_LENGTH, WHOLE, describe, parse_inference, respond
from birdwatch.streams import Streams

__all__ = ["Gateway"]


class Gateway:
    """The ASGI application and what it holds.

    Parameters
    ----------
    schedule
        Gives the deadline, the default and the overrides, until a control record brings another.
    inject
        Adds external state to the features, once for all models, until a control record brings another.
    target, config
        What ``inject`` was loaded from.
    name
        The gateway's name: the return address, and its consumer group. Of several, each has its own.
    max_in_flight
        How many requests may wait at a time; the next one is told to come again.
    horizon_seconds
        How long answers are remembered for those who ask again.
    snapshot_seconds
        How often what the plug-in remembers is kept.
    clock
        The wall clock.
    """

    def __init__(
        self,
        streams: Streams,
        schedule: Schedule,
        *,
        inject: Inject = as_they_are,
        target: str | None = None,
        config: Any = None,
        name: str = "gateway",
        max_in_flight: int = 256,
        horizon_seconds: float = 300.0,
        snapshot_seconds: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._meters = Meters()
        self._extraction = Extraction(
            streams,
            inject,
            name=name,
            target=target,
            config=config,
            snapshot_seconds=snapshot_seconds,
            clock=clock,
        )
        self._intake = Intake(
            streams,
            schedule,
            self._extraction,
            self._meters,
            name=name,
            max_in_flight=max_in_flight,
            horizon_seconds=horizon_seconds,
            clock=clock,
        )
        self._ends_at = 0.0
        routes = [
            Route("/v1/score", self._post(self._score), methods=["POST"]),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._scrape),
            Route("/v2", self._v2),
            Route("/v2/health/live", self._v2_live),
            Route("/v2/health/ready", self._v2_ready),
        ]
        for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                Route(path, self._get(self._v2_model)),
                Route(f"{path}/ready", self._get(self._v2_model_ready)),
                Route(f"{path}/infer", self._post(self._v2_infer), methods=["POST"]),
            ]
        self.app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _no_such_page},
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await self._intake.start()
        yield
        await self._intake.stop()

    def drained(self, stopping: Callable[[], bool]) -> Callable[[], bool]:
        """Give a function that says when to stop serving, for `birdwatch.serving.gateway.server.serve_http`.

        Once it is asked to stop, new requests are refused; it stops when those in flight have their answer, and those have
        it by their deadline.
        """

        def done() -> bool:
            if not stopping():
                return False
            if not self._intake.draining:
                self._intake.draining = True
                schedule = self._intake.fleet.schedule
                self._ends_at = self._clock() + schedule.deadline_seconds + schedule.return_margin_seconds
            return self._intake.in_flight == 0 or self._clock() >= self._ends_at

        return done

    def _post(self, answer: Callable[[HttpRequest, float], Awaitable[Response]]) -> Callable[[HttpRequest], Any]:
        """Give an endpoint that says why it refuses, and counts."""

        async def endpoint(http: HttpRequest) -> Response:
            received = self._clock()
            try:
                response = await answer(http, received)
            except RefusedError as refused:
                retry = {"Retry-After": "1"} if refused.status == 503 else None
                response = _json(refused.status, {"error": refused.reason}, retry)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody is there to read it
            self._meters.responses.labels(str(response.status_code)).inc()
            return response

        return endpoint

    async def _score(self, http: HttpRequest, received: float) -> Response:
        ask = parse_ask(await _body(http))
        self._meters.requests.labels("v1").inc()
        [reply] = await self._intake.answer([ask], received)
        return _json(200, reply)

    async def _healthz(self, _: HttpRequest) -> Response:
        return PlainTextResponse("ok\n")

    @property
    def _unready(self) -> str | None:
        if self._intake.draining:
            return "this gateway is about to end"
        return None if self._intake.reading else "the streams cannot be read"

    async def _readyz(self, _: HttpRequest) -> Response:
        if self._unready is None:
            return PlainTextResponse("ready\n")
        return PlainTextResponse(f"{self._unready}\n", status_code=503)

    async def _scrape(self, _: HttpRequest) -> Response:
        self._meters.ready.set(self._unready is None)
        self._meters.in_flight.set(self._intake.in_flight)
        self._meters.in_flight_limit.set(self._intake.max_in_flight)
        return Response(generate_latest(self._meters.registry), media_type="text/plain; version=0.0.4")

    async def _v2(self, _: HttpRequest) -> Response:
        return _json(200, {"name": WHOLE, "version": version("birdwatch"), "extensions": ["binary_tensor_data"]})

    async def _v2_live(self, _: HttpRequest) -> Response:
        return _json(200, {"live": True})

    async def _v2_ready(self, _: HttpRequest) -> Response:
        return _json(200 if self._unready is None else 503, {"ready": self._unready is None})

    def _get(self, answer: Callable[[str, str], Response]) -> Callable[[HttpRequest], Any]:
        """Give an endpoint that speaks of a model."""

        async def endpoint(http: HttpRequest) -> Response:
            try:
                return answer(*self._model(http))
            except RefusedError as refused:
                return _json(refused.status, {"error": refused.reason})

        return endpoint

    def _model(self, http: HttpRequest) -> tuple[str, str]:
        """Find the model that a path names, and what of it answers.

        Raises
        ------
        RefusedError
            404: there is none of this name that may answer, or another version of it does.
        """
        model, asked = http.path_params["model"], http.path_params.get("version")
        fleet = self._intake.fleet
        if model == WHOLE:
            found = fleet.schedule.version
        elif model in fleet.canaries:
            raise RefusedError(404, f"{model!r} is the canary, which never answers")
        elif model not in fleet.live:
            live = ", ".join(name for name in fleet.live if name not in fleet.canaries)
            raise RefusedError(404, f"there is no model {model[:50]!r}: there are {WHOLE}, {live}")
        else:
            found = fleet.pinned(model) or self._intake.heard.get(model, "")
        if asked is not None and asked != found:
            said = f"version {found!r} of {model!r} answers" if found else f"no version of {model!r} is known yet"
            raise RefusedError(404, f"{said}, not {asked[:50]!r}: leave the version out to ask the one that does")
        return model, found

    def _v2_model(self, model: str, found: str) -> Response:
        return _json(200, describe(model, [found] if found else []))

    def _v2_model_ready(self, model: str, _: str) -> Response:
        return _json(200 if self._unready is None else 503, {"name": model, "ready": self._unready is None})

    async def _v2_infer(self, http: HttpRequest, received: float) -> Response:
        model, found = self._model(http)
        coding = http.headers.get("content-encoding", "identity")
        if coding != "identity":
            raise RefusedError(415, f"Content-Encoding {coding[:20]!r} is not read here: send the body as it is")
        asked = parse_inference(
            await _body(http),
            http.headers.get(HEADER_LENGTH),
            most_rows=self._intake.max_in_flight,
            accepts=self._intake.fleet.schedule.acceptance is not None,
        )
        self._meters.requests.labels("v2").inc(len(asked.rows))
        base = asked.id or new_id(received)
        replies = await self._intake.answer(asked.asks(base, None if model == WHOLE else model), received)
        body, headers = respond(asked, model, found or replies[0].version, base, replies)
        return Response(body, headers=headers)


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


async def _no_such_page(http: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    return _json(status, {"error": f"{http.method} {http.url.path[:200]} is not offered here"}, headers)
