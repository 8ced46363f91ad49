"""Transactions end, also where librdkafka would not; tests/integration/test_kafka.py writes them over a real broker."""

import threading

import pytest
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException

from birdwatch.errors import StreamError
from birdwatch.streams import Committed, Entry, Partition, kafka_transactions
from birdwatch.streams.kafka_address import KafkaAddress


class Producer:
    """One whose coordinator is gone: it waits for an answer that never comes, or says at once that none came."""

    made = 0

    def __init__(self, _settings):
        Producer.made += 1
        self.aborted = False

    def init_transactions(self, _seconds):
        pass

    begin_transaction = produce = lambda *_arguments, **_named: None

    def flush(self, _seconds):
        return 0

    def send_offsets_to_transaction(self, *_arguments):
        self.answer.wait()

    def abort_transaction(self, _seconds):
        self.aborted = True


class Delivered:
    """A message that was delivered, and where it lies."""

    def __init__(self, offset):
        self.offset = lambda: offset


class Reader:
    group = "g"

    def holds(self, _kept):
        return True

    def membership(self):
        return object()


class Topics:
    def known(self, _stream):
        return True


@pytest.fixture
def transactions(monkeypatch):
    monkeypatch.setattr(kafka_transactions, "Producer", Producer)
    monkeypatch.setattr(Producer, "made", 0)
    return kafka_transactions.KafkaTransactions(KafkaAddress.parse("kafka://broker:9092"), Topics(), Reader())


def write(transactions):
    transactions.write([Entry("panes", b"", b"{}")], {Partition("scores"): Committed(7)})


def test_a_coordinator_that_never_answers_is_given_up_and_the_next_write_begins_anew(transactions, monkeypatch):
    monkeypatch.setattr(kafka_transactions, "_OFFSETS_SECONDS", 0.01)
    monkeypatch.setattr(Producer, "answer", threading.Event(), raising=False)
    for made in (1, 2):
        with pytest.raises(StreamError, match=r"coordinator did not answer within .* nothing was written"):
            write(transactions)
        assert Producer.made == made
    Producer.answer.set()  # the threads that wait come to their end


def test_what_goes_wrong_with_the_offsets_is_said_and_the_transaction_dropped(transactions, monkeypatch):
    def refuse(*_arguments):
        raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))

    monkeypatch.setattr(Producer, "send_offsets_to_transaction", refuse)
    with pytest.raises(StreamError, match="nothing was written"):
        write(transactions)
    assert transactions._producer.aborted


def test_what_no_broker_has_told_the_place_of_is_not_committed(transactions, monkeypatch):
    def produce(_producer, *_arguments, on_delivery, **_named):
        on_delivery(None, Delivered(OFFSET_INVALID))

    monkeypatch.setattr(Producer, "produce", produce)
    monkeypatch.setattr(Producer, "send_offsets_to_transaction", lambda *_arguments: None)
    with pytest.raises(StreamError, match="nothing was written"):
        write(transactions)
    assert transactions._producer.aborted
