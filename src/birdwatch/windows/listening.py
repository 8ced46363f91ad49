"""Until when everything has been heard: only by that clock can a source be silent.

A partition with messages that have not been read yet is not silent, and nobody knows of any while the broker is gone. Were
silence counted by the wall clock alone, a reader that has fallen behind would let event time go on without what it has not
read, and all that would come late.
"""

import math
from collections.abc import Collection, Sequence

from birdwatch.errors import StreamError
from birdwatch.streams import Partition, Positions, Reader, Streams

__all__ = ["Listening"]

_EVERY_SECONDS = 1.0


class Listening:
    """Tells up to which moment of the wall clock all that had been written has been read.

    Parameters
    ----------
    streams, reader
        Whom to ask where streams end, and how far they have been read.
    topics
        Those whose sources have watermarks.
    idle_seconds
        After how long a source that was not heard counts as silent.
    now
        The wall clock at present.
    """

    def __init__(
        self, streams: Streams, reader: Reader, topics: Sequence[str], idle_seconds: float, now: float
    ) -> None:
        self._streams = streams
        self._reader = reader
        self._topics = topics
        self._idle_seconds = idle_seconds
        self._gone = False
        self._back_until = -math.inf
        self._every = min(_EVERY_SECONDS, idle_seconds / 4)
        self._asked: tuple[float, Positions] | None = None
        self._ask_at = now
        self._until = now

    def step(self, now: float, *, busy: bool, paused: Collection[Partition] = ()) -> float:
        """Look again, and ask about once a second.

        Parameters
        ----------
        busy
            Whether the last poll gave anything. One that gave nothing has read all there is: an end that lies further
            then is that of a transaction's marks.
        paused
            What is not read for the present.

        Returns
        -------
        float
            Everything written before has been read, but for what is paused. After nobody could be asked it stands still for
            ``idle_seconds``.
        """
        if self._asked is not None:
            at, ends = self._asked
            positions = self._reader.positions()
            behind = any(positions[p] < end for p, end in ends.items() if p in positions and p not in paused)
            if not busy or not behind:
                if at >= self._back_until:
                    self._until = at
                self._asked = None
        if self._asked is None and now >= self._ask_at:
            self._ask_at = now + self._every
            try:
                self._asked = (now, self._streams.ends(self._topics))
            except StreamError:
                self._gone = True  # while nobody can be asked, nobody can be heard
            else:
                if self._gone:
                    # Those who write find the broker again in their own time, and have kept back what they could not write.
                    self._gone, self._back_until = False, now + self._idle_seconds
        return self._until
