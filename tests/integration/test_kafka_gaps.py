"""Messages that are gone before they are read, on a real broker: said, and gone on from where the rule says."""

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from birdwatch.errors import StreamError
from birdwatch.streams import Gap, Partition

from .kafka_polling import poll_until

pytestmark = pytest.mark.integration


@pytest.fixture
def admin(kafka):
    return AdminClient({"bootstrap.servers": kafka.removeprefix("kafka://")})


@pytest.fixture
def trim(admin):
    """Do what retention does: drop the messages before an offset."""

    def trim(at, before):
        (future,) = admin.delete_records([TopicPartition(*at, before)]).values()
        future.result(20.0)

    return trim


@pytest.fixture
def delete(admin, place):
    def delete(topic):
        admin.delete_topics([topic])[topic].result(20.0)
        streams = place()
        poll_until([], lambda: topic not in streams.names())

    return delete


def write(streams, topic, *values):
    streams.append(topic, [(b"", b"%d" % value) for value in values])


def numbers(messages):
    return [int(message.value) for message in messages]


@pytest.mark.parametrize("group", [False, True])
def test_trimmed_messages_are_told_of_and_the_first_that_is_left_comes_next(place, name, open_reader, trim, group):
    streams, topic, at = place(), name("scores"), Partition(name("scores"))
    write(streams, topic, *range(20))
    reader = open_reader(streams, [topic], group=name("tail") if group else None)
    reader.seek({at: 4})
    trim(at, 15)
    messages = poll_until([reader], lambda: reader.positions() == {at: 20})
    assert numbers(messages) == [15, 16, 17, 18, 19]
    assert reader.gaps() == [Gap(at, 4, 15, "trimmed")]
    assert reader.gaps() == []
    assert streams.begins([topic]) == {at: 15}


def test_retention_overtakes_a_reader_that_has_fallen_behind(place, name, open_reader, trim):
    # So much that not all has been fetched when the rest is trimmed.
    streams, topic, at = place(), name("scores"), Partition(name("scores"))
    for begin in range(0, 200, 20):
        streams.append(topic, [(b"", b"%d" % (begin + n) + b" " * 500) for n in range(20)])
    reader = open_reader(place("fetch.message.max.bytes=1000&queued.min.messages=1"), [topic])
    first = poll_until([reader], lambda: reader.positions().get(at, 0) > 0)
    reader.pause([at])
    trim(at, 150)
    reader.resume([at])
    messages = first + poll_until([reader], lambda: reader.positions() == {at: 200})
    (gap,) = reader.gaps()
    assert gap == Gap(at, gap.wanted, 150, "trimmed")
    assert numbers(messages) == [*range(gap.wanted), *range(150, 200)]


def test_a_reader_that_begins_at_the_beginning_misses_nothing(place, name, open_reader, trim):
    streams, topic, at = place(), name("scores"), Partition(name("scores"))
    write(streams, topic, *range(20))
    trim(at, 15)
    reader = open_reader(streams, [topic])
    assert numbers(poll_until([reader], lambda: reader.positions() == {at: 20})) == [15, 16, 17, 18, 19]
    assert reader.gaps() == []


def test_where_the_rule_is_latest_only_what_comes_is_read(place, name, open_reader, trim):
    streams, topic, at = place(), name("scores"), Partition(name("scores"))
    write(streams, topic, *range(20))
    trim(at, 15)
    reader = open_reader(streams, [topic], on_lost="latest")
    reader.seek({at: 4})
    poll_until([reader], lambda: reader.positions() == {at: 20})
    assert reader.gaps() == [Gap(at, 4, 20, "trimmed")]
    write(streams, topic, 20)
    assert numbers(poll_until([reader], lambda: reader.positions() == {at: 21})) == [20]


def test_where_the_rule_is_stop_every_poll_says_what_is_gone_and_what_to_do(place, name, open_reader, trim):
    streams, topic, at = place(), name("scores"), Partition(name("scores"))
    write(streams, topic, *range(20))
    trim(at, 15)
    reader = open_reader(streams, [topic], on_lost="stop")
    reader.seek({at: 4})
    for _ in range(2):
        with pytest.raises(StreamError, match=rf"{topic}, partition 0: messages from offset 4 on .* on_lost: earliest"):
            poll_until([reader], lambda: False)
    assert reader.gaps() == []


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("size", [3, 30])
def test_a_topic_that_is_deleted_and_made_anew_is_read_from_its_beginning(
    place, name, open_reader, delete, group, size
):
    streams, topic, at = place(), name("scores"), Partition(name("scores"))
    write(streams, topic, *range(10))
    reader = open_reader(streams, [topic], group=name("tail") if group else None)
    poll_until([reader], lambda: reader.positions() == {at: 10})
    reader.changes()
    delete(topic)
    # It has outgrown the old one before anybody looks, or it has not.
    write(place(), topic, *range(100, 100 + size))
    gaps, messages = [], []
    messages += poll_until([reader], lambda: gaps.extend(reader.gaps()) or gaps)
    messages += poll_until([reader], lambda: reader.positions() == {at: size})
    assert gaps == [Gap(at, gaps[0].wanted, 0, "made anew")]
    assert gaps[0].wanted >= 10
    assert sorted(set(numbers(messages))) == list(range(100, 100 + size))
    assert numbers(messages)[-size:] == list(range(100, 100 + size))


def test_a_position_behind_the_end_of_a_topic_that_was_made_anew_meanwhile_is_no_reason_to_wait(
    place, name, open_reader
):
    streams, topic, at = place(), name("scores"), Partition(name("scores"))
    write(streams, topic, *range(3))
    reader = open_reader(streams, [topic])
    reader.seek({at: 4000})
    assert numbers(poll_until([reader], lambda: reader.positions() == {at: 3})) == [0, 1, 2]
    assert reader.gaps() == [Gap(at, 4000, 0, "made anew")]
