"""What the gateway counts and times about itself, for ``/metrics``."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Meters"]

_LATENCIES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_IN_MEMORY: Final = (0.00001, 0.0001, 0.001, 0.01, 0.1, 1.0)


class Meters:
    """The metrics of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "birdwatch_gateway_requests",
            "Rows asked for, by protocol: v1 is /v1/score, v2 the Open Inference Protocol.",
            ["protocol"],
            registry=self.registry,
        )
        self.responses = Counter(
            "birdwatch_gateway_responses", "HTTP responses, by status.", ["status"], registry=self.registry
        )
        self.answers = Counter(
            "birdwatch_gateway_answers", "Answers, by model and reason.", ["model", "reason"], registry=self.registry
        )
        self.latency = Histogram(
            "birdwatch_gateway_latency_seconds",
            "From receipt to the answer.",
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self.features = Histogram(
            "birdwatch_gateway_features_seconds",
            "In the features' plug-in, a request.",
            buckets=_IN_MEMORY,
            registry=self.registry,
        )
        self.ready = Gauge("birdwatch_ready", "1 where /readyz answers 200, else 0.", registry=self.registry)
        self.in_flight = Gauge("birdwatch_gateway_in_flight", "Requests that wait.", registry=self.registry)
        self.in_flight_limit = Gauge(
            "birdwatch_gateway_in_flight_limit", "How many requests may wait.", registry=self.registry
        )
        self.unreadable = Counter(
            "birdwatch_gateway_unreadable", "Messages that could not be read.", registry=self.registry
        )
        self.unconfirmed = Counter(
            "birdwatch_gateway_unconfirmed",
            "Defaults given at the deadline although the log could not be written or read in time.",
            registry=self.registry,
        )
        self.contradicted = Gauge(
            "birdwatch_gateway_contradicted",
            "Of those: requests whose first Result in the log then was another one.",
            registry=self.registry,
        )
        self.unwritten = Counter(
            "birdwatch_gateway_unwritten",
            "Messages that could not be put on their stream, by stream.",
            ["stream"],
            registry=self.registry,
        )
