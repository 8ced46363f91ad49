"""The runner: one process a model. It reads requests, scores what is waiting, and says who did it and when.

Offsets are committed after the scores are written, several times a second: a crash loses no request, and those scored
since the last commit are scored again, which the rendezvous counts as duplicates.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal

from birdwatch.errors import RecordError, ServingError
from birdwatch.records import Control, Request, Score, decode, encode
from birdwatch.serving.deployment import Deployment
from birdwatch.serving.horizon import commit_at
from birdwatch.serving.model import Model, Spec, load_model, score_batch
from birdwatch.serving.process import provenance, warn
from birdwatch.streams import Message, Partition, Streams
from birdwatch.streams.deadletters import dead_letter

__all__ = ["Role", "Runner"]

Role = Literal["model", "canary"]

_BATCH: Final = 64
_IDLE_SECONDS: Final = 0.5
_COMMIT_SECONDS: Final = 0.2
_KEPT: Final = 2


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
    clock
        The wall clock.

    Raises
    ------
    ServingError
        The model cannot be loaded, or control says that it was retired.

    Attributes
    ----------
    counts
        (what, model) counted since the start.
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.model = model
        self.counts: Counter[tuple[str, str]] = Counter()
        self._streams = streams
        self._to = "canary" if role == "canary" else "scores"
        self._batch = batch
        self._clock = clock
        self._who = provenance("canary" if role == "canary" else "runner")
        self._deployment = Deployment(model, spec)
        self._loaded: dict[Spec, Model] = {}
        self._serving = spec
        self._control = streams.reader(["control"])
        self._read_control()
        if self._deployment.retired:
            raise ServingError(f"{model!r} was retired on the control stream: register it again before it scores")
        self._load()
        self._pinned = bool(streams.committed(f"runner-{model}", ["requests"]))
        self._reader = streams.reader(["requests"], group=f"runner-{model}", start=start)
        self._committed_at = clock()
        self._uncommitted = False

    @property
    def version(self) -> str:
        """The version that serves."""
        return self._serving.version

    @property
    def retired(self) -> bool:
        """Whether control has retired the model."""
        return self._deployment.retired

    def step(self, timeout: float = _IDLE_SECONDS) -> int:
        """Wait for requests and score them.

        Returns
        -------
        int
            How many scores were written.
        """
        messages = self._reader.poll(self._batch, timeout)
        # After the requests were read: what was put on control before a request is then in force for it.
        self._read_control()
        scores: list[Score] = []
        if messages and not self.retired:
            self._pin(messages)
            scores = self._score(messages)
            if scores:
                self._streams.append(self._to, [(s.request_id.encode(), encode(s)) for s in scores])
            self._uncommitted = True
        if self._uncommitted and (not messages or self._clock() - self._committed_at >= _COMMIT_SECONDS):
            self.commit()
        return len(scores)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Step until asked to stop, or until control retires the model."""
        while not stopping() and not self.retired:
            self.step()
        self.commit()

    def commit(self) -> None:
        """Keep how far the scores have been written."""
        self._reader.commit()
        self._committed_at = self._clock()
        self._uncommitted = False

    def close(self) -> None:
        """Let go of the readers."""
        self._reader.close()
        self._control.close()

    def _pin(self, messages: list[Message]) -> None:
        """Before the first request is scored, keep where it lay: ``latest`` would skip it after a crash."""
        if not self._pinned:
            first = {Partition(m.stream, m.partition): m.offset for m in reversed(messages)}
            commit_at(self._reader, first)
            self._pinned = True

    def _score(self, messages: list[Message]) -> list[Score]:
        requests: list[Request] = []
        for message in messages:
            try:
                requests.append(decode(message.value, Request))
            except RecordError as error:
                self.counts["dead_letters", self.model] += 1
                dead_letter(self._streams, message, str(error))
        if not requests:
            return []
        started = self._clock()
        stopwatch = time.perf_counter()
        answers = score_batch(self._loaded[self._serving], [request.features for request in requests])
        elapsed = time.perf_counter() - stopwatch
        scored = self._clock()
        self.counts["scores", self.model] += sum(answer.error is None for answer in answers)
        self.counts["errors", self.model] += sum(answer.error is not None for answer in answers)
        return [
            Score(
                request_id=request.id,
                request_ts=request.ts,
                ts=request.ts + (scored - request.received_ts),
                model=self.model,
                version=self.version,
                score=answer.score,
                error=answer.error,
                queue_seconds=max(0.0, started - request.received_ts),
                elapsed_seconds=elapsed,
                provenance=self._who,
            )
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _read_control(self) -> None:
        mine = False
        while messages := self._control.poll(1000, 0.0):
            for message in messages:
                try:
                    control = decode(message.value, Control)
                except RecordError:
                    continue  # the rendezvous sends it to the dead letters
                mine = mine or control.model == self.model
                refused = self._deployment.apply(control)
                if refused:
                    warn(f"runner {self.model}", refused)
        if mine:
            self._load()

    def _load(self) -> None:
        """Load the version that should serve; when it cannot be, go on with the one before it, and say so."""
        while (wanted := self._deployment.wanted) not in self._loaded:
            try:
                self._loaded[wanted] = load_model(wanted)
            except ServingError as error:
                self.counts["failed_loads", self.model] += 1
                if not (self._deployment.refuse(wanted) or self._loaded):
                    raise
                warn(f"runner {self.model}", f"version {wanted.version!r} is not served: {error}")
                if self._deployment.wanted == wanted:
                    return
        self._serving = wanted
        # The versions in force before stay in memory, so that a rollback is immediate; but not all of them.
        for spec in [spec for spec in self._loaded if spec != wanted][:-_KEPT]:
            del self._loaded[spec]
