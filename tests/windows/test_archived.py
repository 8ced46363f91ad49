"""The archive gives the panes that the tail counted from the live log, bit for bit."""

import pytest

import birdwatch
from birdwatch.archive.archiver import Archiver
from birdwatch.config import Feature, Segment, Settings
from birdwatch.records import encode
from birdwatch.streams import open_streams
from birdwatch.testing import FakeClock, MemoryStreams, a_score
from birdwatch.windows.pane import Series
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

from .traffic import START, champion_named, shuffled, traffic, write

SETTINGS = Settings(features={"size": Feature()}, segments={"from": Segment()}, pane_seconds=60, lateness_seconds=60.0)


@pytest.fixture(scope="module")
def streams():
    clock = FakeClock(START)
    place = MemoryStreams(clock=clock, sleep=clock.sleep)
    write(place, [(START, "control", champion_named())])
    write(place, shuffled(traffic(), within=20.0))
    place.append("scores", [(b"", b"not a record")])
    return place


@pytest.fixture(scope="module")
def live(streams, tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("live") / "live.db", pane_seconds=60)
    tail = Tail(streams, store, SETTINGS, finite=True)
    while tail.step(500, 0.0):
        pass
    tail.finish()
    tail.close()
    return store.digest()


@pytest.fixture(scope="module")
def folder(streams, live, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    names = [name for name in streams.names() if name != "deadletters"]
    archiver = Archiver(streams, names, folder, flush_count=700)
    archiver.run_once(lambda: False)
    archiver.close()
    return folder


def digest(panes):
    return {
        (start, series): (c.bins.tobytes(), c.counts.tobytes())
        for start, pane in panes.items()
        for series, c in pane.items()
    }


def test_panes_of_the_archive_are_those_of_the_tail(folder, live):
    panes = birdwatch.open_archive(folder).panes(SETTINGS)
    assert digest(panes) == live
    assert len(panes) > 9
    assert any(series.segment == "from=A" for series in next(iter(panes.values())))


def test_of_some_time_the_panes_are_the_same(folder, live):
    since, until = START + 120, START + 300
    panes = birdwatch.open_archive(folder).panes(SETTINGS, since=since, until=until)
    assert digest(panes) == {(start, s): pane for (start, s), pane in live.items() if since <= start < until}
    narrowed = birdwatch.open_archive(folder).where(since=since, until=until)
    assert list(narrowed.panes(SETTINGS)) == list(panes)


def test_the_tail_counts_an_address_of_an_archive(folder, live, tmp_path):
    place, letters = open_streams(f"archive:{folder}"), open_streams(f"sqlite:{tmp_path}/letters")
    store = Store(tmp_path / "a.db", pane_seconds=60)
    tail = Tail(place, store, SETTINGS, letters=letters, finite=True)
    while tail.step(300, 0.0):
        pass
    tail.finish()
    tail.close()
    assert store.digest() == live
    assert tail.dead_letters == 1
    assert letters.names() == ["deadletters"]


def test_with_little_memory_streams_wait_for_one_another_and_the_panes_are_the_same(folder, live):
    little = SETTINGS.model_copy(update={"most_rows": 500})
    assert digest(birdwatch.open_archive(folder).panes(little)) == live


def test_of_a_long_time_too_all_panes_are_there(tmp_path):
    clock = FakeClock(START)
    place = MemoryStreams(clock=clock, sleep=clock.sleep)
    times = [START + 86_400.0 * day for day in range(0, 201, 5)]
    place.append(
        "scores", [(b"", encode(a_score(request_id=f"r{ts}", request_ts=ts, ts=ts, score=0.5))) for ts in times]
    )
    archiver = Archiver(place, ["scores"], tmp_path)
    archiver.run_once(lambda: False)
    archiver.close()
    assert list(birdwatch.open_archive(tmp_path).panes(SETTINGS)) == times


def test_panes_are_of_all_models(folder):
    archive = birdwatch.open_archive(folder)
    with pytest.raises(ValueError, match="panes are of all models"):
        archive.where(model="champion").panes(SETTINGS)
    assert Series("counts") in next(iter(archive.panes(SETTINGS).values()))
