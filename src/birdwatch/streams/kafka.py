"""Streams in Apache Kafka: ``kafka://HOST:PORT,HOST:PORT?property=value``.

A stream is a topic. Every property of librdkafka may stand in the address, such as
``security.protocol=SASL_SSL&sasl.mechanisms=PLAIN&sasl.username=me&sasl.password=%26secret``; special characters are
percent-encoded. ``partitions=N`` says how many partitions a topic gets that an append makes; without it, one. All that
belongs to a request has one key, so streams that are joined by request need the same number; ``control`` and ``alerts``
always get one. ``replication=N`` says on how many brokers each lies, and from three on two must have a message before it
counts; without it the brokers decide.
"""

import threading
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final, Literal

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from birdwatch.errors import StreamError
from birdwatch.streams.base import Entry, Headers, OnLost, Partition, Positions, Reader
from birdwatch.streams.kafka_address import KafkaAddress
from birdwatch.streams.kafka_produce import PRODUCER, is_placed, produce
from birdwatch.streams.kafka_reader import KafkaReader
from birdwatch.streams.kafka_topics import JOINED, KafkaTopics
from birdwatch.streams.kafka_transactions import KafkaTransactions

__all__ = ["KafkaStreams"]

_ANSWER_SECONDS = 10.0
_TIMES: Final = 3
"""So often a message is sent of which no broker tells where it lies; after that it is not delivered."""

# Nobody waits half a minute for a record; what the brokers have not taken by then is an error.
_PRODUCER: Final = {
    **PRODUCER,
    "enable.idempotence": "true",
    "delivery.timeout.ms": "30000",
    "linger.ms": "0",
    # All who write must soon know of partitions that were added: what belongs together is to meet in one.
    "topic.metadata.refresh.interval.ms": "2000",
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
        self._topics = KafkaTopics(self._at)
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def append(
        self, stream: str, messages: Iterable[tuple[bytes, bytes]], *, headers: Iterable[Headers] | None = None
    ) -> None:
        """Write (key, value) pairs; returns when all in-sync replicas have all of them.

        Messages with an empty key go to any partition. A topic that does not exist is made, for no messages too.

        Raises
        ------
        StreamError
            One was not delivered; others of the batch may have been.
        """
        pairs = list(messages)
        if not pairs:
            self._topics.ensure(stream)
        beside = [()] * len(pairs) if headers is None else list(headers)
        entries = [Entry(stream, *pair, headers=said) for pair, said in zip(pairs, beside, strict=True)]
        self._append(stream, entries)

    def broadcast(self, stream: str, key: bytes, value: bytes) -> None:
        """Write one message to every partition; returns when all in-sync replicas have all of them.

        Raises
        ------
        StreamError
            One was not delivered; others may have been.
        """
        self._append(stream, [Entry(stream, key, value, number) for number in range(self._topics.ensure(stream))])

    def reader(
        self,
        streams: Sequence[str],
        *,
        group: str | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        on_lost: OnLost = "earliest",
    ) -> KafkaReader:
        """Open a reader.

        With a group, the partitions are shared among its readers (assignor ``range``: one reader holds partition i of
        all its streams). Without one, the reader has them all. Streams, and partitions, that appear later are taken up
        within a few seconds, from their beginning.

        Raises
        ------
        StreamError
            Kafka cannot be reached; or, with a group, joined streams differ in their numbers of partitions.
        """
        if group is not None:
            self.check_partitions([stream for stream in streams if stream in JOINED])
        begin = self.ends(streams) if start == "latest" else {}
        return KafkaReader(self._at, self._topics, streams, group=group, begin=begin, on_lost=on_lost)

    def names(self) -> list[str]:
        """Name the topics that exist, sorted, without Kafka's own."""
        return sorted(name for name in self._topics.partitions() if not name.startswith("__"))

    def begins(self, streams: Sequence[str]) -> Positions:
        """Give the first offset of each partition that is still there, or will be."""
        return self._topics.begins(self._topics.of(streams))

    def ends(self, streams: Sequence[str]) -> Positions:
        """Give the offset that the next message of each partition will have."""
        return self._topics.ends(self._topics.of(streams))

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; partitions without a commit are left out."""
        asked = [TopicPartition(*partition) for partition in self._topics.of(streams)]
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

    def check_partitions(self, streams: Sequence[str]) -> None:
        """See that streams that are joined have the same number of partitions; those that do not exist yet are left out.

        Raises
        ------
        StreamError
            They differ; it names each with its count, and the command that mends it.
        """
        if len(streams) > 1:
            self._topics.check(streams)

    def transactions(self, reader: Reader) -> KafkaTransactions:
        """Open what writes messages and the offsets of a reader of these streams together.

        Raises
        ------
        StreamError
            The reader has no group.
        """
        assert isinstance(reader, KafkaReader)  # noqa: S101 - one of ours
        if reader.group is None:
            raise StreamError("a reader without a group keeps no offsets: open it with group=NAME")
        return KafkaTransactions(self._at, self._topics, reader)

    def close(self) -> None:
        """Let go of the connections; everything appended has been delivered."""
        with self._lock:
            self._producer = None

    def _append(self, stream: str, entries: list[Entry]) -> None:
        if not entries:
            return
        if not self._topics.known(stream):
            self._topics.ensure(stream)
        try:
            errors = self._deliver(entries)
        except KafkaException as error:
            raise self._at.error(error, f"appending to {stream}") from error
        if errors:
            self._topics.forget(stream)  # perhaps it was deleted: the next append looks
            raise self._at.error(errors[0], f"appending to {stream}, {len(errors)} of {len(entries)} messages")

    def _deliver(self, entries: list[Entry]) -> list[KafkaError]:
        errors: list[KafkaError] = []
        doubtful: list[Entry] = []

        def delivered(entry: Entry, error: KafkaError | None, message: Any) -> None:
            if error is not None:
                errors.append(error)
            elif not is_placed(message):
                doubtful.append(entry)

        with self._lock:
            if self._producer is None:
                self._producer = Producer(self._at.client(_PRODUCER))
            try:
                for _ in range(_TIMES):
                    for entry in entries:
                        produce(self._producer, entry, partial(delivered, entry))
                    while self._producer.flush(1.0):
                        pass
                    entries, doubtful = doubtful, []  # rather twice than lost
                errors += [KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER) for _ in entries]
            except (KafkaException, SystemError) as error:
                # It can do nothing more, and the next append makes another. With deliveries to be told of in the same
                # moment, the fatal error comes as the cause of a SystemError.
                self._producer = None
                if isinstance(error.__cause__, KafkaException):
                    raise error.__cause__ from None
                raise
        return errors
