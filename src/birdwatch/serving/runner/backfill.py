"""Backfill: one model scores requests of the past, exactly as they were seen, as its runner would have.

Each request is decoded, batched, tried again by itself and given up as a runner does it. A score bears the event time of
its request, and no durations: nobody waited for it. Where it goes knows which requests have one (`birdwatch.serving.runner.filled`),
so a backfill that was killed goes on, and each request is scored once.
"""

import math
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Final

from birdwatch.errors import RecordError, ServingError
from birdwatch.records import Request, Score, as_token, decode
from birdwatch.serving.process import provenance
from birdwatch.serving.runner.filled import Asked, Filled
from birdwatch.serving.runner.model import Answer, Spec, load_model
from birdwatch.serving.runner.worker import Worker
from birdwatch.streams import Message, Streams
from birdwatch.streams.stretch import read_until

__all__ = ["COMPONENT", "Backfill"]

COMPONENT: Final = "backfill"
"""The component that these scores name in their provenance."""

_BATCH: Final = 64
_TIMEOUT_SECONDS: Final = 10.0
_LOAD_SECONDS: Final = 0.5


class Backfill:
    """Scores what lies on a stream of requests at present.

    Parameters
    ----------
    requests
        Where the requests lie; it is only read.
    stream
        What their stream is called there.
    to
        Where the scores go.
    model, spec
        The name under which it scores, and what is loaded.
    since, until
        Only requests with ``since <= ts < until``, in Unix seconds.
    batch
        How many requests are scored at once, at most.
    timeout_seconds
        How long the model may take for a batch, which then gets errors.
    allow_pickle
        Whether a pickle may be loaded.

    Attributes
    ----------
    counts
        How many ``scores`` and ``errors`` were written; how many requests had one there ``before``, and how many messages
        could not be read (``dead_letters``).
    first_error, first_letter
        What the first of those errors said, and why the first of those messages could not be read.
    """

    def __init__(
        self,
        requests: Streams,
        to: Filled,
        model: str,
        spec: Spec,
        *,
        stream: str = "requests",
        since: float = -math.inf,
        until: float = math.inf,
        batch: int = _BATCH,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        allow_pickle: bool = False,
    ) -> None:
        self.model = model
        self.spec = spec
        self.counts: Counter[str] = Counter()
        self.first_error = ""
        self.first_letter = ""
        self._requests = requests
        self._stream = stream
        self._to = to
        self._between = (since, until)
        self._batch = batch
        self._timeout_seconds = timeout_seconds
        self._load = partial(load_model, allow_pickle=allow_pickle)
        self._who = provenance(COMPONENT)

    def left(self) -> int:
        """Give how many offsets there are to read."""
        begins, ends = self._requests.begins([self._stream]), self._requests.ends([self._stream])
        return sum(end - begins.get(at, 0) for at, end in ends.items())

    def run(self, stopping: Callable[[], bool], on_step: Callable[[int], object] = lambda _: None) -> None:
        """Score all that lies there now, and stop.

        Parameters
        ----------
        stopping
            Whether to stop before.
        on_step
            Is told how many messages were read.

        Raises
        ------
        ServingError
            The model cannot be loaded, or does not come back from a batch. What it said before is kept.
        StreamError
            Requests cannot be read, or scores not written. What could be is kept.
        """
        ends = self._requests.ends([self._stream])
        with closing(Worker(self.spec, self._load)) as worker, closing(self._requests.reader([self._stream])) as reader:
            while not worker.loaded(_LOAD_SECONDS):
                if stopping():
                    return
            try:
                for messages in read_until(reader, self._requests.begins([self._stream]), ends, limit=self._batch):
                    self._score(worker, messages)
                    on_step(len(messages))
                    if stopping():
                        break
            finally:
                self._to.flush()

    def _score(self, worker: Worker, messages: list[Message]) -> None:
        asked = self._asked(messages)
        fresh = self._to.fresh(asked)
        self.counts["before"] += len(asked) - len(fresh)
        if not fresh:
            return
        answers = self._ask(worker, [request for _, request in fresh])
        failed = [answer.error for answer in answers if answer.error is not None]
        self.first_error = self.first_error or next(iter(failed), "")
        self.counts["scores"] += len(answers) - len(failed)
        self.counts["errors"] += len(failed)
        self._to.put(
            [
                (
                    message,
                    Score(
                        request_id=request.id,
                        request_ts=request.ts,
                        ts=request.ts,
                        model=self.model,
                        version=self.spec.version,
                        score=answer.score,
                        error=answer.error,
                        output=answer.output,
                        provenance=self._who,
                    ),
                )
                for (message, request), answer in zip(fresh, answers, strict=True)
            ]
        )

    def _asked(self, messages: list[Message]) -> list[Asked]:
        """Read the requests of the time that is asked for; what cannot be read is nobody's."""
        since, until = self._between
        found = []
        for message in messages:
            if as_token(message.value):
                continue
            try:
                request = decode(message.value, Request)
            except RecordError as error:
                self.counts["dead_letters"] += 1
                self.first_letter = self.first_letter or f"{message.stream}, offset {message.offset}: {error}"
                self._to.lose(message, str(error))
                continue
            if since <= request.ts < until:
                found.append(Asked(message, request))
        return found

    def _ask(self, worker: Worker, requests: list[Request]) -> list[Answer]:
        """Have a batch scored. A model that is still busy with the batch before is waited for: here nobody else waits."""
        stuck = worker.stuck(self._timeout_seconds)
        if stuck:
            raise ServingError(
                f"{self.model} {self.spec.version} does not come back from {stuck}: what it said before is kept, and"
                " those got errors; start again to go on after them, or allow more --timeout-seconds"
            )
        name = f"request {requests[0].id}" + (f" and {len(requests) - 1} more" if len(requests) > 1 else "")
        scored = worker.score([request.features for request in requests], self._timeout_seconds, name)
        if scored is not None:
            return scored.answers
        return [Answer(None, f"the model took longer than {self._timeout_seconds:g} s")] * len(requests)
