"""A recording holds the chosen stretch of every stream, in order, and the same streams give the same bytes."""

import gzip

import pytest

from birdwatch.demo.recording import record, record_events
from birdwatch.errors import BirdwatchError
from birdwatch.records import Control, Outcome, Request, Score, Token, encode
from birdwatch.streams import open_streams
from birdwatch.windows.store import Store


@pytest.fixture
def streams(tmp_path):
    place = open_streams(f"sqlite:{tmp_path / 'streams'}")
    for n in range(100):
        request = Request(id=str(n), ts=n, received_ts=1e9, deadline_seconds=1, features={})
        place.append("requests", [(b"", encode(request))])
        # A score comes a little later than its request, and an outcome much later.
        score = Score(request_id=str(n), request_ts=n, ts=n + 3, model="m", version="1", score=0.5)
        place.append("scores", [(b"", encode(score))])
        place.append("outcomes", [(b"", encode(Outcome(request_id=str(n), request_ts=n, ts=n + 10, label=1)))])
    place.append("control", [(b"", encode(Control(ts=15, action="register", author="us", reason="a try")))])
    yield place
    place.close()


def read(streams, name):
    reader = streams.reader([name])
    found = [message.value for message in reader.poll(timeout=0.0)]
    reader.close()
    return found


def test_what_belongs_to_the_stretch_is_written_in_order(streams, tmp_path):
    written = record(streams, tmp_path / "made", 10, 20)
    assert written == {"requests": 10, "scores": 10, "outcomes": 10, "control": 1}
    kept = open_streams(f"files:{tmp_path / 'made'}")
    assert read(kept, "requests") == read(streams, "requests")[10:20]
    assert read(kept, "scores") == read(streams, "scores")[10:20]
    # The outcomes that became known then: those of requests made 10 s before.
    assert read(kept, "outcomes") == read(streams, "outcomes")[:10]
    kept.close()


def test_what_is_in_force_belongs_to_it_and_a_token_among_the_requests_does_not(streams, tmp_path):
    streams.append("requests", [(b"", encode(Token(token="t", component="rendezvous", to="second")))])
    assert record(streams, tmp_path / "made", 60, 70) == {"requests": 10, "scores": 10, "outcomes": 10, "control": 1}


def test_the_same_streams_give_the_same_bytes(streams, tmp_path):
    for name in ("one", "two"):
        record(streams, tmp_path / name, 10, 20)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
        assert gzip.decompress(path.read_bytes()).endswith(b"}\n")


def test_nothing_of_that_time_is_an_error(streams, tmp_path):
    with pytest.raises(BirdwatchError, match="holds nothing of the time"):
        record(streams, tmp_path / "made", 1000, 2000)


def test_events_that_are_not_over_are_not_recorded(streams, tmp_path):
    with pytest.raises(BirdwatchError, match="no event was over"):
        record_events(streams, Store(tmp_path / "a.db", pane_seconds=3600), tmp_path / "made", until=1000.0)
