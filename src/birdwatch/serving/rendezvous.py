"""The rendezvous process: brings messages and the time to the mailboxes, and their answers to the streams.

One thread, one loop: it waits for messages until the next moment at which a mailbox is due. On start it reads the last
while of the log again before it answers anything, so that no request is answered twice or lost after ``kill -9``.
"""

import time
from collections.abc import Callable
from typing import Final

from birdwatch.errors import RecordError
from birdwatch.records import Control, decode, encode
from birdwatch.serving.fleet import Fleet
from birdwatch.serving.horizon import Horizon, catch_up
from birdwatch.serving.mailboxes import STREAMS_READ, Mailboxes
from birdwatch.serving.process import warn
from birdwatch.serving.schedule import Schedule
from birdwatch.streams import Message, Streams
from birdwatch.streams.deadletters import dead_letter, dead_letters

__all__ = ["Rendezvous"]

_BATCH: Final = 1000
_IDLE_SECONDS: Final = 0.5


class Rendezvous:
    """Answers what is on the streams.

    Parameters
    ----------
    schedule
        The one in force until a control record brings another.
    horizon_seconds
        How much of the log is read again on start, and remembered.
    group
        The consumer group.
    clock
        The wall clock.
    """

    def __init__(
        self,
        streams: Streams,
        schedule: Schedule,
        *,
        horizon_seconds: float = 60.0,
        group: str = "rendezvous",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._streams = streams
        self._clock = clock
        self._control = streams.reader(["control"])
        self._reader = streams.reader(STREAMS_READ, group=group)
        self._horizon = Horizon(self._reader, horizon_seconds)
        self.mailboxes = Mailboxes(Fleet(schedule), horizon_seconds=horizon_seconds)

    def start(self) -> None:
        """Read the last while of the log again; what was open is answered at the first step."""
        self._read_control()
        for messages in catch_up(self._streams, self._reader, STREAMS_READ):
            self._take(messages)

    def step(self, timeout: float = _IDLE_SECONDS) -> int:
        """Wait for messages or for a mailbox to fall due, and do what is to be done.

        Returns
        -------
        int
            How many answers and decisions were written.
        """
        wait = min(timeout, max(0.0, self.mailboxes.due() - self._clock()))
        self._take(self._reader.poll(_BATCH, wait))
        self._read_control()
        now = self._clock()
        results, decisions = self.mailboxes.settle(now)
        if results:
            self._streams.append("results", [(r.request_id.encode(), encode(r)) for r in results])
        if decisions:
            self._streams.append("metrics", [(d.request_id.encode(), encode(d)) for d in decisions])
        self._horizon.keep(now, self.mailboxes.oldest())
        return len(results) + len(decisions)

    def run(self, stopping: Callable[[], bool]) -> None:
        """Step until asked to stop, then until what was open has its answer: at most a deadline longer."""
        while not stopping():
            self.step()
        last = self.mailboxes.last_deadline()
        while self.mailboxes.open and self._clock() <= last:
            self.step(0.01)

    def close(self) -> None:
        """Let go of the readers."""
        self._reader.close()
        self._control.close()

    def _take(self, messages: list[Message]) -> None:
        faults = self.mailboxes.take(messages, self._clock())
        dead_letters(self._streams, faults)

    def _read_control(self) -> None:
        # After the requests were read: what was put on control before a request is then in force for it.
        while messages := self._control.poll(_BATCH, 0.0):
            for message in messages:
                try:
                    refused = self.mailboxes.fleet.apply(decode(message.value, Control))
                except RecordError as error:
                    dead_letter(self._streams, message, str(error))
                    refused = f"a record that cannot be read: {error}"
                if refused:
                    self.mailboxes.counts["control_refused", ""] += 1
                    warn("rendezvous", refused)
