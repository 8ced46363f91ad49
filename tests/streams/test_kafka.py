"""What can be told without a broker, and with librdkafka's mock of one; the rest is in tests/integration/test_kafka.py."""

from types import SimpleNamespace

import pytest
from confluent_kafka import OFFSET_INVALID, Producer
from confluent_kafka.admin import AdminClient

from birdwatch.errors import StreamError
from birdwatch.streams import Partition, kafka, kafka_reader, kafka_topics, open_streams
from birdwatch.streams.kafka_topics import KafkaTopics, Topic
from birdwatch.streams.kafka_watch import KafkaWatch


@pytest.fixture(scope="module")
def mock():
    """A cluster of one within this process, with a topic of four partitions: the mock makes it that way."""
    owner = AdminClient({"bootstrap.servers": "", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = owner.list_topics(timeout=5.0).brokers.values()
    producer = Producer({"bootstrap.servers": f"{broker.host}:{broker.port}"})
    producer.produce("scores", b"0", partition=0)
    producer.flush()
    yield f"kafka://{broker.host}:{broker.port}"
    del owner  # until here: the cluster lives in it


@pytest.fixture
def without_identities(monkeypatch):
    """The mock does not know DescribeTopics: what it can tell of its topics stands in."""

    def describe(topics, names):
        return {name: Topic("?", count) for name, count in topics.partitions().items() if name in names}

    monkeypatch.setattr(KafkaTopics, "describe", describe)
    monkeypatch.setattr(KafkaWatch, "look", lambda watch: watch._topics.describe(watch._names))


@pytest.mark.usefixtures("without_identities")
def test_what_is_appended_is_read(mock):
    streams = open_streams(mock)
    streams.append("scores", [(b"r1", b"1"), (b"", b"2")])
    reader = streams.reader(["scores"])
    found = []
    for _ in range(30):
        found += reader.poll(timeout=1.0)
        if len(found) == 3:
            break
    assert sorted(message.value for message in found) == [b"0", b"1", b"2"]
    assert sum(reader.positions().values()) == sum(streams.ends(["scores"]).values()) == 3
    assert streams.names() == ["scores"]
    assert {partition.number for partition in reader.positions()} == {0, 1, 2, 3}
    reader.close()
    streams.close()


class Forgetful:
    """A producer that is told where a message lies only when it has sent it so often, by the message; by default once."""

    def __init__(self, times):
        self.times = times
        self.sent = []
        self.seen = []

    def produce(self, _stream, value, *_arguments, on_delivery, **_named):
        self.sent.append((value, on_delivery))

    def flush(self, _seconds):
        waiting, self.sent = self.sent, []
        for value, on_delivery in waiting:
            self.seen.append(value)
            place = 7 if self.seen.count(value) >= self.times.get(value, 1) else OFFSET_INVALID
            on_delivery(None, SimpleNamespace(offset=lambda place=place: place))
        return 0


@pytest.fixture
def forgetful(monkeypatch):
    """Gives a producer of this kind, and the streams that write by it."""
    monkeypatch.setattr(KafkaTopics, "known", lambda *_: True)
    streams = open_streams("kafka://127.0.0.1:1?log_level=0")

    def forgetful(**times):
        producer = Forgetful({value.encode(): often for value, often in times.items()})
        monkeypatch.setattr(kafka, "Producer", lambda _settings: producer)
        return producer, streams

    yield forgetful
    streams.close()


def test_what_no_broker_has_told_the_place_of_is_sent_again(forgetful):
    producer, streams = forgetful(lost=3)
    streams.append("scores", [(b"1", b"there"), (b"2", b"lost")])
    assert producer.seen == [b"there", b"lost", b"lost", b"lost"]


def test_what_is_never_told_the_place_of_is_an_error_that_names_stream_and_number(forgetful):
    producer, streams = forgetful(lost=99)
    with pytest.raises(
        StreamError, match=r"^kafka://127\.0\.0\.1:1, appending to scores, 1 of 2 messages: .*out of order"
    ):
        streams.append("scores", [(b"1", b"there"), (b"2", b"lost")])
    assert producer.seen.count(b"there") == 1


@pytest.fixture
def nowhere(monkeypatch):
    for module in (kafka, kafka_reader, kafka_topics):
        monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.2)
    streams = open_streams("kafka://127.0.0.1:1?log_level=0&sasl.password=hush")
    yield streams
    streams.close()


@pytest.mark.parametrize(
    "ask",
    [
        lambda streams: streams.names(),
        lambda streams: streams.ends(["scores"]),
        lambda streams: streams.committed("tail", ["scores"]),
        lambda streams: streams.append("scores", [(b"", b"{}")]),
        lambda streams: streams.append("scores", []),
        lambda streams: streams.reader(["scores"]),
        lambda streams: streams.reader(["scores"], group="tail"),
        lambda streams: streams.reader(["scores"], start="latest"),
    ],
)
def test_where_no_broker_answers_the_error_names_it_and_what_to_look_at(nowhere, ask):
    with pytest.raises(StreamError, match=r"^kafka://127\.0\.0\.1:1, .*is Kafka running there") as error:
        ask(nowhere)
    assert "hush" not in str(error.value)


def test_positions_are_partitions(mock):
    streams = open_streams(mock)
    assert streams.ends(["scores", "none"]).keys() == {Partition("scores", number) for number in range(4)}
    streams.close()
