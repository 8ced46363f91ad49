"""From what clients ask to the answers: on ``requests``, and back from ``results``.

The first Result that the log gives for a request is the answer. When the deadline comes near and there is none, with the
rendezvous dead, say, the intake appends the default itself; whichever Result the log then has first is what the client gets.
Where the log itself is out of reach the client gets the default all the same, and so does whoever asks here again.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from birdwatch.errors import RecordError, StreamError
from birdwatch.records import LARGEST, Control, Request, Result, decode, encode, new_id
from birdwatch.serving.control.fleet import Fleet
from birdwatch.serving.control.overrides import BY_REQUEST, forced
from birdwatch.serving.control.schedule import DEFAULT_MODEL, Schedule
from birdwatch.serving.features.extraction import Extraction
from birdwatch.serving.gateway.ask import Ask, RefusedError, Reply, reply_to
from birdwatch.serving.gateway.desk import Desk, Pending
from birdwatch.serving.gateway.meters import Meters
from birdwatch.serving.gateway.wire import Wire
from birdwatch.serving.process import provenance, warn
from birdwatch.serving.rendezvous.answer import make_result
from birdwatch.serving.rendezvous.decision import Choice
from birdwatch.streams import Message, Streams

__all__ = ["Intake"]


class _Prepared(NamedTuple):
    """A new request, ready for its stream."""

    pending: Pending
    value: bytes


class Intake:
    """Puts requests on the stream and waits for their answers; used by one event loop.

    Parameters
    ----------
    schedule
        Gives the deadline, the default and the overrides, until a control record brings another.
    extraction
        Injects external state into the features.
    meters
        Count and time.
    name
        The return address, and the consumer group.
    max_in_flight
        How many requests may wait at a time.
    horizon_seconds
        How long answers are remembered for those who ask again.
    clock
        The wall clock.
    """

    def __init__(
        self,
        streams: Streams,
        schedule: Schedule,
        extraction: Extraction,
        meters: Meters,
        *,
        name: str,
        max_in_flight: int,
        horizon_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.fleet = Fleet(schedule)
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        """How many wait now."""
        self.draining = False
        """Whether new requests are refused, since this process is about to end."""
        self._extraction = extraction
        self._meters = meters
        self._name = name
        self._clock = clock
        self._who = provenance("gateway")
        # What is open must not be forgotten before its deadline.
        self._desk = Desk(horizon_seconds=max(horizon_seconds, 2 * schedule.deadline_seconds))
        self._wire = Wire(streams, self._take, group=name, horizon_seconds=horizon_seconds, clock=clock)
        self._keeping: asyncio.Task[None] | None = None
        self.heard: dict[str, str] = {}
        """The version under which each model has last answered or come into service."""

    @property
    def reading(self) -> bool:
        """Whether the streams can be read."""
        return self._wire.reading

    async def start(self) -> None:
        """Take over from the process before this one, then read what lies in the log, and go on reading.

        Raises
        ------
        ServingError
            The features' plug-in cannot go on where it was.
        StreamError
            The streams cannot be read.
        """
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._extraction.recover)
        await asyncio.to_thread(self._wire.start, loop)
        self._keeping = loop.create_task(self._extraction.run(self._wire))

    async def stop(self) -> None:
        """Write what is waiting and what the plug-in remembers, and let go of the streams."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))
        self._extraction.close()
        if self._extraction.unkept:
            kept = asyncio.ensure_future(self._extraction.keep(self._wire))
            await asyncio.sleep(0)  # it hands over what is to be written
            await asyncio.to_thread(self._wire.close)
            await asyncio.wait((kept,))
            if kept.exception() is not None:
                warn("gateway", f"features: what is remembered is not kept: {kept.exception()}")
        else:
            await asyncio.to_thread(self._wire.close)

    def _take(self, messages: list[Message]) -> None:
        records = []
        for message in messages:
            if message.stream == "control":
                self._take_control(message)
            else:
                records.append(message)
        self._meters.unreadable.inc(self._desk.take(records, self._clock()))
        self._meters.contradicted.set(self._desk.contradicted)

    def _take_control(self, message: Message) -> None:
        try:
            control = decode(message.value, Control)
        except RecordError:
            return  # the rendezvous sends it to the dead letters
        if control.action == "register":
            self.heard[control.model] = control.version
        refused = self._extraction.offer(control) or self.fleet.apply(control)
        if refused:
            warn("gateway", refused)

    async def answer(self, asks: Sequence[Ask], received: float) -> list[Reply]:
        """Give the answers in the log, now or when they come: to all, or to none.

        Raises
        ------
        RefusedError
            Too many are waiting, the features or the override cannot be used, or the streams cannot be written.
        """
        ids = [ask.id or new_id(received) for ask in asks]
        logged = [self._desk.answered(each) for each in ids]
        rows = logged.count(None)
        if rows:
            self._admit(rows)
        waiting = [
            None if answer is not None else self._desk.pending(each) or self._prepare(ask, each, received)
            for ask, each, answer in zip(asks, ids, logged, strict=True)
        ]
        # Only now: of rows that are asked together, none is taken when one is refused.
        pending = [self._open(each, received) if isinstance(each, _Prepared) else each for each in waiting]
        self.in_flight += rows
        try:
            found = await _all([self._wait(each, received) for each in pending if each is not None])
        finally:
            self.in_flight -= rows
        latency = self._clock() - received
        answers = iter(found)
        return [
            reply_to(answer, answer.latency_seconds, self.fleet.schedule.deadline_seconds)
            if answer is not None
            else self._reply(next(answers), latency, each.deadline_seconds if each is not None else 0.0)
            for answer, each in zip(logged, pending, strict=True)
        ]

    def _admit(self, rows: int) -> None:
        """Refuse rows for which there is no room."""
        if rows > self.max_in_flight:
            raise RefusedError(
                413, f"{rows} rows are more than the {self.max_in_flight} that may wait: send fewer at once"
            )
        if self.in_flight + rows > self.max_in_flight:
            raise RefusedError(503, f"{self.in_flight} requests are waiting: come again")

    def _reply(self, result: Result, latency: float, deadline: float) -> Reply:
        self._meters.latency.observe(latency)
        self._meters.answers.labels(result.model, result.reason).inc()
        self.heard[result.model] = result.version
        return reply_to(result, latency, deadline)

    def _prepare(self, ask: Ask, request_id: str, received: float) -> _Prepared:
        """Make a request of what is asked."""
        if self.draining:
            raise RefusedError(503, "this gateway is about to end: ask another one")
        if ask.override in self.fleet.canaries:
            raise RefusedError(422, f"override: {ask.override!r} is the canary, which never answers")
        ts = received if ask.ts is None else ask.ts
        features = self._features(ask, ts)
        override, override_by = self._override(ask, features)
        request = Request(
            id=request_id,
            ts=ts,
            received_ts=received,
            deadline_seconds=self.fleet.schedule.deadline_seconds,
            features=features,
            reply_to=self._name,
            key=ask.key if ask.key is not None else request_id,
            override=override,
            override_by=override_by,
            provenance=self._who,
        )
        try:
            value = encode(request)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise RefusedError(422, f"features: cannot travel as JSON: {type(error).__name__}: {error}") from error
        if len(value) > LARGEST:
            raise RefusedError(413, f"the request has {len(value)} bytes with what is injected: {LARGEST} are allowed")
        pending = Pending(request_id, ts, received, request.deadline_seconds, self._name, override_by)
        return _Prepared(pending, value)

    def _features(self, ask: Ask, ts: float) -> dict[str, Any]:
        started = time.perf_counter()
        try:
            features = self._extraction(ask.features, ts)
        except Exception as error:
            # What a plug-in cannot use is mostly what the client left out.
            raise RefusedError(422, f"features: the plug-in refused them: {type(error).__name__}: {error}") from error
        finally:
            self._meters.features.observe(time.perf_counter() - started)
        if not isinstance(features, dict):
            raise RefusedError(422, f"features: the plug-in gave {type(features).__name__} for them, not a dictionary")
        return features

    def _override(self, ask: Ask, features: dict[str, Any]) -> tuple[str | None, str]:
        """Give the model that must answer, and who says so: the client, or else the first rule."""
        if ask.override is not None:
            return ask.override, BY_REQUEST
        rules = self.fleet.schedule.overrides
        if not rules:
            return None, ""
        rule = forced(rules, features)
        return (None, "") if rule is None else (rule.model, rule.name)

    def _open(self, prepared: _Prepared, received: float) -> Pending:
        """Put a request on its stream."""
        pending = prepared.pending
        self._desk.add(pending, received)

        def failed(error: StreamError) -> None:
            self._meters.unwritten.labels("requests").inc()
            self._desk.fail(pending.id, error)

        self._wire.append("requests", pending.id.encode(), prepared.value, failed)
        return pending

    async def _wait(self, pending: Pending, received: float) -> Result:
        """Wait for the first Result in the log; when it is nearly too late, append the default, and wait for what it gives.

        If the log gives nothing by the deadline, the default is the answer, and remembered as such.

        The client that asks again waits no longer than the one that asked first would have; if that is over, as long as
        it takes to append the default and read it back.
        """
        if pending.answer is None:
            pending.answer = asyncio.get_running_loop().create_future()
        margin = self.fleet.schedule.return_margin_seconds
        deadline = received + pending.deadline_seconds
        answer = await self._until(
            pending.answer, min(deadline, pending.received_ts + pending.deadline_seconds) - margin / 2
        )
        if answer is None:
            if pending.default is None:
                pending.default = self._default(pending)
                unwritten = self._meters.unwritten.labels("results")
                value = encode(pending.default)
                self._wire.append("results", pending.id.encode(), value, lambda _: unwritten.inc())
            answer = await self._until(pending.answer, deadline - margin / 10)
            if answer is None:
                answer = pending.default
                self._meters.unconfirmed.inc()
                self._desk.answer(pending, answer, self._clock())
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
        schedule = self.fleet.schedule
        default = Choice(DEFAULT_MODEL, schedule.version, schedule.default, None, -1, "default", {}, "")
        return make_result(pending, default, schedule, self._clock())


async def _all(waits: list[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Wait for all, whatever becomes of some."""
    if len(waits) == 1:
        return [await waits[0]]
    found = await asyncio.gather(*waits, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]
