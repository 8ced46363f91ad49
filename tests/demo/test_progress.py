"""The tail has caught up when its store says that all which is on the streams was counted."""

import pytest

from birdwatch.demo.progress import TailProgress
from birdwatch.streams import Partition, open_streams
from birdwatch.windows.store import Checkpoint, Store


@pytest.fixture
def streams(tmp_path):
    place = open_streams(f"sqlite:{tmp_path / 'streams'}")
    yield place
    place.close()


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "birdwatch.db", pane_seconds=3600)
    yield made
    made.close()


def test_it_follows_every_stream_that_the_tail_reads(streams, store):
    progress = TailProgress(streams, store, lambda: None)
    assert progress.caught_up()
    streams.append("scores", [(b"", b"{}")] * 3)
    streams.append("results", [(b"", b"{}")])
    assert not progress.caught_up()
    store.put_checkpoints({Partition("scores"): Checkpoint(0, 2)})
    assert not progress.caught_up()
    store.put_checkpoints({Partition("scores"): Checkpoint(0, 3)})
    assert progress.caught_up()
    streams.append("control", [(b"", b"{}")])
    assert not progress.caught_up()


def test_it_looks_after_the_processes_twice_a_second(streams, store):
    now = [0.0]
    checks = []
    progress = TailProgress(streams, store, lambda: checks.append(now[0]), clock=lambda: now[0])
    for tenth in range(1, 21):
        now[0] = tenth / 10
        progress.caught_up()
    assert checks == [0.5, 1.0, 1.5, 2.0]
