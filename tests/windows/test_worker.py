"""Tails that share the partitions, and the merge of what they count: equal to one tail, whatever happens to them."""

import numpy as np
import pytest

from birdwatch import records
from birdwatch.config import Feature, Segment, Settings
from birdwatch.errors import MovedError
from birdwatch.testing import FakeClock
from birdwatch.windows.merge import Merge
from birdwatch.windows.store import Store
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
