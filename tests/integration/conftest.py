"""What the tests with a real Kafka share."""

import uuid

import pytest

from birdwatch.streams import open_streams

from . import kafka_broker


@pytest.fixture(scope="session")
def kafka_cluster():
    """Runs brokers of a test's own, which may be killed; the test is skipped where none can run."""
    reason = kafka_broker.missing()
    if reason is not None:
        pytest.skip(reason)
    return kafka_broker.cluster


@pytest.fixture
def name():
    run = uuid.uuid4().hex[:8]
    return lambda stream: f"{stream}-{run}"


@pytest.fixture
def place(kafka):
    opened = []

    def open_(options=""):
        opened.append(open_streams(f"{kafka}?{options}"))
        return opened[-1]

    yield open_
    for streams in opened:
        streams.close()


@pytest.fixture
def open_reader():
    readers = []

    def open_(streams, *args, **kwargs):
        readers.append(streams.reader(*args, **kwargs))
        return readers[-1]

    yield open_
    for reader in readers:
        reader.close()
