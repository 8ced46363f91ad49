"""Messages and offsets, all of them or none: what only a real broker shows."""

import signal
import subprocess
import sys
import time

import pytest
from confluent_kafka import Consumer, TopicPartition

from birdwatch.errors import MovedError, StreamError
from birdwatch.streams import Committed, Entry, Partition

from .kafka_polling import held, poll_until

pytestmark = pytest.mark.integration

# A member that is not asked to poll for this long is thought dead.
IMPATIENT = "session.timeout.ms=1000&max.poll.interval.ms=1000&heartbeat.interval.ms=300"


@pytest.fixture
def counting(place, name, open_reader):
    """Start a member of one group that reads ``source``; give it with its transactions."""
    opened = []

    def start(source, options=""):
        streams = place(options)
        reader = open_reader(streams, [source], group=name("tail"))
        opened.append(streams.transactions(reader))
        return reader, opened[-1]

    yield start
    for transactions in opened:
        transactions.close()


def visible(streams, open_reader, topic):
    """Give all that a reader of committed messages sees of a topic."""
    reader = open_reader(streams, [topic])
    messages = poll_until([reader], lambda: reader.positions() == streams.ends([topic]))
    return [message.value for message in messages]


def committed(kafka, group, at):
    """Ask, with another client, what the group has committed."""
    consumer = Consumer({"bootstrap.servers": kafka.removeprefix("kafka://"), "group.id": group})
    (answer,) = consumer.committed([TopicPartition(*at)], timeout=20.0)
    consumer.close()
    return Committed(answer.offset, answer.metadata or "")


def test_messages_and_offsets_with_their_notes_are_written_together(kafka, place, name, open_reader, counting):
    streams, source, sink = place("partitions=2"), name("scores"), name("panes")
    streams.append(source, [(b"r%d" % n, b"%d" % n) for n in range(10)])
    reader, transactions = counting(source)
    poll_until([reader], lambda: reader.positions() == streams.ends([source]))
    assert reader.changes().given == {Partition(source, 0): None, Partition(source, 1): None}

    at, entries = Partition(source, 1), [Entry(sink, b"1", b"a", headers=(("by", b"me"),)), Entry(sink, b"1", b"b")]
    transactions.write(entries, {at: Committed(3, '{"position":5}')})
    assert visible(streams, open_reader, sink) == [b"a", b"b"]
    assert committed(kafka, name("tail"), at) == Committed(3, '{"position":5}')

    reader.close()
    again, _ = counting(source)
    messages = poll_until([again], lambda: again.positions() == streams.ends([source]))
    assert [m.offset for m in messages if m.partition == 1] == list(range(3, streams.ends([source])[at]))
    changes = again.changes()
    assert changes.taken == set()
    assert changes.given == {at: Committed(3, '{"position":5}'), Partition(source, 0): None}


def test_what_cannot_be_written_leaves_nothing_and_the_next_write_goes_through(
    kafka, place, name, open_reader, counting
):
    streams, source, sink = place(), name("scores"), name("panes")
    streams.append(source, [(b"", b"1")])
    streams.append(sink, [(b"", b"before")])
    reader, transactions = counting(source)
    poll_until([reader], lambda: held(reader))
    at = Partition(source)
    with pytest.raises(StreamError, match="nothing was written"):
        transactions.write([Entry(sink, b"", b"a"), Entry(sink, b"", b"x" * 2_000_000)], {at: Committed(1)})
    assert committed(kafka, name("tail"), at).offset < 0
    transactions.write([Entry(sink, b"", b"b")], {at: Committed(1)})
    assert visible(streams, open_reader, sink) == [b"before", b"b"]
    assert committed(kafka, name("tail"), at) == Committed(1)


