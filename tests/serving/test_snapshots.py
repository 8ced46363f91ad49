import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.records import Snapshot, encode, new_id
from birdwatch.serving.snapshots import latest, save
from birdwatch.streams import open_streams
from birdwatch.streams.base import Message, Partition
from birdwatch.testing import FakeClock, MemoryStreams


@pytest.fixture
def streams():
    clock = FakeClock()
    return MemoryStreams(clock=clock, sleep=clock.sleep)


def a_snapshot(component="bandit", by="one", ts=0.0, **fields):
    return Snapshot(component=component, by=by, ts=ts, **({"state": {}} | fields))


def test_without_snapshots_there_is_none(streams):
    assert latest(streams, "bandit") is None


def test_the_last_of_the_component_is_found_whole(streams):
    saved = a_snapshot(ts=2.0, state={"n": [1, 2]}, positions={"metrics/0": 7}, token=new_id())
    for each in (a_snapshot(ts=1.0), saved, a_snapshot("rendezvous", ts=3.0)):
        save(streams, each)
    assert latest(streams, "bandit") == saved


def test_the_last_counts_although_the_clock_was_set_back(streams):
    save(streams, a_snapshot(ts=9.0))
    save(streams, a_snapshot(ts=3.0, state="last"))
    assert latest(streams, "bandit").state == "last"


def test_that_of_one_instance_can_be_asked_for(streams):
    for by, ts in [("one", 1.0), ("two", 2.0)]:
        save(streams, a_snapshot(by=by, ts=ts))
    assert latest(streams, "bandit", by="one").ts == 1.0
    assert latest(streams, "bandit", by="three") is None


def test_what_cannot_be_read_is_passed_by(streams):
    save(streams, a_snapshot(ts=1.0))
    streams.append("snapshots", [(b"bandit", b"{"), (b"bandit", b'{"component": "bandit"}'), (b"", b"\xff")])
    assert latest(streams, "bandit").ts == 1.0


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200))
def test_it_is_found_however_far_back_it_lies(before, after):
    clock = FakeClock()
    streams = MemoryStreams(clock=clock, sleep=clock.sleep)
    other = (b"rendezvous", encode(a_snapshot("rendezvous", ts=99.0)))
    streams.append("snapshots", [other] * before)
    save(streams, a_snapshot(ts=1.0))
    streams.append("snapshots", [other] * after)
    assert latest(streams, "bandit").ts == 1.0


@pytest.mark.parametrize(("after", "most"), [(0, 20), (1000, 4000)])
def test_no_more_is_read_than_how_far_back_it_lies(streams, monkeypatch, after, most):
    streams.append("snapshots", [(b"bandit", encode(a_snapshot(ts=float(n)))) for n in range(10_000)])
    streams.append("snapshots", [(b"other", encode(a_snapshot("other")))] * after)
    seen = []
    reader = streams.reader

    def watched(names):
        opened = reader(names)
        poll = opened.poll
        opened.poll = lambda *args, **options: seen.extend(found := poll(*args, **options)) or found
        return opened

    monkeypatch.setattr(streams, "reader", watched)
    assert latest(streams, "bandit").ts == 9999.0
    assert 1 <= len(seen) <= most


class PartitionedLog:
    """A stream of several partitions, of which the beginning may have been trimmed."""

    def __init__(self, partitions, first=0):
        self._kept = {
            Partition("snapshots", number): [
                Message("snapshots", number, offset, b"", encode(each))
                for offset, each in enumerate(each_one)
                if offset >= first
            ]
            for number, each_one in enumerate(partitions)
        }
        self._ends = {Partition("snapshots", number): len(each) for number, each in enumerate(partitions)}
        self._at = {}

    def ends(self, names):
        return dict(self._ends)

    def reader(self, names):
        return self

    def seek(self, positions):
        self._at |= positions

    def positions(self):
        return dict(self._at)

    def poll(self, limit=1000, timeout=1.0):
        found = []
        for partition, messages in self._kept.items():
            more = [m for m in messages if m.offset >= self._at.get(partition, 0)][: limit - len(found)]
            if more:
                self._at[partition] = more[-1].offset + 1
            found += more
        return found

    def close(self):
        pass


def test_of_several_partitions_the_latest_counts_and_each_is_searched_by_itself():
    deep = [a_snapshot(ts=5.0), *[a_snapshot("rendezvous")] * 100]
    streams = PartitionedLog([deep, [a_snapshot(ts=4.0)], []])
    assert latest(streams, "bandit").ts == 5.0


def test_a_log_whose_beginning_was_trimmed_is_searched_to_its_end():
    assert latest(PartitionedLog([[a_snapshot("rendezvous")] * 80], first=60), "bandit") is None
    kept = [*[a_snapshot("rendezvous")] * 61, a_snapshot(ts=7.0), *[a_snapshot("rendezvous")] * 40]
    assert latest(PartitionedLog([kept], first=60), "bandit").ts == 7.0


def test_it_is_found_by_another_process_on_sqlite(tmp_path):
    address = f"sqlite:{tmp_path}"
    assert latest(open_streams(address), "bandit") is None
    for n in range(40):
        save(open_streams(address), a_snapshot(ts=float(n)))
    assert latest(open_streams(address), "bandit").ts == 39.0
