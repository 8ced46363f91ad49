"""The watermark: the event time up to which everything has been seen.

It is the minimum over the sources (a partition of a stream, and each model in it) of the latest event time. A source
that has been silent for a while of *wall* time no longer holds it up. When all are silent, event time goes on with the
wall clock, so that the last panes close and the silence itself can be judged.
"""

import math
from collections.abc import Collection, Iterable
from typing import NamedTuple

from birdwatch.streams import Partition
from birdwatch.windows.store import Source

__all__ = ["Watermark"]


class _Seen(NamedTuple):
    """How far a source has come in event time, and when it was heard of, in wall time."""

    latest: float
    heard: float


class Watermark:
    """Follows how far each source has come.

    Parameters
    ----------
    idle_seconds
        Wall time after which a silent source no longer holds up the others.
    """

    def __init__(self, idle_seconds: float) -> None:
        self.idle_seconds = idle_seconds
        self._seen: dict[Partition, dict[str, _Seen]] = {}  # by the models of a partition
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
            models = self._seen.setdefault(Partition(source.stream, source.partition), {})
            # A source that was silent when it was kept is silent still, until it is heard again.
            models[source.model] = _Seen(source.latest, -math.inf if source.idle else now)

    def await_(self, partition: Partition, until: float = math.inf) -> None:
        """Wait for a partition that has given nothing yet: until it does, or until a moment of wall time.

        Without this, whatever is read first would close panes before the other streams had their say.
        """
        if partition not in self._seen:
            self._awaited[partition] = until

    def end(self, partition: Partition) -> None:
        """Wait no longer for a partition that will give nothing more, as a recorded stream that was read to its end."""
        self._awaited.pop(partition, None)
        self._ended.add(partition)

    def see(self, partition: Partition, model: str, latest: float, now: float) -> None:
        """Note that a source has come this far."""
        models = self._seen.setdefault(partition, {})
        before = models.get(model)
        models[model] = _Seen(latest if before is None else max(latest, before.latest), now)
        self._awaited.pop(partition, None)

    def ahead(self, now: float) -> list[Partition]:
        """Name the partitions that have come further than the slowest source which still counts."""
        slowest = {
            at: min(reached)
            for at, models in self._seen.items()
            if (reached := [seen.latest for seen in models.values() if not self._silent(at, seen, now)])
        }
        return [at for at, reached in slowest.items() if reached > min(slowest.values())]

    def hold(self, partitions: Collection[Partition], now: float) -> None:
        """Take partitions as heard that are not being read for the present: their silence is ours."""
        for at in self._seen.keys() & partitions:
            self._seen[at] = {
                model: seen if self._silent(at, seen, now) else seen._replace(heard=now)
                for model, seen in self._seen[at].items()
            }

    def rest(self, partition: Partition) -> None:
        """Take a partition as silent from now on, until it is seen again."""
        self._awaited.pop(partition, None)
        models = self._seen.get(partition, {})
        models.update({model: seen._replace(heard=-math.inf) for model, seen in models.items()})

    def idle(self, now: float) -> bool:
        """Tell whether nothing is awaited, and all sources are silent, or none was ever heard."""
        awaited = any(now <= until for until in self._awaited.values())
        return not awaited and all(
            self._silent(at, seen, now) for at, models in self._seen.items() for seen in models.values()
        )

    def value(self, now: float) -> float:
        """Give the watermark; it never goes back."""
        if not self._seen or any(now <= until for until in self._awaited.values()):
            return self._value
        every = [(at, seen) for at, models in self._seen.items() for seen in models.values()]
        active = [seen.latest for at, seen in every if not self._silent(at, seen, now)]
        if active:
            reached = min(active)
        else:
            reached = max(seen.latest for _, seen in every)
            heard = max(seen.heard for _, seen in every)
            if math.isfinite(heard) and len(self._ended) == 0:
                reached += now - heard
        self._value = max(self._value, reached)
        return self._value

    def _silent(self, at: Partition, seen: _Seen, now: float) -> bool:
        return now - seen.heard > self.idle_seconds or at in self._ended

    def sources(self, now: float) -> list[Source]:
        """Give how far each source has come, to be kept in the store."""
        return [
            Source(*at, model, seen.latest, self._silent(at, seen, now))
            for at, models in sorted(self._seen.items())
            for model, seen in sorted(models.items())
        ]
