"""Topics of Kafka: which there are, how far each reaches, and how they are made."""

import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition

# Its types leave out that these are public, and documented as such.
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]

from birdwatch.errors import AddressError, StreamError
from birdwatch.streams.base import Partition, Positions
from birdwatch.streams.kafka_address import KafkaAddress

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["JOINED", "KafkaTopics", "Topic"]

JOINED: Final = frozenset({"requests", "scores", "canary", "results", "metrics", "outcomes"})
"""Streams that are joined by request: partition i of each holds the same requests."""

_ANSWER_SECONDS = 10.0
_SOON_SECONDS: Final = 0.1

_BETWEEN_LEADERS: Final = (
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)

_ALWAYS: Final = "-1"
_DAYS_30: Final = str(30 * 86_400_000)

# The order of control and alerts counts, and each is a history: none is dropped because a later one has its key.
_ALONE: Final = frozenset({"control", "alerts"})
_SETTINGS: Final = {
    "control": {"cleanup.policy": "delete", "retention.ms": _ALWAYS, "retention.bytes": _ALWAYS},
    "alerts": {"cleanup.policy": "delete"},
    # What is counted is read again by whoever judges: it outlives the longest outage of that.
    "panes": {"cleanup.policy": "delete", "retention.ms": _DAYS_30},
    "deadletters": {"cleanup.policy": "delete", "retention.ms": _DAYS_30},
}


class Topic(NamedTuple):
    """A topic that exists; one that was deleted and made anew has another identity."""

    identity: str
    partitions: int


