"""Requests that were recorded or archived give the panes of their features again, segments included."""

import math

import pyarrow.parquet as pq
import pytest

from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.config import Feature, Segment, load_settings
from birdwatch.content import content
from birdwatch.streams import open_streams
from birdwatch.streams.replay import append, merge, pace
from birdwatch.windows.pane import Series
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

SAMPLES = content("sample_streams")
RECORDED = f"files:{SAMPLES / '2013-06-07'}"
WATCHED = {
    "features": {"visib": Feature(), "carrier": Feature(kind="category", most=5)},
    "segments": {"origin": Segment(), "distance": Segment(kind="number")},
}
FLEET = Series("counts")
"""To which other streams add."""


def count(place, path):
    settings = load_settings(SAMPLES / "birdwatch.yaml").model_copy(update=WATCHED)
    store = Store(path, pane_seconds=settings.pane_seconds)
    tail = Tail(place, store, settings, finite=True)
    while tail.step(1000, 0.0):
        pass
    tail.finish()
    tail.close()
    return store


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return count(open_streams(RECORDED), tmp_path_factory.mktemp("plain") / "a.db").digest()


def test_streams_that_are_put_back_give_the_same_panes(tmp_path, plain):
    recorded, target = open_streams(RECORDED), open_streams(f"sqlite:{tmp_path}/again")
    names = ["requests", "scores", "canary", "metrics", "outcomes", "control"]
    for batch in pace(merge(recorded, names), math.inf):
        append(target, batch)
    assert count(target, tmp_path / "a.db").digest() == plain


def test_the_archive_of_requests_gives_the_same_features(tmp_path, plain):
    reader = open_streams(RECORDED).reader(["requests"])
    writer = ArchiveWriter(tmp_path / "archive", "requests")
    while found := reader.poll(500, 0.0):
        writer.write([Row(message, None, None) for message in found])
    reader.close()
    target = open_streams(f"sqlite:{tmp_path}/again")
    for path in sorted((tmp_path / "archive").rglob("*.parquet")):
        target.append("requests", [(b"", value) for value in pq.read_table(path)["value"].to_pylist()])
    archived = count(target, tmp_path / "a.db").digest()
    assert {key: value for key, value in archived.items() if key[1] != FLEET} == {
        key: value for key, value in plain.items() if key[1] != FLEET and not key[1].model
    }
