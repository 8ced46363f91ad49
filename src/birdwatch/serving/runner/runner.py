"""The runner: one process a model. It reads requests, scores what is waiting, and says who did it and when.

Offsets are committed after the scores are written, several times a second: a crash loses no request, and those scored
since the last commit are scored again, which the rendezvous counts as duplicates.

Nothing that the model does stops the runner: a version is loaded while the one before it goes on serving, and a batch
that takes too long gets errors, at once, so that the rendezvous need not wait for it.
"""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from birdwatch.errors import RecordError, ServingError, StreamError
from birdwatch.records import Control, Request, Score, as_token, decode
from birdwatch.serving.horizon import catch_up
from birdwatch.serving.process import provenance, retry, warn
from birdwatch.serving.runner.deployment import Deployment
from birdwatch.serving.runner.measures import Measures
from birdwatch.serving.runner.model import Answer, Spec, encode_score, load_model
from birdwatch.serving.runner.worker import Scored, Worker
from birdwatch.streams import Message, Partition, Positions, Streams
from birdwatch.streams.deadletters import dead_letter

__all__ = ["Role", "Runner"]

Role = Literal["model", "canary"]

_BATCH: Final = 64
_TIMEOUT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 0.5
_COMMIT_SECONDS: Final = 0.2
_KEPT: Final = 2


def _never() -> bool:
    return False


