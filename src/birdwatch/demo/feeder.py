"""The feeder: the passengers of the demo. It asks about each flight when it departs, and later tells how that ended.

Event time moves in steps of one pane. In a step it asks all that is asked then, over HTTP, waits for every answer, writes
the outcomes of the flights that landed meanwhile, and waits until the readers have caught up: faster than they can read,
its own speed would make records late.
"""

import asyncio
import heapq
import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from birdwatch.demo.deployment import Change
from birdwatch.demo.flights import Question
from birdwatch.records import CONTROL_KEY, Control, Outcome, encode
from birdwatch.streams import Streams

__all__ = ["Answer", "Ask", "CaughtUp", "Feeder", "Landing", "Served", "Tell", "landed"]

IN_FLIGHT: Final = 32
"""How many requests are open at once, at most."""

_LOOK_SECONDS: Final = 0.002
_SCORES_SECONDS: Final = 3.0


class Answer(NamedTuple):
    """What came back for a request: from whom, why from them, after how long, whether that was in time, and if accepted.

    ``latency_seconds`` is the client's: it holds the way there and back. ``within_sla`` is the gateway's: the deadline
    counts from its receipt of the request. ``accepted`` is None where the schedule leaves that to the client.
    """

    model: str
    reason: str
    latency_seconds: float
    within_sla: bool
    accepted: bool | None = None


class Landing(NamedTuple):
    """The truth about a flight: when it was known, and whether the flight was late (1 or 0)."""

    arrived: float
    late: float


Ask = Callable[[Question], Awaitable[Answer | None]]
"""Asks the pipeline; None says that no answer came."""

Tell = Callable[[Question, Answer | None, Landing | None], Outcome | None]
"""Says what comes of a question, by its answer and by how its flight landed, if it did; None says that nothing comes."""

CaughtUp = Callable[[], bool]
"""Tells whether all readers have come to the ends of the streams; raises when they never will."""


def landed(question: Question, _: Answer | None, landing: Landing | None) -> Outcome | None:
    """Tell the truth about every flight that landed, whatever was answered."""
    if landing is None:
        return None
    return Outcome(request_id=question.id, request_ts=question.ts, ts=landing.arrived, label=landing.late)


@dataclass
class Served:
    """What came of the requests so far."""

    requests: int = 0
    answers: int = 0
    answers_within_sla: int = 0
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    models: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    incomplete_steps: int = 0

    def add(self, answer: Answer | None) -> None:
        """Count a request, and its answer if there is one."""
        self.requests += 1
        if answer is None:
            return
        self.answers += 1
        self.answers_within_sla += answer.within_sla
        self.latencies.append(answer.latency_seconds)
        self.models[answer.model] += 1
        self.reasons[answer.reason] += 1


