"""What a runner shows of itself beside its counts: how long requests wait, how long the model takes, what serves."""

from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram

__all__ = ["Measures"]

_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Measures:
    """The measures of one model's runner.

    Attributes
    ----------
    registry
        Where Prometheus finds them.
    """

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        self._model = model
        self._queue = self._histogram("queue_seconds", "from a request's receipt to the call of the model", _SECONDS)
        self._elapsed = self._histogram("elapsed_seconds", "inside the model, a batch", _SECONDS)
        self._sizes = self._histogram("batch_size", "requests scored together", _SIZES)
        self._version = Gauge(
            "birdwatch_runner_version_info",
            "the version in force",
            ["model", "version", "target"],
            registry=self.registry,
        )

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        made = Histogram(f"birdwatch_runner_{name}", about, ["model"], registry=self.registry, buckets=buckets)
        return made.labels(self._model)

    def serves(self, version: str, target: str) -> None:
        """Take note of the version that is now in force."""
        self._version.clear()
        self._version.labels(self._model, version, target).set(1)

    def scored(self, queued: list[float], elapsed: float | None) -> None:
        """Take note of a batch: how long each request waited, and the seconds inside the model, if it was called."""
        for seconds in queued:
            self._queue.observe(seconds)
        if elapsed is not None:
            self._elapsed.observe(elapsed)
            self._sizes.observe(len(queued))
