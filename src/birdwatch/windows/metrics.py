"""What a process that reads streams shows of it at ``/metrics``: how much, how far behind, what went wrong."""

import math
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from birdwatch.windows.reading import Reading

__all__ = ["ReadingMetrics"]


class ReadingMetrics(Collector):
    """Gives the metrics of a `Reading`.

    Parameters
    ----------
    reading
        Gives what the process reads by, which may be another one after trouble.
    """

    def __init__(self, reading: Callable[[], Reading]) -> None:
        self._reading = reading

    def describe(self) -> Iterator[Metric]:
        """Name nothing: who registers this need not wait for a broker."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Look at what was read, and ask where the streams end."""
        reading = self._reading()
        for name, about, value in (
            ("messages", "messages read since the start", reading.messages),
            ("dead_letters", "rows that could not be read, since the start", reading.dead_letters),
            ("out_of_range", "rows whose time cannot be, since the start; dead letters too", reading.out_of_range),
            ("gaps", "times that messages were gone before they were read, since the start", reading.gaps),
        ):
            yield CounterMetricFamily(f"birdwatch_tail_{name}", about, value)
        lag = GaugeMetricFamily(
            "birdwatch_tail_lag_messages", "messages not yet read, by partition", labels=["stream", "partition"]
        )
        for (stream, number), behind in reading.lags().items():
            lag.add_metric([stream, str(number)], behind)
        yield lag
        yield GaugeMetricFamily(
            "birdwatch_tail_paused_partitions", "partitions that wait for slower ones", reading.paused
        )
        watermark = reading.watermark()
        if math.isfinite(watermark):
            yield GaugeMetricFamily(
                "birdwatch_tail_watermark_timestamp_seconds",
                "event time up to which everything has been seen, by the slowest lane",
                watermark,
            )
