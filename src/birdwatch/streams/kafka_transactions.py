"""Kafka's transactions: messages, and the offsets of the reader they were made from, all of them or none.

A member of the group that has been replaced without knowing it cannot write: the offsets are sent with the generation of
the group for which they hold, and the coordinator refuses those of an older one.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

# ruff: noqa: SLF001 - librdkafka's names for its own errors begin with an underscore
from birdwatch.errors import MovedError, StreamError
from birdwatch.streams.base import Committed, Entry, Partition
from birdwatch.streams.kafka_address import KafkaAddress
from birdwatch.streams.kafka_produce import PRODUCER, is_placed, produce
from birdwatch.streams.kafka_reader import KafkaReader
from birdwatch.streams.kafka_topics import KafkaTopics

__all__ = ["KafkaTransactions"]

_PRODUCER: Final = {
    **PRODUCER,
    "linger.ms": "5",
    # Whoever takes over the partitions of a member that died in the midst of one waits so long.
    "transaction.timeout.ms": "10000",
    # A coordinator is remembered so long, also one that is gone: asking it never ends (librdkafka's issue 5511).
    "topic.metadata.refresh.interval.ms": "1000",
    "metadata.max.age.ms": "2000",
}
_ANSWER_SECONDS = 30.0
_OFFSETS_SECONDS: Final = 10.0
_MOVED: Final = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.PRODUCER_FENCED,
    KafkaError._FENCED,
)


class KafkaTransactions:
    """Writes for one reader, from its thread; opened by `KafkaStreams.transactions`.

    Parameters
    ----------
    at
        Where Kafka is.
    topics
        Its topics.
    reader
        Whose offsets are kept.
    """

    def __init__(self, at: KafkaAddress, topics: KafkaTopics, reader: KafkaReader) -> None:
        self._at = at
        self._topics = topics
        self._reader = reader
        self._producer: Producer | None = None
        self._cut_off = False

    def write(self, entries: Sequence[Entry], kept: Mapping[Partition, Committed]) -> None:
        """Write the entries, and keep these offsets and notes for the reader's group.

        Raises
        ------
        MovedError
            The partitions are another member's by now, or about to be; nothing was written.
        StreamError
            Nothing was written, for another reason. Should a broker have gone away in the very moment of the commit, it
            may have been; then the reader says that the partitions were taken and given anew, with what is committed.
        """
        if not self._reader.holds(kept):
            raise MovedError(f"{self._doing}: the partitions are not this reader's any more; nothing was written")
        for stream in {entry.stream for entry in entries}:
            if not self._topics.known(stream):
                self._topics.ensure(stream)
        try:
            producer = self._ready()
            producer.begin_transaction()
        except KafkaException as error:
            self._producer = None
            raise self._at.error(error, self._doing) from error
        try:
            doubtful = _hand_over(producer, entries)
            offsets = [TopicPartition(*at, committed.offset, committed.note) for at, committed in kept.items()]
            if offsets:
                membership = self._reader.membership()
                self._insist(lambda left: _send_offsets(producer, offsets, membership, left))
            # A timeout of the commit itself would leave it open whether it happened: all is sent before.
            self._insist(lambda left: _flush(producer, left, doubtful))
        except TimeoutError as error:
            self._producer = None  # it still asks; the broker drops what was begun when its time is over
            raise StreamError(f"kafka://{self._at.servers}, {self._doing}: {error}; nothing was written") from error
        except KafkaException as error:
            raise self._given_up(producer, error) from error
        self._commit(producer, kept)

    def close(self) -> None:
        """Let go of the connections; what is not committed is dropped."""
        self._producer = None

    @property
    def _doing(self) -> str:
        return f"writing for the group {self._reader.group!r}"

    def _ready(self) -> Producer:
        if self._producer is not None:
            self._producer.poll(0)  # hear what happened meanwhile
            if self._cut_off:
                # Made anew: one that has outlived its brokers was seen to wait for them for ever.
                self._producer = None
        if self._producer is None:
            self._cut_off = False
            # Each has an id of its own: who is replaced is known by the group's generation.
            identity = {"transactional.id": f"{self._reader.group}-{uuid.uuid4().hex}"}
            producer = Producer(self._at.client({**_PRODUCER, **identity, "error_cb": self._heard}))
            self._insist(producer.init_transactions)
            self._producer = producer
        return self._producer

    def _heard(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            self._cut_off = True

    def _insist(self, call: Callable[[float], Any]) -> None:
        """Call until it succeeds, as long as it may: a coordinator that moves to another broker is found again."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            try:
                call(max(deadline - time.monotonic(), 0.1))
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise
            else:
                return

    def _commit(self, producer: Producer, kept: Mapping[Partition, Committed]) -> None:
        try:
            self._insist(producer.commit_transaction)
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                raise self._given_up(producer, error) from error
            self._producer = None
            if error.args[0].code() in _MOVED:
                raise self._error(error) from error
            self._reader.read_anew(kept)
            raise StreamError(
                f"{self._at.error(error, self._doing)}; whether it was written will be seen from what the group has committed"
            ) from error
        self._reader.note_kept(kept)

    def _given_up(self, producer: Producer, error: KafkaException) -> StreamError:
        """Drop what was begun, and say why."""
        if error.args[0].fatal():
            self._producer = None
        else:
            try:
                self._insist(producer.abort_transaction)
            except KafkaException:
                self._producer = None  # the broker drops it when its time is over
        return self._error(error)

    def _error(self, error: KafkaException) -> StreamError:
        said = f"{self._at.error(error, self._doing)}; nothing was written"
        return MovedError(said) if error.args[0].code() in _MOVED else StreamError(said)


def _send_offsets(producer: Producer, offsets: list[TopicPartition], membership: Any, seconds: float) -> None:
    """Add offsets to the transaction, and see that this ends: librdkafka may wait for ever (its issue 5456).

    Raises
    ------
    TimeoutError
        It goes on waiting, in a thread that keeps the producer: that one cannot be used again.
    """
    failed: list[BaseException] = []

    def send() -> None:
        try:
            producer.send_offsets_to_transaction(offsets, membership, min(seconds, _OFFSETS_SECONDS))
        except BaseException as error:  # noqa: BLE001 - it is raised in the other thread
            failed.append(error)

    sending = threading.Thread(target=send, name="offsets", daemon=True)
    sending.start()
    sending.join(1.1 * _OFFSETS_SECONDS)
    if sending.is_alive():
        raise TimeoutError(f"the group's coordinator did not answer within {_OFFSETS_SECONDS:.0f} s")
    if failed:
        raise failed[0]


def _hand_over(producer: Producer, entries: Sequence[Entry]) -> list[Any]:
    """Hand over the entries; give where, once they are delivered, those will be found of which nobody knows where they lie."""
    doubtful: list[Any] = []

    def delivered(error: KafkaError | None, message: Any) -> None:
        if error is None and not is_placed(message):
            doubtful.append(message)

    for entry in entries:
        produce(producer, entry, delivered)
    return doubtful


def _flush(producer: Producer, seconds: float, doubtful: Sequence[Any]) -> None:
    if producer.flush(seconds):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    if doubtful:
        raise KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER))
