"""Streams in Apache Kafka: ``kafka://HOST:PORT,HOST:PORT?property=value``.

A stream is a topic. Every property of librdkafka may stand in the address, such as
``security.protocol=SASL_SSL&sasl.mechanisms=PLAIN&sasl.username=me&sasl.password=%26secret``; special characters are
percent-encoded. ``partitions=N`` says how many partitions a topic gets that an append creates; without it, one. All that
belongs to a request has one key, so streams that are joined by request need the same number.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)

# Its types leave out that these two are public, and documented as such.
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from birdwatch.errors import AddressError
from birdwatch.streams.base import Partition, Positions
from birdwatch.streams.kafka_address import KafkaAddress
from birdwatch.streams.kafka_reader import KafkaReader

__all__ = ["KafkaStreams"]

_ANSWER_SECONDS = 10.0
_ANY = -1  # the partition that belongs to the key

# Nobody waits half a minute for a record; what the brokers have not taken by then is an error.
_PRODUCER = {
    "acks": "all",
    "enable.idempotence": "true",
    "delivery.timeout.ms": "30000",
    "linger.ms": "0",
    "partitioner": "murmur2_random",  # that of the Java clients: their records and ours meet in one partition
}


class KafkaStreams:
    """Topics of an Apache Kafka cluster; threads may share one object.

    Parameters
    ----------
    address
        ``kafka://HOST:PORT,…?property=value&…``.

    Attributes
    ----------
    address
        The same, with passwords and secrets replaced by ``***``.

    Raises
    ------
    AddressError
        A property is unknown to librdkafka, has a value it refuses, or is one that Birdwatch sets itself.
    """

    def __init__(self, address: str) -> None:
        self._at = KafkaAddress.parse(address)
        self.address = self._at.redacted
        try:
            self._admin = AdminClient(self._at.client())
        except (KafkaException, TypeError, ValueError) as error:
            raise AddressError(f"{self.address}: {self._at.explain(error)}") from error
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._existing: set[str] = set()

    def append(self, stream: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
        """Write (key, value) pairs; returns when all in-sync replicas have all of them.

        Messages with an empty key go to any partition.

        Raises
        ------
        StreamError
            One was not delivered; others of the batch may have been.
        """
        self._append(stream, [(key, value, _ANY) for key, value in messages])

    def broadcast(self, stream: str, key: bytes, value: bytes) -> None:
        """Write one message to every partition; returns when all in-sync replicas have all of them.

        Raises
        ------
        StreamError
            One was not delivered; others may have been.
        """
        with self._lock:
            try:
                self._ensure(stream)
            except KafkaException as error:
                raise self._at.error(error, f"making {stream}") from error
        self._append(stream, [(key, value, number) for _, number in self._of([stream])])

    def _append(self, stream: str, rows: list[tuple[bytes, bytes, int]]) -> None:
        if not rows:
            return
        errors: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                errors.append(error)

        with self._lock:
            try:
                self._ensure(stream)
                if self._producer is None:
                    self._producer = Producer(self._at.client(_PRODUCER))
                for key, value, number in rows:
                    self._produce(stream, key or None, value, number, delivered)
                while self._producer.flush(1.0):
                    pass
            except KafkaException as error:
                raise self._at.error(error, f"appending to {stream}") from error
        if errors:
            raise self._at.error(errors[0], f"appending to {stream}, {len(errors)} of {len(rows)} messages")

    def reader(
        self, streams: Sequence[str], *, group: str | None = None, start: Literal["earliest", "latest"] = "earliest"
    ) -> KafkaReader:
        """Open a reader.

        With a group, the partitions are shared among its readers (assignor ``range``: one reader holds partition i of
        all its streams). Without one, the reader has them all. Streams, and partitions, that appear later are taken up
        within a few seconds, from their beginning.
        """
        return KafkaReader(self._at, streams, group=group, begin=self.ends(streams) if start == "latest" else {})

    def names(self) -> list[str]:
        """Name the topics that exist, sorted, without Kafka's own."""
        return sorted(name for name in self._partitions() if not name.startswith("__"))

    def ends(self, streams: Sequence[str]) -> Positions:
        """Give the offset that the next message of each partition will have."""
        latest: Any = OffsetSpec
        asked = {TopicPartition(*partition): latest.latest() for partition in self._of(streams)}
        if not asked:
            return {}
        try:
            answers = self._admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS)
            return {Partition(at.topic, at.partition): answer.result().offset for at, answer in answers.items()}
        except KafkaException as error:
            raise self._at.error(error, f"asking for the ends of {', '.join(streams)}") from error

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; partitions without a commit are left out."""
        asked = [TopicPartition(*partition) for partition in self._of(streams)]
        if not asked:
            return {}
        try:
            consumer = Consumer(self._at.client({"group.id": group}))
            try:
                answers = consumer.committed(asked, timeout=_ANSWER_SECONDS)
            finally:
                consumer.close()
        except KafkaException as error:
            raise self._at.error(error, f"asking what the group {group!r} has committed") from error
        return {Partition(at.topic, at.partition): at.offset for at in answers if at.offset != OFFSET_INVALID}

    def close(self) -> None:
        """Let go of the connections; everything appended has been delivered."""
        with self._lock:
            self._producer = None

    def _produce(self, stream: str, key: bytes | None, value: bytes, number: int, delivered: Any) -> None:
        assert self._producer is not None  # noqa: S101 - `append` made it
        while True:
            try:
                self._producer.produce(stream, value, key, number, on_delivery=delivered)
            except BufferError:
                # The queue to the brokers is full: wait for some to be delivered.
                self._producer.poll(0.1)
            else:
                return

    def _ensure(self, stream: str) -> None:
        if stream in self._existing:
            return
        if stream not in self._partitions():
            topic = NewTopic(stream, num_partitions=self._at.partitions)
            try:
                self._admin.create_topics([topic], operation_timeout=_ANSWER_SECONDS)[stream].result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody was faster
                    raise
        self._existing.add(stream)

    def _of(self, streams: Sequence[str]) -> list[Partition]:
        there = self._partitions()
        return [Partition(stream, number) for stream in streams for number in range(there.get(stream, 0))]

    def _partitions(self) -> dict[str, int]:
        """Give the number of partitions by topic. All are asked for: to name one could create it."""
        try:
            topics = self._admin.list_topics(timeout=_ANSWER_SECONDS).topics
        except KafkaException as error:
            raise self._at.error(error, "asking for the topics") from error
        return {name: len(topic.partitions) for name, topic in topics.items()}