class Runner:
    """Scores requests with one model.

    Parameters
    ----------
    model
        The name under which it scores.
    spec
        The version that serves until control says otherwise.
    role
        A canary writes to a stream of its own, from which no answer is ever chosen.
    start
        Where a runner without committed offsets begins.
    batch
        How many waiting requests are scored at once, at most.
    timeout_seconds
        How long the model may take for a batch.
    allow_pickle
        Whether pickles may be loaded, whoever names them.
    stopping
        Asked while the first version is loaded, which is waited for.
    clock, sleep
        The wall clock, and how to wait until streams that fail are tried again.

    Raises
    ------
    ServingError
        The model cannot be loaded, or control says that it was retired.

    Attributes
    ----------
    counts
        (what, model) counted since the start.
    measures
        How long requests wait, and how long the model takes.
    """

    def __init__(
        self,
        streams: Streams,
        model: str,
        spec: Spec,
        *,
        role: Role = "model",
        start: Literal["earliest", "latest"] = "latest",
        batch: int = _BATCH,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        allow_pickle: bool = False,
        stopping: Callable[[], bool] = _never,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.model = model
        self.timeout_seconds = timeout_seconds
        self.counts: Counter[tuple[str, str]] = Counter()
        self.measures = Measures(model)
        self._streams = streams
        self._to = "canary" if role == "canary" else "scores"
        self._batch = batch
        self._clock = clock
        self._sleep = sleep
        self._start = start
        self._who = provenance("canary" if role == "canary" else "runner")
        self._load = partial(load_model, allow_pickle=allow_pickle)
        self._deployment = Deployment(model, spec)
        self._workers: dict[Spec, Worker] = {}
        self._coming: Worker | None = None
        self._serving: Worker | None = None
        self._trouble: str | None = None
        self._control = streams.reader(["control"])
        for messages in catch_up(streams, self._control, ["control"]):
            self._take_control(messages)
        if self._deployment.retired:
            raise ServingError(f"{model!r} was retired on the control stream: register it again before it scores")
        self._want()
        while self._serving is None and not stopping():
            self.settle(_IDLE_SECONDS)
        self._again: Positions = {}
        self._open()

    def _open(self) -> None:
        """Begin to read requests; what is not committed, again."""
        group = f"runner-{self.model}"
        self._pinned = bool(self._streams.committed(group, ["requests"]))
        self._reader = self._streams.reader(["requests"], group=group, start=self._start)
        self._reader.seek(self._again)
        self._committed_at = self._clock()
        self._uncommitted = False

    @property
    def version(self) -> str:
        """The version that serves."""
        return "" if self._serving is None else self._serving.spec.version

    @property
    def retired(self) -> bool:
        """Whether control has retired the model."""
        return self._deployment.retired

    def trouble(self) -> str | None:
        """Say why the model does not score at present, or None. Any thread may ask."""
        return self._trouble

    def step(self, timeout: float = _IDLE_SECONDS) -> int:
        """Wait for requests and score them.

        Returns
        -------
        int
            How many scores were written.
        """
        messages = self._reader.poll(self._batch, timeout)
        # After the requests were read: what was put on control before a request is then in force for it, when it is loaded.
        self._read_control()
        self.settle()
        scores: list[Score] = []
        if messages and not self.retired and self._serving is not None:
            self._pin(messages)
            scores = self._score(messages, self._serving)
            if scores:
                self._streams.append(self._to, [(s.request_id.encode(), encode_score(s)) for s in scores])
            self._uncommitted = True
        if self._uncommitted and (not messages or self._clock() - self._committed_at >= _COMMIT_SECONDS):
            self.commit()
        return len(scores)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Step until asked to stop, or until control retires the model.

        When the streams fail, what is not committed is read and scored again.
        """
        while not stopping() and not self.retired:
            try:
                self.step()
            except StreamError as error:
                warn(f"runner {self.model}", f"beginning anew: {error}")
                self._reader.close()
                retry(f"runner {self.model}", self._open, stopping, self._sleep)
        self.commit()

    def settle(self, timeout: float = 0.0) -> None:
        """Put the version that should serve in force once it is loaded; wait so many seconds for that.

        When it cannot be loaded, the one before it goes on, and that is said.
        """
        while (coming := self._coming) is not None:
            try:
                if not coming.loaded(timeout):
                    break
            except ServingError as error:
                self._give_up(coming, error)
                continue
            self._serving, self._coming = coming, None
            self.measures.serves(coming.spec.version, coming.spec.target)
            # The versions in force before stay in memory, so that a rollback is immediate; but not all of them.
            for spec in [spec for spec, worker in self._workers.items() if worker is not coming][:-_KEPT]:
                self._workers.pop(spec).close()
        stuck = "" if self._serving is None else self._serving.stuck()
        self._trouble = f"the model is still busy with {stuck}" if stuck else None

    def commit(self) -> None:
        """Keep how far the scores have been written."""
        self._reader.commit()
        self._committed_at = self._clock()
        self._uncommitted = False

    def close(self) -> None:
        """Let go of the readers, and of the models as far as they let go."""
        for worker in self._workers.values():
            worker.close()
        self._reader.close()
        self._control.close()

    def _pin(self, messages: list[Message]) -> None:
        """Before the first request is scored, keep where it lay: ``latest`` would skip it after a crash."""
        if not self._pinned:
            self._again = {Partition(m.stream, m.partition): m.offset for m in reversed(messages)}
            self._reader.commit(self._again)
            self._again = {}
            self._pinned = True

    def _score(self, messages: list[Message], worker: Worker) -> list[Score]:
        requests = self._requests(messages)
        if not requests:
            return []
        started = self._clock()
        answers, elapsed = self._ask(worker, requests)
        scored = self._clock()
        queued = [max(0.0, started - request.received_ts) for request in requests]
        self.counts["scores", self.model] += sum(answer.error is None for answer in answers)
        self.counts["errors", self.model] += sum(answer.error is not None for answer in answers)
        self.measures.scored(queued, elapsed)
        return [
            Score(
                request_id=request.id,
                request_ts=request.ts,
                ts=request.ts + (scored - request.received_ts),
                model=self.model,
                version=worker.spec.version,
                score=answer.score,
                error=answer.error,
                output=answer.output,
                queue_seconds=seconds,
                elapsed_seconds=elapsed,
                provenance=self._who,
            )
            for request, answer, seconds in zip(requests, answers, queued, strict=True)
        ]

    def _requests(self, messages: list[Message]) -> list[Request]:
        requests: list[Request] = []
        for message in messages:
            if as_token(message.value):
                continue
            try:
                requests.append(decode(message.value, Request))
            except RecordError as error:
                self.counts["dead_letters", self.model] += 1
                dead_letter(self._streams, message, str(error))
        return requests

    def _ask(self, worker: Worker, requests: list[Request]) -> Scored:
        """Have a batch scored; when the model cannot do that in time, say so of each request."""
        if self._trouble is None:
            name = f"request {requests[0].id}" + (f" and {len(requests) - 1} more" if len(requests) > 1 else "")
            stopwatch = time.perf_counter()
            scored = worker.score([request.features for request in requests], self.timeout_seconds, name)
            if scored is not None:
                return scored
            elapsed: float | None = time.perf_counter() - stopwatch
            error = f"the model took longer than {self.timeout_seconds:g} s"
            self._trouble = f"the model is still busy with {name}"
        else:
            elapsed, error = None, self._trouble
        self.counts["timed_out", self.model] += len(requests)
        return Scored([Answer(None, error)] * len(requests), elapsed)

    def _read_control(self) -> None:
        mine = False
        while messages := self._control.poll(1000, 0.0):
            mine |= self._take_control(messages)
        if mine and self._serving is not None:
            self._want()

    def _take_control(self, messages: list[Message]) -> bool:
        """Take control records into account; say whether one was about this model."""
        mine = False
        for message in messages:
            try:
                control = decode(message.value, Control)
            except RecordError:
                continue  # the rendezvous sends it to the dead letters
            mine = mine or control.model == self.model
            refused = self._deployment.apply(control)
            if refused:
                warn(f"runner {self.model}", refused)
        return mine

    def _want(self) -> None:
        """Begin to load the version that should serve, if it is not in memory."""
        wanted = self._deployment.wanted
        if wanted not in self._workers:
            self._workers[wanted] = Worker(wanted, self._load)
        self._coming = self._workers[wanted]

    def _give_up(self, worker: Worker, error: ServingError) -> None:
        """Take back a version that cannot be loaded, and want the one before it."""
        self.counts["failed_loads", self.model] += 1
        del self._workers[worker.spec]
        self._coming = None
        others = self._deployment.refuse(worker.spec)
        if not others and self._serving is None:
            raise error
        warn(f"runner {self.model}", f"version {worker.spec.version!r} is not served: {error}")
        if others:
            self._want()