def test_a_member_that_was_thought_dead_writes_nothing_and_drops_what_it_knew(
    kafka, place, name, open_reader, counting
):
    streams, source, sink, at = place(), name("scores"), name("panes"), Partition(name("scores"))
    streams.append(source, [(b"", b"%d" % n) for n in range(6)])
    sleeper, its = counting(source, IMPATIENT)
    poll_until([sleeper], lambda: sleeper.positions() == {at: 6})
    its.write([Entry(sink, b"", b"first")], {at: Committed(2, "a note")})
    assert sleeper.changes().given == {at: None}
    assert sleeper.confirm()

    heir, heirs = counting(source)
    poll_until([heir], lambda: held(heir))  # the sleeper does not poll
    assert heir.changes().given == {at: Committed(2, "a note")}
    with pytest.raises(MovedError, match="nothing was written"):
        its.write([Entry(sink, b"", b"twice")], {at: Committed(6)})
    heirs.write([Entry(sink, b"", b"second")], {at: Committed(4)})
    assert not sleeper.confirm()
    assert heir.confirm()
    assert visible(streams, open_reader, sink) == [b"first", b"second"]
    assert committed(kafka, name("tail"), at) == Committed(4)

    heir.close()
    seen = []
    messages = poll_until([sleeper], lambda: seen.append(sleeper.changes()) or any(each.given for each in seen))
    messages += poll_until([sleeper], lambda: sleeper.positions() == {at: 6})
    assert any(at in each.taken for each in seen)
    assert seen[-1].given == {at: Committed(4)}
    assert [message.offset for message in messages] == [4, 5]


def test_a_dead_members_open_transaction_is_waited_for(kafka, place, name, open_reader, counting):
    streams, source, sink, at = place(), name("scores"), name("panes"), Partition(name("scores"))
    streams.append(source, [(b"", b"%d" % n) for n in range(6)])
    streams.append(sink, [(b"", b"before")])
    doomed, its = counting(source, "transaction.timeout.ms=2000&delivery.timeout.ms=2000")
    poll_until([doomed], lambda: doomed.positions() == {at: 6})
    its.write([], {at: Committed(1)})
    producer = its._producer
    producer.begin_transaction()
    producer.produce(sink, b"never", b"")
    producer.send_offsets_to_transaction([TopicPartition(*at, 5)], doomed.membership())
    doomed.close()

    heir, _ = counting(source)
    start = time.monotonic()
    messages = poll_until([heir], lambda: heir.positions() == {at: 6})
    assert [message.offset for message in messages] == [1, 2, 3, 4, 5]
    assert heir.changes().given == {at: Committed(1)}
    assert time.monotonic() - start < 20
    assert visible(streams, open_reader, sink) == [b"before"]


def test_a_reader_without_a_group_has_no_transactions(place, name, open_reader):
    streams = place()
    with pytest.raises(StreamError, match="open it with group=NAME"):
        streams.transactions(open_reader(streams, [name("scores")]))


SLEEPER = """
import sys, time
from birdwatch.errors import MovedError
from birdwatch.streams import Committed, Entry, Partition, open_streams

address, source, sink, group = sys.argv[1:]
streams, at = open_streams(address), Partition(source)
reader = streams.reader([source], group=group)
while reader.positions() != {at: 6}:
    reader.poll()
transactions = streams.transactions(reader)
transactions.write([Entry(sink, b"", b"first")], {at: Committed(2)})
print("asleep", flush=True)
sys.stdin.readline()
time.sleep(1.0)  # time for librdkafka, beside us, to hear that it was thought dead
try:
    transactions.write([Entry(sink, b"", b"twice")], {at: Committed(6)})
except MovedError as error:
    print("refused", flush=True)
"""


def test_a_process_that_was_stopped_and_replaced_writes_nothing(kafka, place, name, open_reader, counting):
    streams, source, sink, at = place(), name("scores"), name("panes"), Partition(name("scores"))
    streams.append(source, [(b"", b"%d" % n) for n in range(6)])
    patience = f"{kafka}?session.timeout.ms=1500&heartbeat.interval.ms=200"
    command = [sys.executable, "-c", SLEEPER, patience, source, sink, name("tail")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sleeper:
        try:
            assert sleeper.stdout.readline() == "asleep\n"
            sleeper.send_signal(signal.SIGSTOP)
            heir, heirs = counting(source)
            poll_until([heir], lambda: held(heir))
            heirs.write([Entry(sink, b"", b"second")], {at: Committed(4)})
            sleeper.send_signal(signal.SIGCONT)
            assert sleeper.communicate("awake\n", timeout=30)[0] == "refused\n"
        finally:
            sleeper.kill()
    assert visible(streams, open_reader, sink) == [b"first", b"second"]
    assert committed(kafka, name("tail"), at) == Committed(4)
