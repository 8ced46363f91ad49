"""One version of a model in a thread of its own: it is loaded there and called there, and the runner goes on whatever it does."""

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Answer, Features, Model, Spec, score_batch

__all__ = ["Scored", "Worker"]

_GOODBYE_SECONDS: Final = 1.0


class Scored(NamedTuple):
    """What came of a batch: an answer a row, and the seconds inside the model (None where it was not called)."""

    answers: list[Answer]
    seconds: float | None


class Worker:
    """Begins to load at once. One thread alone may use it.

    The thread is a daemon: a model that hangs does not keep the process alive. Nothing can stop it, so it is waited for
    no longer than is said; a result that comes after that is dropped.

    Parameters
    ----------
    spec
        What to load.
    load
        Loads it.
    """

    def __init__(self, spec: Spec, load: Callable[[Spec], Model]) -> None:
        self.spec = spec
        self._load = load
        self._settled = threading.Event()
        self._failed: ServingError | None = None
        self._inbox: SimpleQueue[list[Features] | None] = SimpleQueue()
        self._outbox: SimpleQueue[Scored] = SimpleQueue()
        self._stuck_on = ""
        self._thread = threading.Thread(target=self._run, name=f"model {spec.version}", daemon=True)
        self._thread.start()

    def loaded(self, timeout: float = 0.0) -> bool:
        """Say whether the model is there, after waiting so many seconds for it.

        Raises
        ------
        ServingError
            It cannot be loaded.
        """
        settled = self._settled.wait(timeout)
        if self._failed is not None:
            raise self._failed
        return settled

    def stuck(self, timeout: float = 0.0) -> str:
        """Name the batch that took too long, if the model is still busy with it after so many seconds more; else ``""``."""
        if self._stuck_on:
            try:
                self._outbox.get(timeout=timeout)
            except Empty:
                return self._stuck_on
            self._stuck_on = ""
        return ""

    def score(self, batch: list[Features], timeout: float, name: str) -> Scored | None:
        """Score a batch, or give None when that takes longer than ``timeout`` seconds; not while the model is `stuck`.

        Parameters
        ----------
        name
            What the batch is called, should the model get stuck on it.
        """
        self._inbox.put(batch)
        try:
            return self._outbox.get(timeout=timeout)
        except Empty:
            self._stuck_on = name
            return None

    def close(self) -> None:
        """Let the thread end, as soon as the model lets it."""
        self._inbox.put(None)
        if self._settled.is_set() and not self._stuck_on:
            self._thread.join(_GOODBYE_SECONDS)

    def _run(self) -> None:
        try:
            model = self._load(self.spec)
        except ServingError as error:
            self._failed = error
        except BaseException as error:  # noqa: BLE001 - whatever somebody's module does, the runner is told
            self._failed = ServingError(f"{self.spec.target}: {type(error).__name__}: {error}")
        self._settled.set()
        if self._failed is not None:
            return
        while (batch := self._inbox.get()) is not None:
            stopwatch = time.perf_counter()
            answers = score_batch(model, batch, lambda: not self._stuck_on)
            self._outbox.put(Scored(answers, time.perf_counter() - stopwatch))
