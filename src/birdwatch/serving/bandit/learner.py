"""The learning half of a bandit: reads who answered and what came of it, and keeps the posterior of every model.

It survives ``kill -9`` as the tail does, by two offsets a partition: a snapshot says up to where its posterior has
counted, and from where to read again so that what was still waiting is there. A pair of which both lie before the first
has been learned; any other is learned once when it is complete.
"""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from birdwatch.errors import RecordError, StreamError
from birdwatch.records import Decision, Outcome, Snapshot, decode
from birdwatch.serving import snapshots
from birdwatch.serving.bandit.posterior import Posterior
from birdwatch.serving.bandit.rewards import Lesson, Rewards
from birdwatch.serving.horizon import catch_up
from birdwatch.serving.process import warn
from birdwatch.streams import Message, Partition, Positions, Reader, Streams

__all__ = ["COMPONENT", "Learner"]

COMPONENT: Final = "bandit"
"""Whose snapshots these are."""

_STREAMS_READ: Final = ("metrics", "outcomes")
_BATCH: Final = 1000
_MARKS: Final = 64
_DAY: Final = 86_400.0

# Rewards come minutes or hours after the answer: there is no haste, and larger batches cost less.
_PAUSE_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 5.0


class Learner:
    """Learns from the streams ``metrics`` and ``outcomes``; `run` in a thread of its own.

    Parameters
    ----------
    half_life_seconds, prior
        As of `Posterior`.
    label_horizon_seconds
        How long after its request an outcome may be known and still count. So much is kept in memory, and read again on
        start.
    by
        Who signs the snapshots.
    save_seconds
        How often a snapshot is written, if anything was read: by the wall clock or by event time, whichever is first, so
        that of what is served faster than it happened each hour is known too.
    clock
        The wall clock. Records whose request lies more than a day ahead of it are refused: one mistaken unit would let
        all evidence fade.

    Attributes
    ----------
    arms
        α and β by model, as of the latest decision. It is replaced and never changed, so any thread may read it.
    """

    def __init__(
        self,
        streams: Streams,
        *,
        half_life_seconds: float | None = None,
        prior: tuple[float, float] = (1.0, 1.0),
        label_horizon_seconds: float = _DAY,
        by: str = "rendezvous",
        save_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.arms: dict[str, tuple[float, float]] = {}
        self._streams = streams
        self._half_life = half_life_seconds
        self._prior = prior
        self._label_horizon = label_horizon_seconds
        self._by = by
        self._save_seconds = save_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._begin()

    def _begin(self) -> None:
        self._posterior = Posterior(self._half_life, self._prior)
        self._rewards = Rewards(self._label_horizon)
        self._counted: Positions = {}
        self._marks: deque[tuple[float, Positions]] = deque([(-math.inf, {})])
        self._saved_at, self._saved_until = self._clock(), -math.inf
        self._changed = False

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """(what, model) counted since the start; see `Rewards`. ``unreadable`` and ``ahead`` are by stream."""
        return self._rewards.counts

    def start(self) -> None:
        """Go on from the latest snapshot, whoever wrote it, and read what has come since."""
        with self._lock:
            self._close()
            self._begin()
            snapshot = snapshots.latest(self._streams, COMPONENT)
            if snapshot is not None:
                self._restore(snapshot)
            reader = self._streams.reader(_STREAMS_READ)
            try:
                reader.seek(self._marks[0][1])
                for messages in catch_up(self._streams, reader, _STREAMS_READ):
                    self._take(messages)
            except BaseException:
                reader.close()
                raise
            self._settle(reader)
            self._reader = reader

    def step(self) -> int:
        """Read what there is, and save if it is time.

        Returns
        -------
        int
            How many messages were read.
        """
        with self._lock:
            reader, read = self._started(), 0
            while messages := reader.poll(_BATCH, 0.0):
                self._take(messages)
                read += len(messages)
            if read:
                self._settle(reader)
            if self._changed and self._is_due():
                self._save(reader)
            return read

    def _is_due(self) -> bool:
        if self._saved_until == -math.inf:
            self._saved_until = self._rewards.latest
        waited = max(self._clock() - self._saved_at, self._rewards.latest - self._saved_until)
        return waited >= self._save_seconds

    def save(self) -> None:
        """Write a snapshot now; from any thread.

        Raises
        ------
        ValueError
            It has not started: its emptiness must not take the place of what is known.
        """
        with self._lock:
            self._save(self._started())

    def run(self, stopping: Callable[[], bool], *, sleep: Callable[[float], object] = time.sleep) -> None:
        """Start, unless that is done, and step until asked to stop; then save.

        Streams that fail are warned of and tried again: learning may halt, answering may not.
        """
        while not stopping():
            try:
                if self._reader is None:
                    self.start()
                self.step()
            except StreamError as error:
                warn("learner", f"{error}; trying again in {_RETRY_SECONDS:.0f} seconds")
                sleep(_RETRY_SECONDS)
            else:
                sleep(_PAUSE_SECONDS)
        if self._reader is not None and self._changed:
            try:
                self.save()
            except StreamError as error:
                warn("learner", f"the last snapshot was not written: {error}")

    def close(self) -> None:
        """Let go of the reader."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _started(self) -> Reader:
        if self._reader is None:
            raise ValueError("the learner has not started: call start first")
        return self._reader

    def _take(self, messages: list[Message]) -> None:
        self._changed |= bool(messages)
        ahead = self._clock() + _DAY
        for message in messages:
            fresh = message.offset >= self._counted.get(Partition(message.stream, message.partition), 0)
            try:
                lesson = self._read(message, ahead, fresh=fresh)
            except RecordError:  # a dead letter of those who read these streams for their own sake
                self.counts["unreadable", message.stream] += fresh
                continue
            if lesson is not None:
                self._posterior.add(*lesson)

    def _read(self, message: Message, ahead: float, *, fresh: bool) -> Lesson | None:
        if message.stream == "metrics":
            decision = decode(message.value, Decision)
            if decision.request_ts <= ahead:
                return self._rewards.take_decision(decision, fresh=fresh)
        else:
            outcome = decode(message.value, Outcome)
            if outcome.request_ts <= ahead:
                return self._rewards.take_outcome(outcome, fresh=fresh)
        self.counts["ahead", message.stream] += fresh
        return None

    def _settle(self, reader: Reader) -> None:
        """When all has been read: forget what is too old, mark the place, and show what was learned."""
        self._rewards.forget()
        newest, _ = self._marks[-1]
        if self._rewards.newest - newest > self._label_horizon / _MARKS:
            self._marks.append((self._rewards.newest, reader.positions()))
        # Of all that lies before a mark, nothing is waited for once the floor has passed it.
        while len(self._marks) > 1 and self._marks[1][0] < self._rewards.floor:
            self._marks.popleft()
        self.arms = self._posterior.at(self._rewards.latest)

    def _save(self, reader: Reader) -> None:
        now = self._saved_at = self._clock()
        self._saved_until = self._rewards.latest
        state = {
            "posterior": self._posterior.state(),
            # For who only wants to know what is believed: α and β by arm, as of `latest`.
            "arms": {arm: list(believed) for arm, believed in self._posterior.at(self._rewards.latest).items()},
            "latest": _finite(self._rewards.latest),
            "floor": _finite(self._rewards.floor),
            "again_from": snapshots.by_name(self._marks[0][1]),
        }
        positions = snapshots.by_name(reader.positions())
        snapshot = Snapshot(component=COMPONENT, by=self._by, ts=now, state=state, positions=positions)
        snapshots.save(self._streams, snapshot)
        self._changed = False

    def _restore(self, snapshot: Snapshot) -> None:
        state: dict[str, Any] = snapshot.state
        try:
            posterior = Posterior.from_state(state["posterior"], self._half_life, self._prior)
            latest, floor = state["latest"], state["floor"]
            again_from, counted = snapshots.from_names(state["again_from"]), snapshots.from_names(snapshot.positions)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            warn(
                "learner", f"the snapshot by {snapshot.by!r} cannot be used ({error!r}): all is read from the beginning"
            )
            return
        self._posterior = posterior
        self._rewards.latest = -math.inf if latest is None else latest
        self._rewards.floor = -math.inf if floor is None else floor
        self._counted = counted
        self._marks = deque([(-math.inf, again_from)])


def _finite(ts: float) -> float | None:
    return ts if math.isfinite(ts) else None
