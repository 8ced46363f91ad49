"""What only a real broker shows; tests/streams/test_conformance.py runs over the same one."""

import json

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from birdwatch.cli.streams import app
from birdwatch.errors import StreamError
from birdwatch.streams import Partition

from .kafka_polling import held, poll_until

pytestmark = pytest.mark.integration


def test_the_partitions_of_a_new_topic_are_as_many_as_the_address_says(place, name):
    streams, topic = place("partitions=3"), name("scores")
    streams.append(topic, [(b"r1", b"{}")])
    assert set(streams.ends([topic])) == {Partition(topic, number) for number in range(3)}


@pytest.mark.parametrize(
    ("key", "hashed"),
    # From Kafka's own UtilsTest.testMurmur2.
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536), (b"abc", 479470107)],
)
def test_a_key_goes_to_the_partition_that_java_clients_choose(place, name, key, hashed):
    streams, topic = place("partitions=7"), name("scores")
    streams.append(topic, [(key, b"{}")])
    ends = streams.ends([topic])
    assert [partition.number for partition, end in ends.items() if end] == [(hashed & 0x7FFFFFFF) % 7]


def test_readers_of_a_group_hold_the_same_partitions_of_all_their_streams(place, name, open_reader):
    streams, topics = place("partitions=4"), [name("scores"), name("canary"), name("metrics")]
    for topic in topics:
        streams.append(topic, [(b"r%d" % n, b"%d" % n) for n in range(100)])
    one = open_reader(streams, topics, group=name("tail"))
    two = open_reader(place(), topics, group=name("tail"))
    messages = poll_until([one, two], lambda: len(held(one)) == len(held(two)) == 6)
    messages += poll_until(
        [one, two], lambda: sum((one.positions() | two.positions()).values()) == sum(streams.ends(topics).values())
    )
    assert not held(one) & held(two)
    for reader in (one, two):
        numbers = {topic: {number for stream, number in held(reader) if stream == topic} for topic in topics}
        assert numbers[topics[0]] == numbers[topics[1]] == numbers[topics[2]]
    assert {(message.stream, message.value) for message in messages} == {
        (topic, b"%d" % n) for topic in topics for n in range(100)
    }


def test_what_a_reader_leaves_behind_is_taken_up_where_it_committed(place, name, open_reader):
    streams, topic, group = place("partitions=2"), name("scores"), name("tail")
    streams.append(topic, [(b"r%d" % n, b"%d" % n) for n in range(50)])
    one, two = open_reader(streams, [topic], group=group), open_reader(place(), [topic], group=group)
    poll_until([one, two], lambda: len(held(one)) == len(held(two)) == 1)
    poll_until([one, two], lambda: one.positions() | two.positions() == streams.ends([topic]))
    one.commit()
    two.commit()
    one.close()
    streams.append(topic, [(b"r%d" % n, b"%d" % n) for n in range(50, 100)])
    messages = poll_until([two], lambda: two.positions() == streams.ends([topic]))
    assert sorted(int(message.value) for message in messages) == list(range(50, 100))


def test_a_reader_that_has_lost_its_partitions_says_nothing_of_them(place, name, open_reader):
    streams, topic, group = place(), name("scores"), name("tail")
    streams.append(topic, [(b"", b"%d" % n) for n in range(5)])
    one = open_reader(streams, [topic], group=group)
    poll_until([one], lambda: one.positions() == {Partition(topic): 5})
    two = open_reader(place(), [topic], group=group)
    messages = poll_until(
        [one, two], lambda: len(held(one) ^ held(two)) == 1 and max(one.positions() | two.positions())
    )
    loser = two if held(one) else one
    assert loser.positions() == {}
    loser.commit()
    assert streams.committed(group, [topic]) == {}
    assert len(messages) in (0, 5)  # nothing was committed: if the partition moved, they came again


@pytest.mark.parametrize("group", [False, True])
def test_a_stream_that_appears_later_is_read_from_its_beginning(place, name, open_reader, group):
    streams, topic, other = place(), name("scores"), name("metrics")
    streams.append(other, [(b"", b"old")])
    reader = open_reader(streams, [topic, other], group=name("tail") if group else None, start="latest")
    poll_until([reader], lambda: held(reader) == {Partition(other)})
    streams.append(topic, [(b"", b"%d" % n) for n in range(3)])
    messages = poll_until([reader], lambda: reader.positions() == {Partition(topic): 3, Partition(other): 1})
    assert [message.value for message in messages] == [b"0", b"1", b"2"]


def test_a_message_that_is_too_large_is_an_error_that_names_the_topic_and_the_remedy(place, name):
    streams, topic = place(), name("scores")
    with pytest.raises(StreamError, match=rf"appending to {topic}.*raise message\.max\.bytes"):
        streams.append(topic, [(b"", b"x" * 2_000_000)])
    streams.append(topic, [(b"", b"{}")])
    assert streams.ends([topic]) == {Partition(topic): 1}


def test_a_name_that_no_topic_can_have_is_an_error(place):
    with pytest.raises(StreamError, match=r"a topic's name has letters, digits, '\.', '_' and '-'"):
        place().append("sc ores", [(b"", b"{}")])


def test_many_messages_travel_in_one_append(place, name, open_reader):
    streams, topic = place(), name("scores")
    # More than librdkafka's queue holds at once by default.
    streams.append(topic, [(b"", b"%d" % n) for n in range(120_000)])
    reader, found = open_reader(streams, [topic]), []
    while len(found) < 120_000:
        polled = reader.poll(10_000, timeout=20.0)
        assert polled
        found += [int(message.value) for message in polled]
    assert found == list(range(120_000))


def test_somebody_elses_messages_without_key_or_value_are_read(kafka, place, name, open_reader):
    streams, topic = place(), name("scores")
    streams.append(topic, [(b"", b"{}")])
    producer = Producer({"bootstrap.servers": kafka.removeprefix("kafka://")})
    producer.produce(topic, None, b"tombstone")
    producer.flush()
    reader = open_reader(streams, [topic])
    messages = poll_until([reader], lambda: reader.positions() == {Partition(topic): 2})
    assert [(message.key, message.value) for message in messages] == [(b"", b"{}"), (b"tombstone", b"")]


def test_the_commands_look_at_topics(kafka, place, name, open_reader):
    streams, topic, group = place("partitions=2"), name("scores"), name("tail")
    streams.append(topic, [(b"r%d" % n, b'{"n":%d}' % n) for n in range(10)])
    reader = open_reader(streams, [topic], group=group)
    poll_until([reader], lambda: sum(reader.positions().values()) == 10)
    reader.commit()
    streams.append(topic, [(b"r1", b'{"n":10}')])

    def run(*args):
        result = CliRunner().invoke(app, [*args, "--streams", kafka], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert {"stream": topic, "partitions": 2, "messages": 11} in json.loads(run("list", "--json"))
    lines = [json.loads(line)["n"] for line in run("cat", topic).splitlines()]
    assert sorted(lines) == list(range(11))
    assert len(run("cat", topic, "--tail", "1").splitlines()) == 2  # one of each partition
    lags = json.loads(run("lag", "--group", group, "--json"))
    assert sum(row["committed"] for row in lags) == 10
    assert sum(row["lag"] for row in lags) == 1
