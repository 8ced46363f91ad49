"""Tails that share the partitions, and the merge of what they count: equal to one tail, whatever happens to them."""

import numpy as np
import pytest

from birdwatch import records
from birdwatch.config import Feature, Segment, Settings
from birdwatch.deltas import PaneDelta
from birdwatch.errors import MovedError, SettingsError, StoreError
from birdwatch.streams import Partition
from birdwatch.testing import FakeClock
from birdwatch.windows.accounts import unreadable_table
from birdwatch.windows.lag import read_lag
from birdwatch.windows.merge import Merge
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span
from birdwatch.windows.tail import Tail
from birdwatch.windows.worker import Worker

from .brokers import MemoryBroker
from .traffic import START, champion_named, shuffled, traffic

GROUP = "tail"
LANES = 4


def settings(**more):
    return Settings(
        pane_seconds=60,
        lateness_seconds=30,
        idle_seconds=30,
        features={"size": Feature(), "from": Feature(kind="category", most=2)},
        segments={"from": Segment(most=2), "size": Segment(kind="number")},
        **more,
    )


def filled(events, partitions=LANES):
    """Write events, keyed by request, with the champion named first."""
    broker = MemoryBroker(partitions)
    broker.append("control", [(records.CONTROL_KEY, records.encode(champion_named()))])
    for _, stream, record in events:
        key = getattr(record, "request_id", None) or record.id
        broker.append(stream, [(key.encode(), records.encode(record))])
    return broker


def by_one_tail(broker, path, **options):
    store = Store(path, pane_seconds=60)
    tail = Tail(broker, store, settings(), now=FakeClock(START + 1e6), **options)
    while tail.step(500):
        pass
    tail.finish()
    return store


class Fleet:
    """Workers and a merge over one broker, moved by hand; the clock is theirs."""

    def __init__(self, broker, path):
        self.broker = broker
        self.clock = FakeClock(START + 1e6)
        self.store = Store(path, pane_seconds=60)
        self.workers = []
        self.merge = self._merge()
        self.moved = 0

    def _merge(self):
        return Merge(self.broker, self.store, settings(), group=GROUP, now=self.clock)

    def join(self):
        self.workers.append(Worker(self.broker, settings(), group=GROUP, now=self.clock))

    def kill(self, place):
        """End a worker without a word: the group learns of it, what was in its memory is gone."""
        worker = self.workers.pop(place)
        if worker._reader in self.broker.members[GROUP]:
            self.broker.expel(worker._reader)

    def stop(self, place):
        """Have the group take a worker for dead between reading and writing; it goes on and does not know."""
        self.workers[place]._reader.struck = True

    def step(self, place, limit):
        self.clock.now += 0.5
        try:
            return self.workers[place].step(limit)
        except MovedError:
            self.moved += 1
            self.kill(place)
            self.join()
            return 1

    def merge_anew(self):
        self.merge = self._merge()

    def finish(self):
        """Let all be read, and the wall clock go on until the last panes have closed."""
        quiet = 0
        while quiet < 20:
            read = sum(self.step(place, 500) for place in range(len(self.workers)))
            self.merge.step()
            self.clock.now += 0 if read else 20
            quiet = 0 if read else quiet + 1
        while self.merge.step():
            pass
        return self.store


def test_workers_and_a_merge_count_what_one_tail_counts(tmp_path):
    once = traffic(rate=2.0)
    events = shuffled(once + once[::7], within=25)
    plain = by_one_tail(filled(events), tmp_path / "one.db")
    fleet = Fleet(filled(events), tmp_path / "all.db")
    for _ in range(3):
        fleet.join()
    store = fleet.finish()
    assert store.digest() == plain.digest()
    champion = (int(START), int(START) + 600, "champion", "canary")
    assert store.extremes(*champion) == plain.extremes(*champion)
    arrived, expected = store.arrivals(0, 2**40), plain.arrivals(0, 2**40)
    assert {s: a.duplicates for s, a in arrived.items()} == {s: a.duplicates for s, a in expected.items()}
    assert arrived["scores"].late == expected["scores"].late == 0
    assert {s[:3] for s in store.sources()} >= {("scores", 1, "champion"), ("canary", 3, "canary")}


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_to_workers_each_row_counts_once(tmp_path, seed):
    events = shuffled(traffic(rate=1.0), within=25)
    plain = by_one_tail(filled(events), tmp_path / "one.db")
    rng = np.random.default_rng(seed)
    fleet = Fleet(filled(events), tmp_path / "all.db")
    fleet.join()
    for _ in range(150):
        act = rng.random()
        if act < 0.08 and len(fleet.workers) < 5:
            fleet.join()
        elif act < 0.14 and len(fleet.workers) > 1:
            fleet.kill(int(rng.integers(len(fleet.workers))))
        elif act < 0.2:
            fleet.stop(int(rng.integers(len(fleet.workers))))
        elif act < 0.25:
            fleet.merge_anew()
        elif act < 0.4:
            fleet.merge.step(int(rng.integers(1, 30)))
        else:
            fleet.step(int(rng.integers(len(fleet.workers))), int(rng.integers(1, 80)))
    store = fleet.finish()
    assert store.digest() == plain.digest()
    assert fleet.moved or not seed


