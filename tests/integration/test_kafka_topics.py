"""How topics are made, and what travels beside messages, on a real broker."""

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource

from birdwatch.errors import StreamError
from birdwatch.streams import Partition

from .kafka_polling import poll_until

pytestmark = pytest.mark.integration

DAY = 86_400_000


@pytest.fixture
def admin(kafka):
    return AdminClient({"bootstrap.servers": kafka.removeprefix("kafka://")})


@pytest.fixture
def settings(admin):
    def settings(topic):
        (future,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
        return {name: entry.value for name, entry in future.result(20.0).items()}

    return settings


@pytest.mark.parametrize(
    ("stream", "partitions", "expected"),
    [
        ("control", 1, {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}),
        ("alerts", 1, {"cleanup.policy": "delete"}),
        ("panes", 3, {"cleanup.policy": "delete", "retention.ms": str(30 * DAY)}),
        ("deadletters", 3, {"retention.ms": str(30 * DAY)}),
        ("scores", 3, {"retention.ms": str(7 * DAY)}),  # the broker's default
    ],
)
def test_a_topic_is_made_for_what_its_stream_is_for(kafka, place, admin, settings, stream, partitions, expected):
    streams = place("partitions=3")
    if stream in streams.names():
        admin.delete_topics([stream])[stream].result(20.0)
        poll_until([], lambda: stream not in streams.names())
    streams.append(stream, [(b"", b"{}")])
    assert len(streams.ends([stream])) == partitions
    assert settings(stream).items() >= expected.items()
    admin.delete_topics([stream])[stream].result(20.0)


def test_a_topic_that_cannot_be_made_names_the_command_with_which_somebody_can(place, name):
    topic = name("scores")
    command = rf"--create --topic {topic} --partitions 2 --replication-factor 3 --config min.insync.replicas=2$"
    with pytest.raises(StreamError, match=rf"making the topic {topic}.*as many brokers as replication=.*{command}"):
        place("partitions=2&replication=3").append(topic, [(b"", b"{}")])


def test_a_topic_that_was_deleted_is_made_anew_by_the_append_after_the_one_that_failed(place, name, admin):
    streams, topic = place("delivery.timeout.ms=2000"), name("scores")
    streams.append(topic, [(b"", b"1")])
    admin.delete_topics([topic])[topic].result(20.0)
    poll_until([], lambda: topic not in streams.names())
    for _ in range(3):
        try:
            streams.append(topic, [(b"", b"2")])
        except StreamError:
            continue
        break
    assert streams.ends([topic]) == {Partition(topic): 1}


def test_appending_nothing_makes_the_topic_and_no_message(place, name):
    streams, topic = place("partitions=2"), name("scores")
    streams.append(topic, [])
    assert streams.ends([topic]) == {Partition(topic, 0): 0, Partition(topic, 1): 0}


def test_headers_travel_beside_messages(kafka, place, name, open_reader):
    streams, topic = place(), name("deadletters")
    said = (("stream", b"scores"), ("offset", b"7"), ("stream", b"twice"))
    streams.append(topic, [(b"k", b"1"), (b"k", b"2")], headers=[said, ()])
    reader = open_reader(streams, [topic])
    messages = poll_until([reader], lambda: reader.positions() == {Partition(topic): 2})
    assert [message.headers for message in messages] == [said, ()]
    theirs = Consumer({"bootstrap.servers": kafka.removeprefix("kafka://"), "group.id": name("theirs")})
    theirs.assign([TopicPartition(topic, 0, 0)])
    assert theirs.poll(20.0).headers() == list(said)
    theirs.close()


def test_ends_and_begins_may_be_asked_from_other_threads(place, name, open_reader):
    from concurrent.futures import ThreadPoolExecutor

    streams, topic = place("partitions=4"), name("scores")
    streams.append(topic, [(b"r%d" % n, b"{}") for n in range(50)])
    reader = open_reader(streams, [topic])
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, [topic]) for _ in range(20) for ask in (streams.ends, streams.begins)]
        poll_until([reader], lambda: reader.positions() == streams.ends([topic]))
        ends, begins = (
            {sum(one.result().values()) for one in asked[::2]},
            {sum(one.result().values()) for one in asked[1::2]},
        )
    assert (ends, begins) == ({50}, {0})
