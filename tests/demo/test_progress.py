"""All have caught up when nothing more comes of what is on the streams."""

import pytest

from birdwatch.alerts.outbox import due, mark_delivered, put, subscribe
from birdwatch.demo.progress import Progress
from birdwatch.records import Alert
from birdwatch.serving.control.guard import GROUP
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
    progress = Progress(streams, store, lambda: None)
    assert progress.caught_up()
    streams.append("scores", [(b"", b"{}")] * 3)
    streams.append("results", [(b"", b"{}")])
    assert not progress.caught_up()
    store.put_checkpoints({Partition("scores"): Checkpoint(0, 2)})
    assert not progress.caught_up()
    store.put_checkpoints({Partition("scores"): Checkpoint(0, 3)})
    assert progress.caught_up()


def read_by(streams, group, *names):
    reader = streams.reader(names, group=group)
    reader.poll(timeout=0.0)
    reader.commit()
    reader.close()


def test_it_waits_for_the_tail_and_the_guard_to_know_of_a_change(streams, store):
    progress = Progress(streams, store, lambda: None)
    streams.append("control", [(b"", b"{}")])
    assert not progress.caught_up()
    store.put_checkpoints({Partition("control"): Checkpoint(0, 1)})
    assert not progress.caught_up()
    read_by(streams, GROUP, "control", "alerts")
    assert progress.caught_up()


def test_it_waits_until_an_alert_is_on_its_stream_and_the_guard_has_acted_on_it(streams, store):
    progress = Progress(streams, store, lambda: None)
    subscribe(store, "webhook")
    subscribe(store, "stream")
    about = {
        "rule": "pairs",
        "severity": "page",
        "attribution": "",
        "model": "m",
        "version": "2",
        "reason": "it differs",
    }
    put(store, Alert(fingerprint="ab12", ts=60.0, started=0.0, state="firing", **about))
    assert not progress.caught_up()
    (item,) = due(store, "stream", 0.0)
    streams.append("alerts", [(b"", b"{}")])
    mark_delivered(store, item, 0.0)
    assert not progress.caught_up()
    read_by(streams, GROUP, "control", "alerts")
    assert progress.caught_up()  # the webhook may take its time


def test_what_the_guard_did_while_one_looked_is_not_overlooked(streams, store, monkeypatch):
    progress = Progress(streams, store, lambda: None)
    committed = streams.committed

    def acting(group, names):
        monkeypatch.undo()
        streams.append("control", [(b"", b"{}")])
        read_by(streams, GROUP, "control", "alerts")
        return committed(group, names)

    monkeypatch.setattr(streams, "committed", acting)
    assert not progress.caught_up()
    assert not progress.caught_up()  # the tail has it before it


def test_it_looks_after_the_processes_twice_a_second(streams, store):
    now = [0.0]
    checks = []
    progress = Progress(streams, store, lambda: checks.append(now[0]), clock=lambda: now[0])
    for tenth in range(1, 21):
        now[0] = tenth / 10
        progress.caught_up()
    assert checks == [0.5, 1.0, 1.5, 2.0]
