"""Back pressure: partitions that run ahead of the others are held back while too many rows wait in memory.

A pane closes when the slowest source has passed it. After an outage, one stream may be read hours ahead of another, and
all its rows would wait. Pausing those ahead bounds the memory, and the slowest is never paused, so time goes on.
"""

from collections.abc import Iterable

from birdwatch.streams import Partition, Reader
from birdwatch.windows.watermark import Watermark

__all__ = ["Pacing"]


class Pacing:
    """Pauses and resumes the partitions of a reader.

    Parameters
    ----------
    reader
        Whose partitions.
    most_rows
        From so many rows in memory on, those ahead wait; below half of it all go on.

    Attributes
    ----------
    paused
        Which partitions wait at present.
    """

    def __init__(self, reader: Reader, most_rows: int) -> None:
        self._reader = reader
        self._most = most_rows
        self.paused: frozenset[Partition] = frozenset()

    def step(self, rows: int, watermarks: Iterable[Watermark], now: float) -> None:
        """Decide anew, given how many rows are in memory and how far the sources of each lane have come."""
        lanes = list(watermarks)
        wanted = self.paused
        if rows > self._most:
            wanted = frozenset(at for lane in lanes for at in lane.ahead(now))
        elif rows <= self._most // 2:
            wanted = frozenset()
        if wanted != self.paused:
            self._reader.resume(self.paused - wanted)
            self._reader.pause(wanted - self.paused)
            self.paused = wanted
        for lane in lanes:
            lane.hold(self.paused, now)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Pause none of these any more: they were taken away, and may come back."""
        gone = self.paused.intersection(partitions)
        self._reader.resume(gone)
        self.paused -= gone
