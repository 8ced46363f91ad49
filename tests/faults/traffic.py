"""Sends the requests of a ledger to Kafka by a client that is not Birdwatch's, and notes what the brokers acknowledge."""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

from confluent_kafka import Producer

from .ledger import Ledger

__all__ = ["Traffic"]


class Traffic:
    """Sends the requests of a ledger as their event time comes, from a thread of its own; use it as a context.

    It keeps what the brokers do not take, for as long as it lasts: nothing that was not acknowledged is given up.

    Parameters
    ----------
    servers
        HOST:PORT of the brokers.
    ledger
        What to send; it notes what is acknowledged.
    """

    def __init__(self, servers: str, ledger: Ledger) -> None:
        self.ledger = ledger
        self.sent = 0
        self._refused: list[str] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send, name="traffic")
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 0,
                "queue.buffering.max.messages": 5_000_000,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self.flush()

    def _send(self) -> None:
        while not self._ending.wait(0.01):
            self.send(int((time.time() - self.ledger.start) * self.ledger.rate))

    def send(self, until: int) -> None:
        """Send the requests before this number that were not sent yet."""
        for n in range(self.sent, until):
            key = self.ledger.id_of(n).encode()
            for part, (stream, value) in enumerate(self.ledger.messages(n)):
                self._producer.produce(stream, value, key, on_delivery=self._delivered(part, n))
            self._producer.poll(0)
        self.sent = max(self.sent, until)
        self._producer.poll(0)

    def skip(self) -> None:
        """Send nothing of what should have been sent by now and was not."""
        self.sent = max(self.sent, int((time.time() - self.ledger.start) * self.ledger.rate))

    def produce(self, stream: str, value: bytes) -> None:
        """Send something that is none of the ledger's."""
        self._producer.produce(stream, value)

    def flush(self) -> None:
        """Wait until the brokers have taken all that was sent."""
        assert self._producer.flush(300) == 0, "the brokers do not take the traffic"
        assert self._refused == []

    def _delivered(self, part: int, n: int) -> Callable[[Any, Any], None]:
        def delivered(error: Any, _message: Any) -> None:
            if error is None:
                self.ledger.acknowledge(part, n)
            else:
                self._refused.append(str(error))

        return delivered