def test_a_member_that_was_taken_for_dead_writes_nothing(tmp_path):
    fleet = Fleet(filled(traffic()), tmp_path / "all.db")
    fleet.join()
    fleet.join()
    for _ in range(5):
        fleet.step(0, 500)
        fleet.step(1, 500)
    before = len(fleet.broker.logs["panes", 0])
    fleet.stop(0)
    fleet.clock.now += 60  # it has much to say
    with pytest.raises(MovedError):
        fleet.workers[0].step()
    assert len(fleet.broker.logs["panes", 0]) == before


def said(broker):
    """Give what lanes have said, in order."""
    found = [m for at, log in broker.logs.items() if at.stream == "panes" for m in log]
    return [records.decode(m.value, PaneDelta) for m in found]


def test_a_lane_that_has_not_been_read_yet_is_waited_for(tmp_path):
    fleet = Fleet(filled(traffic()), tmp_path / "all.db")
    fleet.join()
    fleet.step(0, 1)  # of all that lies there, one message
    assert {word.lane for word in said(fleet.broker)} == set(range(LANES))
    assert not any(word.idle for word in said(fleet.broker))


def test_a_lane_that_reads_for_long_is_waited_for(tmp_path):
    fleet = Fleet(MemoryBroker(LANES), tmp_path / "all.db")

    def word(lane, closed_until):
        delta = PaneDelta(group=GROUP, pane_seconds=60, lane=lane, closed_until=closed_until)
        fleet.broker.append("panes", [(str(lane).encode(), records.encode(delta))])

    for _ in range(40):
        fleet.clock.now += 2
        word(1, None)
        word(0, int(START) + 60)
        fleet.merge.step()
    assert fleet.store.noted("closed_until", None) is None
    word(1, int(START) + 60)
    fleet.merge.step()
    fleet.merge.step()
    assert fleet.store.noted("closed_until", None) == int(START) + 60


def test_a_lane_of_which_a_part_comes_late_loses_nothing(tmp_path):
    events = traffic(rate=1.0)
    plain = by_one_tail(filled(events), tmp_path / "one.db")
    fleet = Fleet(filled(events), tmp_path / "all.db")
    fleet.join()
    fleet.clock.now += 2.0
    fleet.step(0, 40)  # says how far it has come; its first panes are open
    fleet.kill(0)
    fleet.broker.hidden = {"requests"}  # who shares out has not heard of it yet
    fleet.join()
    for _ in range(80):
        fleet.step(0, 500)
        fleet.merge.step()
        fleet.clock.now += 2.0
    fleet.broker.hidden = set()
    fleet.broker.rebalance(GROUP)
    assert fleet.finish().digest() == plain.digest()


def test_lanes_that_came_after_the_judge_are_waited_for(tmp_path):
    broker = MemoryBroker(2)
    fleet = Fleet(broker, tmp_path / "all.db")
    fleet.merge.step()
    for event in filled(traffic()).logs[Partition("scores", 0)]:
        broker.append("scores", [(event.key, event.value)])
    for lane in (0, 1):
        for _ in range(2):
            delta = PaneDelta(group=GROUP, pane_seconds=60, lane=lane, closed_until=int(START) + 60)
            broker.append("panes", [(b"", records.encode(delta))])
            fleet.merge.step()
        closed = fleet.store.noted("closed_until", None)
        assert closed == (None if lane == 0 else int(START) + 60)


def test_a_silent_lane_is_waited_for_until_it_has_told_what_it_holds(tmp_path):
    fleet = Fleet(filled(traffic(seconds=50)), tmp_path / "all.db")
    fleet.join()
    while fleet.step(0, 500):
        pass
    for _ in range(40):  # of silence, one step each half second
        fleet.clock.now += 1
        fleet.step(0, 500)
    silent = [word.idle for word in said(fleet.broker) if word.start is None]
    assert not any(silent)
    for _ in range(40):
        fleet.clock.now += 1
        fleet.step(0, 500)
    words = said(fleet.broker)
    told = {word.lane: place for place, word in enumerate(words) if word.start is not None}
    assert all(place > told[word.lane] for place, word in enumerate(words) if word.idle)
    assert any(word.idle for word in words)


