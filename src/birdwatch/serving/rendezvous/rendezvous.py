"""The rendezvous process: brings messages and the time to the mailboxes, and their answers to the streams.

One thread, one loop: it waits for messages until the next moment at which a mailbox is due. On start, and where it is given
a lane that was another's, it reads the last while of the log again before it answers anything there, so that no request is
answered twice or lost after ``kill -9``. Where the schedule learns from outcomes, a second thread does that.

Instances of one name share the lanes. Of several names the one whose turn it is answers; the others are ready to take over at
a swap.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Literal

from birdwatch.errors import RecordError, StreamError
from birdwatch.records import CONTROL_KEY, Control, Decision, Result, decode, encode
from birdwatch.serving.bandit.learner import Learner
from birdwatch.serving.control.fleet import Fleet
from birdwatch.serving.control.policy import Posteriors, Thompson
from birdwatch.serving.control.schedule import Schedule
from birdwatch.serving.horizon import Horizon, catch_up
from birdwatch.serving.process import retry, warn
from birdwatch.serving.rendezvous.lanes import Lanes
from birdwatch.serving.rendezvous.mailboxes import STREAMS_READ, Mailboxes
from birdwatch.serving.rendezvous.turns import FIRST, Turns
from birdwatch.streams import Message, Positions, Streams
from birdwatch.streams.deadletters import dead_letter, dead_letters

__all__ = ["Rendezvous"]

_BATCH: Final = 1000
_NEEDED: Final = ("requests", "scores", "results", "metrics")
_IDLE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.02
_LEARNER_SECONDS: Final = 5.0
_AUTHOR: Final = "rendezvous"


class Rendezvous:
    """Answers what is on the streams.

    Parameters
    ----------
    schedule
        The one in force until a control record brings another. It is put on control itself, when it is not there yet, or
        was another one when the rendezvous was last started.
    horizon_seconds
        How much of the log is read again on start, and remembered.
    name
        Of this instance, and its consumer group, in which it may share the lanes with others; the first is called
        ``rendezvous``.
    label_horizon_seconds
        How long after its decision an outcome still teaches Thompson sampling.
    clock, sleep
        The wall clock, and how to wait until streams that fail are tried again.
    """

    def __init__(
        self,
        streams: Streams,
        schedule: Schedule,
        *,
        horizon_seconds: float = 60.0,
        name: str = FIRST,
        label_horizon_seconds: float = 7 * 86_400.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._streams = streams
        self._schedule = schedule
        self._clock = clock
        self._sleep = sleep
        self._horizon_seconds = horizon_seconds
        self._control = streams.reader(["control"])
        self._label_horizon = label_horizon_seconds
        self._learning: _Learning | None = None
        self._started_with: dict[str, Any] | None = None
        self.mailboxes = Mailboxes(Fleet(schedule), Turns(name), horizon_seconds=horizon_seconds)
        for messages in catch_up(streams, self._control, ["control"]):
            self._take_control(messages)
        self._open()

    def _open(self) -> None:
        """Begin to read where it would after a restart."""
        for stream in _NEEDED:
            # Where streams are made before they are used, nobody waits until readers hear of a new one.
            self._streams.append(stream, [])
        self._streams.check_partitions(STREAMS_READ)
        begin = self._where_others_are()
        self._reader = self._streams.reader(STREAMS_READ, group=self.mailboxes.turns.name)
        self._reader.seek(begin)
        self._lanes = Lanes(self._streams, self._reader, STREAMS_READ, self._clock)
        self._horizon = Horizon(self._reader, self._horizon_seconds)

    @property
    def in_charge(self) -> bool:
        """Whether what comes next is for this instance to answer."""
        return self.mailboxes.turns.in_charge

    def start(self) -> None:
        """Read the last while of the log again; what was open is answered at the first step."""
        self._lanes.await_first(self._take)
        self._record_turns()
        if self.in_charge:
            self._record_schedule()

    def _where_others_are(self) -> Positions:
        """Give where the one in charge would begin after a restart, for an instance without a place of its own.

        What lies before that is answered, however much it is.
        """
        if self._streams.committed(self.mailboxes.turns.name, STREAMS_READ):
            return {}
        begin: Positions = {}
        for name in self.mailboxes.turns.next:
            for partition, offset in self._streams.committed(name, STREAMS_READ).items():
                begin[partition] = min(offset, begin.get(partition, offset))
        return begin

    def step(self, timeout: float = _IDLE_SECONDS) -> int:
        """Wait for messages or for a mailbox to fall due, and do what is to be done.

        Returns
        -------
        int
            How many answers and decisions were written.
        """
        if self.mailboxes.held_up:
            timeout = min(timeout, _LOOK_SECONDS)
        wait = min(timeout, max(0.0, self.mailboxes.due() - self._clock()))
        self._take(*self._lanes.poll(_BATCH, wait))
        self._read_control()
        self._record_turns()
        if self._learning is not None:
            self.mailboxes.posteriors = self._learning.arms
        now = self._clock()
        results, decisions = self.mailboxes.settle(now, self._lanes.answered)
        written = self._write("results", results) + self._write("metrics", decisions)
        self._horizon.keep(now, self.mailboxes.oldest(), self.mailboxes.unjoined)
        return written

    def _write(self, stream: str, records: Sequence[Result | Decision]) -> int:
        """Write, unless the lanes have gone to another instance meanwhile: then it is for that one to do."""
        if not records or not self._lanes.sure():
            return 0
        self._streams.append(stream, [(record.request_id.encode(), encode(record)) for record in records])
        return len(records)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Step until asked to stop, then until what was open has its answer: at most a deadline longer.

        When the streams fail it begins anew, as after a restart: nobody knows what of the last step was written.
        """
        while not stopping():
            try:
                self.step()
            except StreamError as error:
                warn("rendezvous", f"beginning anew: {error}")
                self._reader.close()
                self.mailboxes.drop()
                retry("rendezvous", self._open, stopping, self._sleep)
        # What says that it has longer than anybody is promised is left to the next start.
        last = min(self.mailboxes.last_deadline(), self._clock() + self.mailboxes.fleet.schedule.deadline_seconds)
        while self.mailboxes.open and self._clock() <= last:
            self.step(0.01)

    def close(self) -> None:
        """Keep what was learnt, and let go of the readers."""
        if self._learning is not None:
            self._learning.close()
        self._reader.close()
        self._control.close()

    def _take(self, messages: list[Message], gone: Collection[int]) -> None:
        if gone:
            self.mailboxes.drop(gone)
            self._horizon.forget(gone)
        faults = self.mailboxes.take(messages, self._clock())
        dead_letters(self._streams, faults)

    def _read_control(self) -> None:
        # After the requests were read: what was put on control before a request is then in force for it.
        while messages := self._control.poll(_BATCH, 0.0):
            self._take_control(messages)
        learns = self.mailboxes.fleet.schedule.learns
        if learns is not None and (self._learning is None or self._learning.policy != learns):
            if self._learning is not None:
                self._learning.close()
            learner = Learner(
                self._streams,
                half_life_seconds=learns.half_life_seconds,
                prior=learns.prior,
                label_horizon_seconds=self._label_horizon,
                by=self.mailboxes.turns.name,
                clock=self._clock,
            )
            self._learning = _Learning(learner, learns)

    def _take_control(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                control = decode(message.value, Control)
            except RecordError as error:
                dead_letter(self._streams, message, str(error))
                self._refused(f"a record that cannot be read: {error}")
                continue
            self.mailboxes.turns.apply(control)
            if control.action == "schedule" and control.author == _AUTHOR:
                self._started_with = control.params
            refused = self.mailboxes.fleet.apply(control)
            if refused:
                self._refused(refused)

    def _refused(self, reason: str) -> None:
        self.mailboxes.counts["control_refused", ""] += 1
        warn("rendezvous", reason)

    def _record_schedule(self) -> None:
        """Put the schedule this was started with on control, so that everybody knows it, and when it came.

        What operators have said meanwhile stays in force, unless somebody has started this with another schedule.
        """
        params = self._schedule.model_dump(mode="json", exclude={"version"})
        if self._started_with is None:
            new = self.mailboxes.fleet.schedule == self._schedule
        else:
            new = params != self._started_with
        if new:
            self._append(
                "schedule", params, reason="the rendezvous was started with it", version=self._schedule.version
            )
            self._read_control()

    def _record_turns(self) -> None:
        """Put on control that this instance has taken over, and where: later starts read it there."""
        for message, token in self.mailboxes.taken_over:
            params = {
                "component": token.component,
                "token": token.token,
                "to": token.to,
                "at": {str(message.partition): message.offset},
            }
            self._append("swapped", params, reason=f"{token.to} answers what lies after the token")
        if self.mailboxes.taken_over:
            self.mailboxes.taken_over.clear()
            self._record_schedule()

    def _append(
        self, action: Literal["schedule", "swapped"], params: dict[str, Any], *, reason: str, version: str = ""
    ) -> None:
        control = Control(
            ts=self._clock(), action=action, author=_AUTHOR, reason=reason, version=version, params=params
        )
        self._streams.append("control", [(CONTROL_KEY, encode(control))])


class _Learning:
    """Lets a learner learn in a thread of its own."""

    def __init__(self, learner: Learner, policy: Thompson) -> None:
        self.policy = policy
        self._learner = learner
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="learner", daemon=True)
        self._thread.start()

    @property
    def arms(self) -> Posteriors:
        return self._learner.arms

    def _run(self) -> None:
        self._learner.run(self._stopping.is_set, sleep=self._stopping.wait)

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(_LEARNER_SECONDS)  # what it has not kept by then is read again
        if not self._thread.is_alive():
            self._learner.close()
