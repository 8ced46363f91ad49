"""What the delivery shows at ``/metrics``: attempts by sink and result; and whether every sink has its turn."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["Attempts", "AttemptsMetrics"]


class Attempts(NamedTuple):
    """What came of the attempts of one step."""

    delivered: int = 0
    failed: int = 0


class AttemptsMetrics(Collector):
    """Counts attempts since the start.

    Parameters
    ----------
    sinks
        By name.
    beat
        Called when each of them has had a turn: one that hangs keeps the process from being at work.
    """

    def __init__(self, sinks: Collection[str], beat: Callable[[], None]) -> None:
        self._sinks = frozenset(sinks)
        self._beat = beat
        self._turned: set[str] = set()
        self._counts: Counter[tuple[str, str]] = Counter()

    def turn(self, sink: str, made: Attempts) -> None:
        """Take note of a turn of a sink; called in its thread."""
        self._counts.update({(sink, what): n for what, n in made._asdict().items()})
        self._turned.add(sink)
        if self._turned >= self._sinks:
            self._turned.clear()
            self._beat()

    def collect(self) -> Iterator[Metric]:
        """Give the counts."""
        family = CounterMetricFamily(
            "birdwatch_alerts_attempts", "attempts to have a sink take a change", labels=["sink", "result"]
        )
        for sink in sorted(self._sinks):
            for result in Attempts._fields:
                family.add_metric([sink, result], self._counts[sink, result])
        yield family
