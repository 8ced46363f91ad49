"""Reading topics of Kafka, in a consumer group or alone."""

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

# ruff: noqa: SLF001 - librdkafka's names for its own errors begin with an underscore
from birdwatch.errors import StreamError
from birdwatch.streams.base import Message, Partition, Positions
from birdwatch.streams.kafka_address import KafkaAddress

__all__ = ["KafkaReader"]

_LOG: Final = logging.getLogger("birdwatch.kafka")
_ANSWER_SECONDS: Final = 10.0
_LOOK_SOON_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 5.0

_CONSUMER: Final = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "partition.assignment.strategy": "range",
    # One that was killed and is started again waits so long for its partitions.
    "session.timeout.ms": 6000,
    # A group learns of new topics and partitions only this often.
    "topic.metadata.refresh.interval.ms": 2000,
}
_NOT_THERE_YET: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
_MOVED: Final = (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS)


class KafkaReader:
    """Reads topics for one thread; opened by `KafkaStreams.reader`.

    Parameters
    ----------
    at
        Where Kafka is.
    streams
        The topics.
    group
        The readers to share the partitions with, or None to read all of them.
    begin
        Where to begin in partitions without a commit; the others begin at their first message.
    """

    def __init__(self, at: KafkaAddress, streams: Sequence[str], *, group: str | None, begin: Positions) -> None:
        self._at = at
        self._streams = list(streams)
        self._group = group
        self._begin = dict(begin)
        self._sought: Positions = {}
        self._next: Positions = {}
        self._left: Positions = {}
        self._fault: StreamError | None = None
        self._look_at = -float("inf")
        self._closed = False
        try:
            # Without a group nothing is ever committed or joined, but librdkafka wants a name.
            self._consumer = Consumer(at.client({**_CONSUMER, "group.id": group or "birdwatch"}))
            self._consumer.list_topics(timeout=_ANSWER_SECONDS)  # later, brokers may come and go
            # By a connection of its own: on the consumer's a question waits behind the fetch, half a second while nothing
            # is written.
            self._topics = AdminClient(at.client()) if group is None else None
            if group is not None:
                self._consumer.subscribe(self._streams, on_assign=self._on_assign, on_revoke=self._on_revoke)
        except KafkaException as error:
            raise self._error(error) from error

    def poll(self, limit: int = 1000, timeout: float = 1.0) -> list[Message]:
        """Give the next messages, at most ``limit``; wait up to ``timeout`` seconds for the first; empty if none.

        While no broker can be reached it gives nothing and goes on trying, as librdkafka's log says.

        Raises
        ------
        StreamError
            Kafka refuses to give messages; those before have been given.
        """
        deadline = time.monotonic() + timeout
        while True:
            if self._fault is not None:
                fault, self._fault = self._fault, None
                raise fault
            self._look()
            messages = self._consume(limit, max(deadline - time.monotonic(), 0.0))
            if messages or (self._fault is None and time.monotonic() >= deadline):
                return messages

    def positions(self) -> Positions:
        """Give the next offset to read of every partition that this reader holds."""
        return dict(self._next)

    def seek(self, positions: Positions) -> None:
        """Read on from these offsets; those of partitions that this reader does not hold yet count when it does."""
        wanted = {partition: offset for partition, offset in positions.items() if partition.stream in self._streams}
        held = {partition: offset for partition, offset in wanted.items() if partition in self._next}
        self._sought |= {partition: offset for partition, offset in wanted.items() if partition not in held}
        if held:
            # Assigned anew rather than sought: that works at any moment, and drops what was fetched from elsewhere.
            self._assign(self._next | held)

    def commit(self, positions: Positions | None = None) -> None:
        """Keep positions for the reader's group: those at which it stands, unless others are given.

        Those of partitions that it does not hold, or that have just moved to another reader, are not kept: that one
        reads them again.

        Raises
        ------
        ValueError
            The reader was opened without a group.
        """
        if self._group is None:
            raise ValueError("a reader without a group has nobody to commit for: open it with group=NAME")
        kept = self._next
        if positions is not None:
            kept = {partition: offset for partition, offset in positions.items() if partition in self._next}
        if not kept:
            return
        try:
            answers: Any = self._consumer.commit(offsets=_listed(kept), asynchronous=False)
            refused = [answer.error for answer in answers or () if answer.error is not None]
        except KafkaException as error:
            refused = [error.args[0]]
        for reason in refused:
            if reason.code() not in _MOVED:
                raise self._error(reason)
            _LOG.warning("group %s: partitions have moved, what was not committed is read again", self._group)

    def close(self) -> None:
        """Leave the group, and let go of the connections."""
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def _consume(self, limit: int, timeout: float) -> list[Message]:
        # Not consume(limit, timeout): that waits until there are `limit` of them, or for the whole time.
        wait = timeout if self._group is not None else min(timeout, _LOOK_SOON_SECONDS)
        try:
            found: list[Any] = self._consumer.consume(1, wait)
            if found and limit > 1:
                found += self._consumer.consume(limit - 1, 0.0)
        except KafkaException as error:
            raise self._error(error) from error
        messages: list[Message] = []
        for each in found:
            fault = each.error()
            if fault is None:
                partition = Partition(each.topic(), each.partition())
                if partition in self._next:  # else it has been taken away since it was fetched
                    self._next[partition] = each.offset() + 1
                    messages.append(Message(*partition, each.offset(), each.key() or b"", each.value() or b""))
            elif fault.code() not in _NOT_THERE_YET:
                self._fault = self._error(fault)
        return messages

    def _look(self) -> None:
        """Take up partitions that have appeared, for a reader without a group."""
        now = time.monotonic()
        if self._topics is None or now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        try:
            topics = self._topics.list_topics(timeout=_LOOK_SECONDS).topics
        except KafkaException as error:
            _LOG.warning("%s", self._error(error))
            return
        there = [
            Partition(name, number) for name in self._streams if name in topics for number in topics[name].partitions
        ]
        fresh = {partition: self._first(partition, {}) for partition in there if partition not in self._next}
        if fresh:
            self._assign(self._next | fresh)
        if {partition.stream for partition in there} != set(self._streams):
            self._look_at = now + _LOOK_SOON_SECONDS

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        committed: Positions = {}
        if given:
            answers = consumer.committed(given, timeout=_ANSWER_SECONDS)
            committed = {Partition(at.topic, at.partition): at.offset for at in answers if at.offset != OFFSET_INVALID}
        partitions = [Partition(at.topic, at.partition) for at in given]
        self._assign({partition: self._first(partition, committed) for partition in partitions})

    def _on_revoke(self, consumer: Consumer, taken: list[TopicPartition]) -> None:
        # All are taken away at each change in the group, and most come back at once: what has been given is not given
        # again then, unless somebody else has committed more in between.
        partitions = {Partition(at.topic, at.partition) for at in taken}
        self._left |= {partition: at for partition, at in self._next.items() if partition in partitions}
        self._next = {partition: at for partition, at in self._next.items() if partition not in partitions}
        consumer.unassign()

    def _first(self, partition: Partition, committed: Positions) -> int:
        if partition in self._sought:
            return self._sought[partition]
        read = [known[partition] for known in (committed, self._left) if partition in known]
        return max(read) if read else self._begin.get(partition, 0)

    def _assign(self, positions: Positions) -> None:
        self._next = dict(positions)
        self._sought = {partition: at for partition, at in self._sought.items() if partition not in self._next}
        self._consumer.assign(_listed(self._next))

    def _error(self, error: KafkaError | KafkaException) -> StreamError:
        return self._at.error(error, f"reading {', '.join(self._streams)}")


def _listed(positions: Positions) -> list[TopicPartition]:
    return [TopicPartition(*partition, offset) for partition, offset in positions.items()]
