"""Reading topics of Kafka, in a consumer group or alone."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, repeat
from typing import Any, Final

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

# ruff: noqa: SLF001 - librdkafka's names for its own errors begin with an underscore
from birdwatch.errors import StreamError
from birdwatch.streams.base import Changes, Committed, Gap, Message, OnLost, Partition, Positions
from birdwatch.streams.kafka_address import KafkaAddress
from birdwatch.streams.kafka_log import LOG
from birdwatch.streams.kafka_share import KafkaShare, Log
from birdwatch.streams.kafka_topics import JOINED, KafkaTopics
from birdwatch.streams.kafka_watch import KafkaWatch

__all__ = ["KafkaReader"]

_ANSWER_SECONDS = 10.0
_STABLE_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 0.25
_BUSY_SECONDS: Final = 0.05

_CONSUMER: Final = {
    # What is not there any more is told of, never skipped.
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # So that a reader at the end knows it, also behind a transaction, whose end takes an offset of its own.
    "enable.partition.eof": True,
    "partition.assignment.strategy": "range",
    # One that was killed and is started again waits so long for its partitions.
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1500,
    # A group learns of new topics and partitions only this often.
    "topic.metadata.refresh.interval.ms": 2000,
    # Once 100,000 messages wait here, nothing is fetched for so long. By default it is a second, and whoever is behind would
    # read 100,000 a second at the most.
    "fetch.queue.backoff.ms": 20,
}
_NOT_THERE_YET: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
_NOT_THERE_ANY_MORE: Final = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
_Fetched: Final[Any] = KafkaMessage  # whose methods, as functions, are mapped over thousands at once
_MOVED: Final = (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS)


class KafkaReader:
    """Reads topics for one thread; opened by `KafkaStreams.reader`.

    Parameters
    ----------
    at
        Where Kafka is.
    topics
        Its topics.
    streams
        Which to read.
    group
        The readers to share the partitions with, or None to read all of them.
    begin
        Where to begin in partitions without a commit; the others begin at their first message.
    on_lost
        Where to go on when messages were gone before they were read.
    """

    def __init__(
        self,
        at: KafkaAddress,
        topics: KafkaTopics,
        streams: Sequence[str],
        *,
        group: str | None,
        begin: Positions,
        on_lost: OnLost,
    ) -> None:
        self.group = group
        self._at = at
        self._topics = topics
        self._streams = list(streams)
        self._watch = KafkaWatch(topics, streams)
        self._share = KafkaShare(begin, on_lost)
        self._start_at = 0.0
        self._paused: set[Partition] = set()
        self._member: tuple[str | None, Any] = (None, None)
        self._fault: StreamError | None = None
        self._closed = False
        try:
            # Without a group nothing is ever committed or joined, but librdkafka wants a name.
            self._consumer = Consumer(at.client({**_CONSUMER, "group.id": group or "birdwatch"}))
            self._consumer.list_topics(timeout=_ANSWER_SECONDS)  # later, brokers may come and go
            if group is not None:
                self._consumer.subscribe(
                    self._streams, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
                )
        except KafkaException as error:
            raise self._error(error) from error

    def poll(self, limit: int = 1000, timeout: float = 1.0) -> list[Message]:
        """Give the next messages, at most ``limit``; wait up to ``timeout`` seconds for the first; empty if none.

        While no broker can be reached it gives nothing and goes on trying, as librdkafka's log says.

        Raises
        ------
        StreamError
            Kafka refuses to give messages, or some were gone before they were read and the reader was opened with
            ``on_lost="stop"``; those before have been given.
        """
        deadline = time.monotonic() + timeout
        while True:
            if self._fault is not None:
                fault, self._fault = self._fault, None
                raise fault
            self._look()
            self._start()
            messages = self._consume(limit, max(deadline - time.monotonic(), 0.0))
            if messages or (self._fault is None and time.monotonic() >= deadline):
                return messages

    def positions(self) -> Positions:
        """Give the next offset to read of every partition that this reader holds."""
        return dict(self._share.next)

    def seek(self, positions: Positions) -> None:
        """Read on from these offsets; those of partitions that this reader does not hold yet count when it does."""
        if self._share.seek({at: offset for at, offset in positions.items() if at.stream in self._streams}):
            # Assigned anew rather than sought: that works at any moment, and drops what was fetched from elsewhere.
            self._assign()

    def commit(self, positions: Positions | None = None) -> None:
        """Keep positions for the reader's group: those at which it stands, unless others are given.

        Those of partitions that it does not hold, or that have just moved to another reader, are not kept: that one
        reads them again.

        Raises
        ------
        ValueError
            The reader was opened without a group.
        StreamError
            Kafka does not take them.
        """
        if self.group is None:
            raise ValueError("a reader without a group has nobody to commit for: open it with group=NAME")
        held = self._share.next
        kept = {at: offset for at, offset in (held if positions is None else positions).items() if at in held}
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
            LOG.warning("group %s: partitions have moved, what was not committed is read again", self.group)
        if not refused:
            self._share.kept |= {at: Committed(offset) for at, offset in kept.items()}

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Give nothing more of these, until they are resumed; a rebalance does not resume them."""
        fresh = set(partitions) - self._paused
        self._paused |= fresh
        held = fresh & self._share.next.keys()
        if held:
            self._consumer.pause([TopicPartition(*at) for at in held])

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Go on with what was paused."""
        wanted = self._paused & set(partitions)
        self._paused -= wanted
        held = wanted & self._share.next.keys()
        if held:
            self._consumer.resume([TopicPartition(*at) for at in held])

    def changes(self) -> Changes:
        """Give what happened to its partitions since this was last asked; see `birdwatch.streams.Reader.changes`.

        While a rebalance is under way nothing is held, so `positions` is empty.
        """
        return self._share.changes()

    def gaps(self) -> list[Gap]:
        """Give what was found missing since this was last asked."""
        return self._share.gaps()

    def confirm(self) -> bool:
        """Ask the group's coordinator whether this reader still is the member to whom its partitions were given.

        Raises
        ------
        StreamError
            The coordinator does not answer.
        """
        if self.group is None:
            return True
        name, _ = self._member
        return name is not None and self._consumer.memberid() == name and self._topics.is_member(self.group, name)

    def close(self) -> None:
        """Leave the group, and let go of the connections."""
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def holds(self, partitions: Iterable[Partition]) -> bool:
        """Tell whether offsets of all these are this reader's to keep."""
        return self._share.holds(partitions)

    def membership(self) -> Any:
        """Give the proof of membership with which the partitions were given.

        Not that of the present moment: the group may have moved on while its news has not been heard in `poll`, and its
        new generation would vouch for partitions that somebody else holds in it.
        """
        return self._member[1]

    def note_kept(self, kept: Mapping[Partition, Committed]) -> None:
        """Know what a transaction has committed."""
        self._share.kept |= kept

    def read_anew(self, partitions: Iterable[Partition]) -> None:
        """Begin anew at what the group has committed, for it is not known whether a transaction has."""
        self._share.read_anew(partitions)
        self._assign()

    def _consume(self, limit: int, timeout: float) -> list[Message]:
        # Not consume(limit, timeout): that waits until there are `limit` of them, or for the whole time. And not for long
        # at once: what a rebalance gives meanwhile is to be begun.
        wait = min(timeout, _BUSY_SECONDS if self._share.waiting or not self._share.next else _IDLE_SECONDS)
        try:
            found: list[Any] = self._consumer.consume(1, wait)
            if found and limit > 1:
                found += self._consumer.consume(limit - 1, 0.0)
        except KafkaException as error:
            raise self._error(error) from error
        messages: list[Message] = []
        sound = [each for each in found if each.error() is None]
        begin = 0
        for place, some in groupby(zip(map(_Fetched.topic, sound), map(_Fetched.partition, sound), strict=True)):
            end = begin + len(list(some))
            messages += self._take(*place, sound[begin:end])
            begin = end
        if len(sound) < len(found):
            # After the messages: where a partition ends is told behind what it has.
            for each in found:
                fault = each.error()
                if fault is not None:
                    self._mind(each, fault)
        return messages

    def _take(self, stream: str, partition: int, found: list[Any]) -> Iterator[Message]:
        """Take what was fetched of one partition, but for what has been taken away, or sought past, since it was fetched."""
        at, following = Partition(stream, partition), self._share.next
        if at not in following:
            return iter(())
        # A column at a time: whoever is behind does little else.
        offsets = list(map(_Fetched.offset, found))
        if offsets[0] < following[at]:
            found = found[bisect_left(offsets, following[at]) :]
            offsets = offsets[-len(found) :] if found else []
        if offsets:
            following[at] = offsets[-1] + 1
        return map(
            Message,
            repeat(stream),
            repeat(partition),
            offsets,
            [key or b"" for key in map(_Fetched.key, found)],
            [value or b"" for value in map(_Fetched.value, found)],
            [_told(headers) if headers else () for headers in map(_Fetched.headers, found)],
        )

    def _mind(self, event: Any, fault: KafkaError) -> None:
        """Do what something that is not a message asks for."""
        at = Partition(event.topic() or "", event.partition() or 0)
        code = fault.code()
        if code == KafkaError._PARTITION_EOF:
            if at in self._share.next:
                self._share.next[at] = max(self._share.next[at], event.offset())
        elif code in _NOT_THERE_ANY_MORE:
            if at in self._share.next:
                self._share.waiting.add(at)
                self._start_at = 0.0
        elif code in _NOT_THERE_YET:
            self._watch.soon()
        elif code == KafkaError._MAX_POLL_EXCEEDED:
            LOG.warning("group %s: this process stood still, and has lost its partitions for now", self.group)
        else:
            self._fault = self._error(fault)

    def _look(self) -> None:
        """Take note of topics that have appeared, or were made anew."""
        topics = self._watch.look()
        if topics is not None and self._share.appear(topics, alone=self.group is None):
            self._assign()

    def _start(self) -> None:
        """Go on with partitions that wait, at the right place; one that cannot be told yet goes on waiting."""
        waiting = sorted(self._share.waiting)
        if not waiting or time.monotonic() < self._start_at:
            return
        self._start_at = time.monotonic() + _RETRY_SECONDS
        if self.group is not None:
            self._topics.check([stream for stream in self._streams if stream in JOINED])
        try:
            committed = self._committed(waiting)
            there = self._topics.describe(sorted({at.stream for at in waiting}))
            waiting = [at for at in waiting if at.stream in there and at.number < there[at.stream].partitions]
            begins, ends = self._topics.begins(waiting), self._topics.ends(waiting)
        except (KafkaException, StreamError) as error:
            # Among others while a transaction is open in which somebody who died has committed: it ends by itself.
            LOG.info("%s", self._error(error) if isinstance(error, KafkaException) else error)
            return
        logs = {at: Log(there[at.stream].identity, begins[at], ends[at], committed.get(at)) for at in waiting}
        self._share.start(logs)
        self._assign()

    def _committed(self, partitions: Sequence[Partition]) -> dict[Partition, Committed]:
        if self.group is None:
            return {}
        answers = self._consumer.committed([TopicPartition(*at) for at in partitions], timeout=_STABLE_SECONDS)
        for answer in answers:
            if answer.error is not None:
                raise KafkaException(answer.error)
        return {
            Partition(at.topic, at.partition): Committed(at.offset, at.metadata or "")
            for at in answers
            if at.offset != OFFSET_INVALID
        }

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        # Where to go on is asked in `poll`: it may take a while to be told, and then others are alive meanwhile.
        self._share.give([Partition(at.topic, at.partition) for at in given], consumer.memberid())
        self._member = (consumer.memberid(), consumer.consumer_group_metadata())
        self._start_at = 0.0
        consumer.assign([])

    def _on_revoke(self, consumer: Consumer, _taken: list[TopicPartition]) -> None:
        self._share.take_away()
        consumer.unassign()

    def _on_lost(self, consumer: Consumer, _lost: list[TopicPartition]) -> None:
        self._share.lose()
        consumer.unassign()

    def _assign(self) -> None:
        self._consumer.assign(_listed(self._share.next))
        paused = self._paused & self._share.next.keys()
        if paused:
            self._consumer.pause([TopicPartition(*at) for at in paused])

    def _error(self, error: KafkaError | KafkaException) -> StreamError:
        return self._at.error(error, f"reading {', '.join(self._streams)}")


def _listed(positions: Positions) -> list[TopicPartition]:
    return [TopicPartition(*partition, offset) for partition, offset in positions.items()]


def _told(headers: list[tuple[str, bytes | None]]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value or b"") for name, value in headers)
