"""Members of a group that come and go: what belongs together stays together, and what is known of it stays true."""

import random

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from birdwatch.errors import StreamError
from birdwatch.streams import Partition

from .kafka_polling import held, poll_until

pytestmark = pytest.mark.integration

JOINED = ("requests", "scores", "canary", "metrics", "outcomes")


class Member:
    """Reads in a group, and checks what it is told of its partitions against what it reads."""

    def __init__(self, reader):
        self.reader = reader
        self.known = {}
        self.read = []

    def step(self):
        messages = self.reader.poll(50, timeout=0.05)
        changes = self.reader.changes()
        for at in changes.taken:
            self.known.pop(at, None)
        for at, committed in changes.given.items():
            assert at not in self.known
            self.known[at] = committed.offset if committed else 0
        for message in messages:
            at = Partition(message.stream, message.partition)
            assert message.offset == self.known[at], "what is read goes on where it was left, or at the commit"
            self.known[at] += 1
            self.read.append((at, message.offset))
        positions = self.reader.positions()
        assert positions == {at: self.known[at] for at in positions}
        numbers = [{at.number for at in positions if at.stream == stream} for stream in {at.stream for at in positions}]
        assert all(each == numbers[0] for each in numbers), "partition i of all streams meets in one member"
        assert len({at.stream for at in positions}) in (0, len(JOINED))
        return positions


def step_until(members, done):
    for _ in range(200):
        if done([member.step() for member in members]):
            return
    raise AssertionError("the group did not come to rest")


def test_through_every_rebalance_lanes_stay_whole_and_nothing_is_read_by_two(place, name, open_reader):
    streams, topics = place("partitions=4"), [name(stream) for stream in JOINED]
    for topic in topics:
        streams.append(topic, [(b"r%d" % n, b"%d" % n) for n in range(100)])
    members, gone, rounds = [], [], (1, 1, -1, 1, 1, -1, -1)
    for change in rounds:
        if change > 0:
            members.append(Member(open_reader(place(), topics, group=name("tail"))))
        else:
            gone.append(members.pop(0))
            gone[-1].reader.commit()
            gone[-1].reader.close()
        step_until(members, lambda held: all(held) and sum(map(len, held)) == 4 * len(topics))
        for topic in topics:
            streams.append(topic, [(b"r%d" % n, b"%d" % n) for n in range(20)])
        for member in members:
            member.step()
            member.reader.commit()
    ends = streams.ends(topics)
    step_until(members, lambda held: {at: offset for each in held for at, offset in each.items()} == ends)
    read = {one for member in members + gone for one in member.read}
    assert read == {(at, offset) for at, end in ends.items() for offset in range(end)}


def test_what_is_paused_stays_paused_through_a_rebalance(place, name, open_reader):
    streams, topic = place("partitions=2"), name("scores")
    one = open_reader(streams, [topic], group=name("tail"))
    streams.append(topic, [(b"r%d" % n, b"old") for n in range(40)])
    ends = streams.ends([topic])
    poll_until([one], lambda: one.positions() == ends)
    one.pause(ends)
    streams.append(topic, [(b"r%d" % n, b"new") for n in range(40)])
    two = open_reader(place(), [topic], group=name("tail"))
    messages = poll_until([one, two], lambda: len(held(one)) == len(held(two)) == 1)
    (mine,) = held(one)
    for _ in range(8):
        messages += one.poll(timeout=0.1)
    assert {message.partition for message in messages if message.value == b"new"} <= {at.number for at in held(two)}
    one.resume(ends)
    messages = poll_until([one], lambda: one.positions()[mine] == streams.ends([topic])[mine])
    assert [message.offset for message in messages] == list(range(ends[mine], streams.ends([topic])[mine]))
    assert one.changes().given.keys() >= {mine}


def test_pausing_now_and_then_loses_and_doubles_nothing(place, name, open_reader):
    streams, topics, dice = place("partitions=2"), [name("scores"), name("metrics")], random.Random(11)
    for topic in topics:
        streams.append(topic, [(b"r%d" % n, b"%d" % n) for n in range(2000)])
    reader, ends = open_reader(streams, topics), streams.ends(topics)
    poll_until([reader], lambda: held(reader) == ends.keys())
    reader.seek(dict.fromkeys(ends, 0))
    read, paused = {at: [] for at in ends}, set()
    for _ in range(200):
        for message in reader.poll(100, timeout=0.02):
            at = Partition(message.stream, message.partition)
            assert at not in paused
            read[at].append(message.offset)
        if dice.random() < 0.5:
            reader.resume(paused)
            paused = set(dice.sample(sorted(ends), dice.randint(0, 3)))
            reader.pause(paused)
    reader.resume(paused)
    for message in poll_until([reader], lambda: reader.positions() == ends):
        read[Partition(message.stream, message.partition)].append(message.offset)
    assert read == {at: list(range(end)) for at, end in ends.items()}


def test_joined_streams_with_different_numbers_of_partitions_are_refused(kafka, place):
    streams = place("partitions=2")
    for topic in ("results", "outcomes"):
        streams.append(topic, [(b"r1", b"{}")])
    more = 1 + max(at.number for at in streams.ends(["results", "outcomes"])) + 1
    admin = AdminClient({"bootstrap.servers": kafka.removeprefix("kafka://")})
    admin.create_partitions([NewPartitions("results", more)])["results"].result(20.0)
    try:
        poll_until([], lambda: len(streams.ends(["results"])) == more)
        command = rf"kafka-topics.sh --bootstrap-server \S+ --alter --topic outcomes --partitions {more}"
        with pytest.raises(StreamError, match=rf"results has {more}.*{command}"):
            streams.reader(["results", "outcomes"], group="tail")
        with pytest.raises(StreamError, match="need the same number of partitions"):
            streams.check_partitions(["results", "outcomes"])
        streams.check_partitions(["results", "nowhere"])
    finally:
        for topic in ("results", "outcomes"):
            admin.delete_topics([topic])[topic].result(20.0)
