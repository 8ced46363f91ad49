"""How messages are handed to Kafka, within a transaction or without one."""

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, Producer

from birdwatch.streams.base import Entry

__all__ = ["PRODUCER", "is_placed", "produce"]

PRODUCER: Final = {
    "acks": "all",
    "partitioner": "murmur2_random",  # that of the Java clients: their records and ours meet in one partition
}
"""What every producer is told."""

_ANY: Final = -1  # the partition that belongs to the key
_FULL_SECONDS: Final = 0.1


def produce(
    producer: Producer, entry: Entry, delivered: Callable[[KafkaError | None, Any], None] | None = None
) -> None:
    """Put an entry into a producer's queue to the brokers; while that is full, wait for some to be delivered."""
    number = _ANY if entry.partition is None else entry.partition
    key = entry.key or None
    while True:
        try:
            producer.produce(entry.stream, entry.value, key, number, on_delivery=delivered, headers=list(entry.headers))
        except BufferError:
            producer.poll(_FULL_SECONDS)
        else:
            return


def is_placed(message: Any) -> bool:
    """Say whether a broker has told where a delivered message lies; one for which it has not may be lost.

    An idempotent producer has several batches under way. A topic that has just been made may refuse the first, being not
    ready yet, and take the second. When the first comes again it is out of order, which librdkafka takes for a sign that it
    was there before: delivered without an error, and without an offset.
    """
    offset = message.offset()
    return offset is not None and offset >= 0
