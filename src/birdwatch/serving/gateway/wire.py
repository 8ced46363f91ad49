"""The gateway's connection to the streams: one thread that writes, two that read, beside the event loop.

Appends are put together (a group commit): while one transaction is under way, what comes in the meantime waits for the
next, so that many requests in flight do not each pay for one.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, TypeVar

from birdwatch.errors import StreamError
from birdwatch.serving.horizon import Horizon, catch_up
from birdwatch.serving.process import warn
from birdwatch.streams import Message, Reader, Streams

__all__ = ["Wire"]

_READ: Final = ("requests", "results")
_BATCH: Final = 1000
_IDLE_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 20.0
_RETRY_SECONDS: Final = 1.0

T = TypeVar("T")


class _Append(NamedTuple):
    stream: str
    key: bytes
    value: bytes
    failed: Callable[[StreamError], None]


class _Job(NamedTuple):
    run: Callable[[], Any]
    done: Future[Any]


class Wire:
    """Writes and reads for one event loop.

    Parameters
    ----------
    take
        Called in the event loop with what was read.
    group
        Under which the reader keeps where to read on; each gateway of several has its own.
    horizon_seconds
        How much of the log is read again on start.
    clock
        The wall clock.
    """

    def __init__(
        self,
        streams: Streams,
        take: Callable[[list[Message]], None],
        *,
        group: str,
        horizon_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._take = take
        self._group = group
        self._clock = clock
        self._control = streams.reader(["control"])
        self._reader = streams.reader(_READ, group=group)
        self._horizon = Horizon(self._reader, horizon_seconds)
        self._appends: queue.SimpleQueue[_Append | _Job | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.reading = False
        """Whether the streams can be read."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read what already lies in the log, then start the threads.

        Raises
        ------
        StreamError
            The streams cannot be read, or another gateway of this name reads them.
        """
        self._loop = loop
        for stream in _READ:
            # Where streams are made before they are used, nobody waits until readers hear of a new one.
            self._streams.append(stream, [])
        self._await_all()
        for reader, names in ((self._control, ("control",)), (self._reader, _READ)):
            for messages in catch_up(self._streams, reader, names):
                self._take(messages)
        self.reading = True
        self._threads = [
            threading.Thread(target=self._write, name="wire-writer", daemon=True),
            threading.Thread(target=self._read, args=(self._reader, self._horizon), name="wire-reader", daemon=True),
            # By itself: what is said on control must not wait until something is asked or answered.
            threading.Thread(target=self._read, args=(self._control, None), name="wire-control", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _await_all(self) -> None:
        """Wait until the reader has all partitions: a group gives them out when it has given up who was killed."""
        until = self._clock() + _PATIENCE_SECONDS
        while missing := self._streams.ends(_READ).keys() - self._reader.positions().keys():
            if self._clock() > until:
                stream, number = min(missing)
                raise StreamError(
                    f"{self._streams.address}: another process reads partition {number} of {stream!r} as {self._group!r}: give"
                    " each gateway a --name of its own"
                )
            self._take(self._reader.poll(_BATCH, _IDLE_SECONDS))
        self._reader.changes()

    def append(self, stream: str, key: bytes, value: bytes, failed: Callable[[StreamError], None]) -> None:
        """Put a message on a stream soon; ``failed`` is called in the event loop when that cannot be done."""
        self._appends.put(_Append(stream, key, value, failed))

    def then(self, run: Callable[[], T]) -> Future[T]:
        """Run something in the writer's thread: after all that was appended before it, and before what comes after."""
        done: Future[T] = Future()
        self._appends.put(_Job(run, done))
        return done

    def close(self) -> None:
        """Write what is waiting, and stop."""
        self._stopping.set()
        self._appends.put(None)
        for thread in self._threads:
            thread.join()
        self._reader.close()
        self._control.close()

    def _write(self) -> None:
        last = False
        while not last:
            waiting = [self._appends.get()]
            while len(waiting) < _BATCH:
                try:
                    waiting.append(self._appends.get_nowait())
                except queue.Empty:
                    break
            last = None in waiting
            by_stream: dict[str, list[_Append]] = {}
            for what in waiting:
                if isinstance(what, _Append):
                    by_stream.setdefault(what.stream, []).append(what)
                elif what is not None:
                    self._write_batches(by_stream)
                    _run(what)
            self._write_batches(by_stream)

    def _write_batches(self, by_stream: dict[str, list[_Append]]) -> None:
        for stream, appends in by_stream.items():
            self._write_batch(stream, appends)
        by_stream.clear()

    def _write_batch(self, stream: str, appends: list[_Append]) -> None:
        try:
            self._streams.append(stream, [(append.key, append.value) for append in appends])
        except StreamError as error:
            warn("gateway", f"{len(appends)} messages for {stream!r} are not written: {error}")
            for append in appends:
                self._call(append.failed, error)

    def _read(self, reader: Reader, horizon: Horizon | None) -> None:
        while not self._stopping.is_set():
            try:
                messages = reader.poll(_BATCH, _IDLE_SECONDS)
                if horizon is not None:
                    self._look_for_losses(reader, horizon)
                    horizon.keep(self._clock())
                self.reading = True
            except StreamError as error:
                self.reading = False
                warn("gateway", f"the streams cannot be read, trying again: {error}")
                self._stopping.wait(_RETRY_SECONDS)
                continue
            if messages:
                self._call(self._take, messages)

    def _look_for_losses(self, reader: Reader, horizon: Horizon) -> None:
        """Say when answers may have passed by; what was lost and came back is read again from a horizon ago."""
        taken = reader.changes().taken
        if taken:
            horizon.forget({partition.number for partition in taken})
            warn(
                "gateway",
                f"partitions of {', '.join(sorted({each.stream for each in taken}))} were read by another process as"
                f" {self._group!r}: was this one stopped, or does another gateway have its --name?",
            )

    def _call(self, function: Callable[[Any], None], argument: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, argument)


def _run(job: _Job) -> None:
    try:
        job.done.set_result(job.run())
    except Exception as error:  # noqa: BLE001 - who waits for it is told
        job.done.set_exception(error)