class Feeder:
    """Plays a stretch of the year.

    Parameters
    ----------
    streams
        Where outcomes and control records are written, and where it looks whether all scores are there.
    ask
        How a question is put to the pipeline.
    caught_up
        Whether tail and guard have read everything.
    models, canaries
        How many models score each request, and how many canaries.
    speed
        Seconds of event time in a second; None goes as fast as the readers keep up.
    tell
        What comes of each question.
    on_step
        Called with the event time at the end of every step.
    on_control
        Called with every control record that is written.
    """

    def __init__(
        self,
        streams: Streams,
        ask: Ask,
        caught_up: CaughtUp,
        *,
        models: int,
        canaries: int = 1,
        pane_seconds: int = 3600,
        speed: float | None = None,
        tell: Tell = landed,
        on_step: Callable[[float], None] = lambda _: None,
        on_control: Callable[[Control], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.served = Served()
        self._streams = streams
        self._ask = ask
        self._caught_up = caught_up
        self._per_request = {"scores": models, "canary": canaries, "metrics": 1}
        self._pane_seconds = pane_seconds
        self._speed = speed
        self._tell = tell
        self._on_step = on_step
        self._on_control = on_control
        self._clock = clock
        self._sleep = sleep
        self._at: dict[str, int] = {}

    async def play(
        self, questions: Sequence[Question], landings: dict[int, Landing], changes: Iterable[Change] = ()
    ) -> Served:
        """Ask all questions in order, with everything else that happens meanwhile.

        Parameters
        ----------
        questions
            In the order of their event time.
        landings
            By row of the flight; one that never landed has none.
        changes
            Operational changes; each is made, and in force, before the first step that begins at its time or later.
        """
        if not questions:
            return self.served
        await self._until_caught_up()
        self._look()
        waiting = sorted(changes, key=lambda change: change.ts)
        in_the_air: list[tuple[float, int, Outcome]] = []
        began, first_ts = self._clock(), questions[0].ts
        place = 0
        while place < len(questions):
            start = questions[place].ts // self._pane_seconds * self._pane_seconds
            end = start + self._pane_seconds
            while waiting and waiting[0].ts <= start:
                await self._make(waiting.pop(0))
            asked = place
            while asked < len(questions) and questions[asked].ts < end:
                asked += 1
            step = questions[place:asked]
            answers = await self._ask_all(step, began, first_ts)
            await self._until_scored(len(step))
            for question in step:
                outcome = self._tell(question, answers[question.row], landings.get(question.row))
                if outcome is not None:
                    heapq.heappush(in_the_air, (outcome.ts, question.row, outcome))
            # Up to the next step, which may lie after a night.
            until = questions[asked].ts // self._pane_seconds * self._pane_seconds if asked < len(questions) else end
            self._land(in_the_air, until)
            await self._until_caught_up()
            self._on_step(end)
            place = asked
        return self.served

    async def _make(self, change: Change) -> None:
        for control in change.make():
            self._streams.append("control", [(CONTROL_KEY, encode(control))])
            self._on_control(control)
        while not change.settled():
            await self._sleep(_LOOK_SECONDS)
        await self._until_caught_up()

    async def _ask_all(self, step: Sequence[Question], began: float, first_ts: float) -> dict[int, Answer | None]:
        """Put the questions of a step, in order and no more than `IN_FLIGHT` at a time; give the answers by row."""
        places = asyncio.Semaphore(IN_FLIGHT)
        answers: dict[int, Answer | None] = {}

        async def ask(question: Question) -> None:
            try:
                answer = answers[question.row] = await self._ask(question)
                self.served.add(answer)
            finally:
                places.release()

        async with asyncio.TaskGroup() as group:
            for question in step:
                if self._speed is not None:
                    ahead = (question.ts - first_ts) / self._speed - (self._clock() - began)
                    if ahead > 0:
                        await self._sleep(ahead)
                await places.acquire()
                group.create_task(ask(question))
        return answers

    async def _until_scored(self, asked: int) -> None:
        """Wait until every model has scored the step and every decision is written, or until one seems to be dead."""
        wanted = {stream: self._at[stream] + asked * times for stream, times in self._per_request.items()}
        until = self._clock() + _SCORES_SECONDS
        while any(self._count(stream) < count for stream, count in wanted.items()):
            if self._clock() > until:
                self.served.incomplete_steps += 1
                break
            await self._sleep(_LOOK_SECONDS)
        self._look()

    def _look(self) -> None:
        self._at = {stream: self._count(stream) for stream in self._per_request}

    def _count(self, stream: str) -> int:
        return sum(self._streams.ends([stream]).values())

    async def _until_caught_up(self) -> None:
        while not self._caught_up():
            await self._sleep(_LOOK_SECONDS)

    def _land(self, in_the_air: list[tuple[float, int, Outcome]], until: float) -> None:
        """Write the outcomes of all flights that have landed before a moment, in the order in which they did."""
        landed = []
        while in_the_air and in_the_air[0][0] < until:
            landed.append(heapq.heappop(in_the_air)[2])
        self._streams.append("outcomes", [(o.request_id.encode(), encode(o)) for o in landed])
