"""A broker that goes away and comes back: writers say so, readers wait and go on."""

import time

import pytest

from birdwatch.errors import StreamError
from birdwatch.streams import Committed, Entry, Partition, open_streams

from .kafka_polling import held, poll_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cluster(kafka_cluster):
    """One broker of this module's own: it is killed."""
    with kafka_cluster() as cluster:
        yield cluster


def test_after_an_outage_readers_and_writers_are_alive_again_within_half_a_minute(cluster):
    streams = open_streams(f"kafka://{cluster.address}?delivery.timeout.ms=5000&log_level=0")
    streams.append("scores", [(b"", b"%d" % n) for n in range(5)])
    alone, member = streams.reader(["scores"]), streams.reader(["scores"], group="tail")
    transactions = streams.transactions(member)
    at = Partition("scores")
    poll_until([alone, member], lambda: alone.positions() == member.positions() == {at: 5})
    transactions.write([Entry("panes", b"", b"1")], {at: Committed(5, "before")})
    member.changes()

    cluster.kill()
    with pytest.raises(StreamError, match=r"appending to scores.*is Kafka running there"):
        streams.append("scores", [(b"", b"lost")])
    with pytest.raises(StreamError):
        streams.names()
    end = time.monotonic() + 8  # longer than a member may be silent
    while time.monotonic() < end:
        assert alone.poll(timeout=0.2) == member.poll(timeout=0.2) == []

    cluster.start()
    back = time.monotonic()
    streams.append("scores", [(b"", b"5")])
    poll_until([alone, member], lambda: alone.positions() == member.positions() == {at: 6})
    transactions.write([Entry("panes", b"", b"2")], {at: Committed(6, "after")})
    assert time.monotonic() - back < 30
    assert streams.committed("tail", ["scores"]) == {at: 6}
    assert alone.gaps() == member.gaps() == []
    panes = streams.reader(["panes"])
    written = poll_until([panes], lambda: held(panes) and panes.positions() == streams.ends(["panes"]))
    assert [message.value for message in written] == [b"1", b"2"]
    for reader in (alone, member, panes):
        reader.close()
    transactions.close()
    streams.close()
