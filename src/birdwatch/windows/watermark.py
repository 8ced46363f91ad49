"""The watermark: the event time up to which everything has been seen.

It is the minimum over the sources (a partition of a stream, and each model in it) of the latest event time. A source
that has been silent for a while of *wall* time no longer holds it up. When all are silent, event time goes on with the
wall clock, so that the last panes close and the silence itself can be judged.
"""

import math
from collections.abc import Collection, Iterable

from birdwatch.streams import Partition
from birdwatch.windows.store import Source

__all__ = ["Watermark"]

_Key = tuple[str, int, str]


class Watermark:
    """Follows how far each source has come.

    Parameters
    ----------
    idle_seconds
        Wall time after which a silent source no longer holds up the others.
    """

    def __init__(self, idle_seconds: float) -> None:
        self.idle_seconds = idle_seconds
        self._latest: dict[_Key, float] = {}
        self._heard: dict[_Key, float] = {}
        self._awaited: dict[Partition, float] = {}
        self._ended: set[Partition] = set()
        self._value = -math.inf

    @property
    def reached(self) -> float:
        """The watermark as it was last asked for."""
        return self._value

    def restore(self, sources: Iterable[Source], now: float) -> None:
        """Go on from what the store kept."""
        for source in sources:
            key = (source.stream, source.partition, source.model)
            self._latest[key] = source.latest
            # A source that was silent when it was kept is silent still, until it is heard again.
            self._heard[key] = -math.inf if source.idle else now

    def await_(self, partition: Partition, until: float = math.inf) -> None:
        """Wait for a partition that has given nothing yet: until it does, or until a moment of wall time.

        Without this, whatever is read first would close panes before the other streams had their say.
        """
        if not any(key[:2] == partition for key in self._latest):
            self._awaited[partition] = until

    def end(self, partition: Partition) -> None:
        """Wait no longer for a partition that will give nothing more, as a recorded stream that was read to its end."""
        self._awaited.pop(partition, None)
        self._ended.add(partition)

    def see(self, partition: Partition, model: str, latest: float, now: float) -> None:
        """Note that a source has come this far."""
        key = (*partition, model)
        self._latest[key] = max(latest, self._latest.get(key, -math.inf))
        self._heard[key] = now
        self._awaited.pop(partition, None)

    def ahead(self, now: float) -> list[Partition]:
        """Name the partitions that have come further than the slowest source which still counts."""
        slowest: dict[Partition, float] = {}
        for key, reached in self._latest.items():
            if not self._silent(key, now):
                at = Partition(key[0], key[1])
                slowest[at] = min(reached, slowest.get(at, reached))
        return [at for at, reached in slowest.items() if reached > min(slowest.values())]

    def hold(self, partitions: Collection[Partition], now: float) -> None:
        """Take partitions as heard that are not being read for the present: their silence is ours."""
        for key in self._heard:
            if Partition(key[0], key[1]) in partitions and not self._silent(key, now):
                self._heard[key] = now

    def rest(self, partition: Partition) -> None:
        """Take a partition as silent from now on, until it is seen again."""
        self._awaited.pop(partition, None)
        for key in self._heard:
            if Partition(key[0], key[1]) == partition:
                self._heard[key] = -math.inf

    def idle(self, now: float) -> bool:
        """Tell whether nothing is awaited, and all sources are silent, or none was ever heard."""
        awaited = any(now <= until for until in self._awaited.values())
        return not awaited and all(self._silent(key, now) for key in self._latest)

    def value(self, now: float) -> float:
        """Give the watermark; it never goes back."""
        if not self._latest or any(now <= until for until in self._awaited.values()):
            return self._value
        active = [latest for key, latest in self._latest.items() if not self._silent(key, now)]
        if active:
            reached = min(active)
        else:
            reached = max(self._latest.values())
            heard = max(self._heard.values())
            if math.isfinite(heard) and len(self._ended) == 0:
                reached += now - heard
        self._value = max(self._value, reached)
        return self._value

    def _silent(self, key: _Key, now: float) -> bool:
        return now - self._heard[key] > self.idle_seconds or Partition(key[0], key[1]) in self._ended

    def sources(self, now: float) -> list[Source]:
        """Give how far each source has come, to be kept in the store."""
        return [Source(*key, latest, self._silent(key, now)) for key, latest in sorted(self._latest.items())]