@pytest.mark.parametrize("many", [False, True])
def test_what_nobody_can_read_holds_nothing_up_for_ever(tmp_path, many):
    broker = filled(traffic(seconds=200), 1)
    broker.logs.pop(("canary", 0))
    broker.append("canary", [(b"", b"?")])
    fleet = Fleet(broker, tmp_path / "all.db")
    if many:
        fleet.join()
        store = fleet.finish()
    else:
        store = Store(tmp_path / "one.db", pane_seconds=60)
        tail = Tail(broker, store, settings(), now=fleet.clock)
        for _ in range(200):
            fleet.clock.now += 1
            tail.step(500)
    assert store.is_closed(int(START) + 60)


def test_panes_wait_for_what_operators_did(tmp_path):
    class Slow(MemoryBroker):
        def reader(self, streams, **options):
            reader = super().reader(streams, **options)
            if streams == ["control"]:
                reader.pause({("control", 0)})  # as a consumer's first answer takes a while
                self.control = reader
            return reader

    broker = Slow(LANES)
    broker.logs |= filled(traffic()).logs
    fleet = Fleet(broker, tmp_path / "all.db")
    fleet.join()
    for _ in range(50):
        fleet.step(0, 500)
    assert not said(broker)
    broker.control.resume({("control", 0)})
    plain = by_one_tail(filled(traffic()), tmp_path / "one.db")
    assert fleet.finish().digest() == plain.digest()


def test_a_lane_of_which_a_part_was_taken_is_read_anew(tmp_path):
    fleet = Fleet(filled(traffic()), tmp_path / "all.db")
    fleet.join()
    for _ in range(3):
        fleet.step(0, 500)
    reader = fleet.workers[0]._reader
    gone = next(at for at in reader.next if at.stream == "outcomes")
    del reader.next[gone]
    reader.taken.add(gone)
    with pytest.raises(MovedError, match="read anew"):
        fleet.workers[0].step()


def test_a_store_is_counted_into_by_one_group_or_a_tail_alone(tmp_path):
    broker = filled(traffic(seconds=100))
    shared = Fleet(broker, tmp_path / "all.db").store
    with pytest.raises(StoreError, match=r"all\.db was counted by the group tail.*another --store"):
        Tail(broker, shared, settings())
    with pytest.raises(StoreError, match="by the group tail, not by the group other"):
        Merge(broker, shared, settings(), group="other")
    with pytest.raises(StoreError, match="by a tail alone"):
        Merge(broker, by_one_tail(broker, tmp_path / "one.db"), settings(), group=GROUP)


def test_tails_and_judge_that_count_panes_of_different_lengths_are_told_so(tmp_path):
    fleet = Fleet(filled(traffic()), tmp_path / "all.db")
    fleet.store.close()
    fleet.store = Store(tmp_path / "other.db", pane_seconds=120)
    fleet.merge_anew()
    fleet.join()
    fleet.step(0, 500)
    with pytest.raises(SettingsError, match=r"panes of 60 s.*panes of 120 s"):
        fleet.merge.step()


def test_one_tail_closes_no_pane_before_it_knows_what_operators_did(tmp_path):
    broker = filled(traffic())
    store = Store(tmp_path / "one.db", pane_seconds=60)
    tail = Tail(broker, store, settings(), now=FakeClock(START + 1e6))
    tail._reader.pause([Partition("control", 0)])  # as where its first messages take longer than the others'
    for _ in range(10):
        tail.step()
    assert store.closed_range() is None
    tail._reader.resume([Partition("control", 0)])
    tail.step()
    tail.step()
    assert store.closed_range() is not None
    assert any(series.measure == "pair" for _, series in store.digest())


def test_the_merge_keeps_what_workers_could_not_read_and_have_not_read(tmp_path):
    broker = filled(shuffled(traffic(rate=1.0), within=25))
    for key in range(12):
        broker.append("scores", [(str(key).encode(), b"{")])
    fleet = Fleet(broker, tmp_path / "all.db")
    for _ in range(2):
        fleet.join()
    for _ in range(4):
        for place in range(2):
            fleet.step(place, 60)
        fleet.merge.step()
    behind = read_lag(fleet.store)
    assert sum(behind.values()) > 0
    assert {at.number for at in behind if at.stream == "scores"} == set(range(LANES))
    fleet.kill(0)
    fleet.merge_anew()
    fleet.join()
    store = fleet.finish()
    table = unreadable_table(store, Span(*store.closed_range(), 60))
    assert table.groupby(["stream", "kind"])["n"].sum().to_dict() == {("scores", "unreadable"): 12}
    assert {messages for at, messages in read_lag(store).items() if at.stream != "panes"} == {0}
