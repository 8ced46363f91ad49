"""What a process has read, for those who look at it: how much, how far behind, and what went wrong on the way."""

from collections.abc import Callable, Iterable, Sequence

from birdwatch.errors import StreamError
from birdwatch.streams import Gap, Partition, Positions, Reader, Streams
from birdwatch.windows.decode import Fault
from birdwatch.windows.pacing import Pacing
from birdwatch.windows.watermark import Watermark

__all__ = ["Reading"]


class Reading:
    """Counts what one process reads; another thread may look at it.

    Attributes
    ----------
    messages, dead_letters, out_of_range, gaps
        Since the start: messages read, rows that could not be counted, those of them whose time cannot be, and times that
        messages were gone before they were read.
    """

    def __init__(
        self, streams: Streams, reader: Reader, pacing: Pacing | None, watermarks: Callable[[], Iterable[Watermark]]
    ) -> None:
        self._streams = streams
        self._reader = reader
        self._pacing = pacing
        self._watermarks = watermarks
        self.messages = 0
        self.dead_letters = 0
        self.out_of_range = 0
        self.gaps = 0

    def note(self, messages: int, faults: Sequence[Fault], gaps: Sequence[Gap]) -> None:
        """Count one step."""
        self.messages += messages
        self.dead_letters += len(faults)
        self.out_of_range += sum(fault.kind == "out of range" for fault in faults)
        self.gaps += len(gaps)

    def go_on_from(self, before: "Reading") -> None:
        """Count on from what another has counted, in whose place this one is."""
        self.messages += before.messages
        self.dead_letters += before.dead_letters
        self.out_of_range += before.out_of_range
        self.gaps += before.gaps

    def lags(self) -> dict[Partition, int]:
        """Give how many messages lie between where the reader stands and the end of each partition; none if nobody answers."""
        positions = self._reader.positions()
        try:
            ends = self._streams.ends(sorted({at.stream for at in positions}))
        except StreamError:
            return {}
        return {at: max(ends[at] - position, 0) for at, position in sorted(positions.items()) if at in ends}

    def reached(self, ends: Positions) -> bool:
        """Tell whether everything before these offsets has been read."""
        positions = self._reader.positions()
        return all(positions.get(at, 0) >= end for at, end in ends.items())

    def watermark(self) -> float:
        """Give the event time up to which everything has been seen, by the slowest lane; minus infinity for nothing."""
        return min((one.reached for one in self._watermarks()), default=-float("inf"))

    @property
    def paused(self) -> int:
        """How many partitions wait because they are ahead of the others."""
        return len(self._pacing.paused) if self._pacing is not None else 0