class KafkaTopics:
    """The topics of one cluster; threads may share one object.

    Parameters
    ----------
    at
        Where Kafka is.

    Raises
    ------
    AddressError
        A property of the address is unknown to librdkafka, or has a value it refuses.
    """

    def __init__(self, at: KafkaAddress) -> None:
        self._at = at
        try:
            self._admin = AdminClient(at.client())
        except (KafkaException, TypeError, ValueError) as error:
            raise AddressError(f"{at.redacted}: {at.explain(error)}") from error
        self._lock = threading.Lock()
        self._existing: set[str] = set()

    def partitions(self) -> dict[str, int]:
        """Give the number of partitions by topic. All are asked for: to name one could create it."""
        try:
            topics = self._admin.list_topics(timeout=_ANSWER_SECONDS).topics
        except KafkaException as error:
            raise self._at.error(error, "asking for the topics") from error
        return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}

    def of(self, names: Sequence[str]) -> list[Partition]:
        """Give the partitions of those that exist."""
        there = self.partitions()
        return [Partition(name, number) for name in names for number in range(there.get(name, 0))]

    def begins(self, partitions: Iterable[Partition]) -> Positions:
        """Give the first offset of each that is still there, or will be."""
        return self._offsets(partitions, _spec("earliest"), "beginnings")

    def ends(self, partitions: Iterable[Partition]) -> Positions:
        """Give the offset that the next message of each will have."""
        return self._offsets(partitions, _spec("latest"), "ends")

    def ask(self, names: Sequence[str]) -> "dict[str, Future[Any]]":
        """Ask what the cluster knows of topics, without waiting; `answer` reads what comes."""
        return self._admin.describe_topics(TopicCollection(list(names)), request_timeout=_ANSWER_SECONDS)

    def answer(self, asked: "dict[str, Future[Any]]") -> dict[str, Topic]:
        """Wait for what was asked; topics that do not exist are left out.

        Raises
        ------
        StreamError
            No broker answers, or the topics may not be described.
        """
        found = {}
        for name, future in asked.items():
            try:
                topic = future.result()
            except KafkaException as error:
                if error.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE):
                    continue
                raise self._at.error(error, f"asking for the topic {name}") from error
            found[name] = Topic(str(topic.topic_id), len(topic.partitions))
        return found

    def describe(self, names: Sequence[str]) -> dict[str, Topic]:
        """Say what the cluster knows of topics; those that do not exist are left out."""
        return self.answer(self.ask(names)) if names else {}

    def is_member(self, group: str, member: str) -> bool:
        """Ask the coordinator of a group whether it has this member."""
        try:
            asked = self._admin.describe_consumer_groups([group], request_timeout=_ANSWER_SECONDS)
            return member in {one.member_id for one in asked[group].result().members}
        except KafkaException as error:
            raise self._at.error(error, f"asking for the members of the group {group!r}") from error

    def check(self, names: Sequence[str]) -> None:
        """See that those that exist have the same number of partitions.

        Raises
        ------
        StreamError
            They differ.
        """
        there = self.partitions()
        counts = {name: there[name] for name in names if name in there}
        most = max(counts.values(), default=0)
        few = [name for name, count in counts.items() if count != most]
        if few:
            commands = "; ".join(f"{self._command} --alter --topic {name} --partitions {most}" for name in few)
            raise StreamError(
                f"kafka://{self._at.servers}: streams that are joined need the same number of partitions, and "
                f"{', '.join(f'{name} has {count}' for name, count in counts.items())}. What is in them already stays where "
                f"it is, so stop the writers and read all first; then: {commands}"
            )

    def ensure(self, name: str) -> int:
        """Make a topic if it is missing; give its number of partitions.

        Raises
        ------
        StreamError
            It cannot be made; names the command with which somebody else can.
        """
        with self._lock:
            there = self.partitions()
            if name not in there:
                self._create(name)
                deadline = time.monotonic() + _ANSWER_SECONDS
                # The brokers hear of it one after the other.
                while name not in (there := self.partitions()):
                    if time.monotonic() > deadline:
                        raise StreamError(f"kafka://{self._at.servers}: {name} was made, but no broker knows of it yet")
                    time.sleep(_SOON_SECONDS)
            self._existing.add(name)
            return there[name]

    def known(self, name: str) -> bool:
        """Tell whether `ensure` has seen the topic."""
        return name in self._existing

    def forget(self, name: str) -> None:
        """Look for the topic again when it is needed next: it may have been deleted."""
        self._existing.discard(name)

    @property
    def _command(self) -> str:
        return f"kafka-topics.sh --bootstrap-server {self._at.servers}"

    def _create(self, name: str) -> None:
        settings = dict(_SETTINGS.get(name, {}))
        if self._at.replication >= 3:
            settings["min.insync.replicas"] = "2"
        number = 1 if name in _ALONE else self._at.partitions
        topic = NewTopic(name, num_partitions=number, replication_factor=self._at.replication or -1, config=settings)
        try:
            seconds = {"operation_timeout": _ANSWER_SECONDS, "request_timeout": 2 * _ANSWER_SECONDS}
            self._admin.create_topics([topic], **seconds)[name].result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:  # somebody was faster
                return
            said = [f"{self._command} --create --topic {name} --partitions {number}"]
            said += [f"--replication-factor {self._at.replication}"] if self._at.replication else []
            said += [f"--config {key}={value}" for key, value in settings.items()]
            raise StreamError(
                f"{self._at.error(error, f'making the topic {name}, partitions: {number}')}; "
                f"or let somebody who may: {' '.join(said)}"
            ) from error

    def _offsets(self, partitions: Iterable[Partition], spec: Any, what: str) -> Positions:
        missing, found = set(partitions), Positions()
        deadline = time.monotonic() + _ANSWER_SECONDS
        while missing:
            asked = {TopicPartition(*partition): spec for partition in missing}
            for at, answer in self._admin.list_offsets(asked, request_timeout=_ANSWER_SECONDS).items():
                partition = Partition(at.topic, at.partition)
                try:
                    found[partition] = answer.result().offset
                except KafkaException as error:
                    # Without a leader for the moment: it is new, or a broker has gone away.
                    if error.args[0].code() in _BETWEEN_LEADERS and time.monotonic() < deadline:
                        continue
                    raise self._at.error(error, f"asking for the {what} of {at.topic}") from error
                missing.remove(partition)
            if missing:
                time.sleep(_SOON_SECONDS)
        return found


def _spec(name: str) -> Any:
    spec: Any = OffsetSpec  # whose types do not know its own methods
    return getattr(spec, name)()
