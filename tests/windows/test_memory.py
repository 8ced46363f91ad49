"""What was read of a store is remembered: the same sums, of which only the new panes are read."""

import numpy as np
import pytest

from birdwatch.windows.memory import Memory, RememberingStore
from birdwatch.windows.pane import Counts, Series, total
from birdwatch.windows.store import Store

HOUR = 3_600
MODELS = ("champion", "challenger")


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    yield made
    made.close()


def fill(store, since, until, seed=0):
    rng = np.random.default_rng(seed + since)
    with store.transaction():
        for start in range(since, until, 60):
            pane = {Series("score", model, "1"): Counts.of(rng.integers(0, 9, 5)) for model in MODELS}
            store.put(start, pane | {Series("counts"): Counts.of([0], [5])})


def added_up(store, since, until, step, **asked):
    parts = {}
    for start, series, counts in store.rows(since, until, step=step, **asked):
        parts.setdefault(((start - since) // step, series), []).append(counts)
    return {at: [part.tolist() for part in total(found)] for at, found in parts.items()}


def remembered(store, memory, *asked, **named):
    reader = RememberingStore(store.path, memory)
    try:
        return added_up(reader, *asked, **named)
    finally:
        reader.close()


@pytest.mark.parametrize("step", [60, 600, HOUR, 7 * HOUR])
@pytest.mark.parametrize("asked", [{"measure": "score"}, {"measure": "score", "model": "champion"}, {"measure": "*"}])
def test_the_sums_are_those_of_the_store_however_it_grew(store, step, asked):
    memory, end = Memory(), 0
    for more in (HOUR, 60, 60, 600, 2 * HOUR, 1_260):
        fill(store, end, end + more)
        end += more
        for until in (end, 7 * HOUR):
            assert remembered(store, memory, 0, until, step, **asked) == added_up(store, 0, until, step, **asked)


def test_a_range_that_moves_along_keeps_its_sums(store):
    memory = Memory()
    fill(store, 0, 4 * HOUR)
    for since in (0, HOUR, 2 * HOUR, 0):
        span = (since, since + 2 * HOUR, HOUR)
        assert remembered(store, memory, *span, measure="score") == added_up(store, *span, measure="score")


def test_only_new_panes_are_read_again(store, monkeypatch):
    memory, read = Memory(), []
    fill(store, 0, 2 * HOUR)
    remembered(store, memory, 0, 4 * HOUR, HOUR, measure="score")
    original = Store.rows
    monkeypatch.setattr(
        Store,
        "rows",
        lambda self, since, until, **named: read.append((since, until)) or original(self, since, until, **named),
    )
    fill(store, 2 * HOUR, 2 * HOUR + 120)
    remembered(store, memory, 0, 4 * HOUR, HOUR, measure="score")
    remembered(store, memory, 0, 4 * HOUR, HOUR, measure="score")
    assert read == [(2 * HOUR, 2 * HOUR + 120)]


def test_of_a_store_that_was_emptied_nothing_is_remembered(store):
    memory = Memory()
    fill(store, 0, 2 * HOUR)
    remembered(store, memory, 0, 2 * HOUR, HOUR, measure="score")
    for table in ("closed", "panes"):
        store.connection.execute(f"DELETE FROM {table} WHERE start >= {HOUR}")  # noqa: S608 - no value
    found = remembered(store, memory, 0, 2 * HOUR, HOUR, measure="score")
    assert {block for block, _ in found} == {0}


def test_what_is_added_to_a_closed_pane_shows_after_a_while(store):
    clock = Clock()
    memory = Memory(seconds=600, now=clock)
    fill(store, 0, HOUR)
    before = remembered(store, memory, 0, 2 * HOUR, HOUR, measure="counts")
    store.add(0, {Series("counts"): Counts.of([0], [1_000])})
    assert remembered(store, memory, 0, 2 * HOUR, HOUR, measure="counts") == before
    clock.now = 601.0
    assert remembered(store, memory, 0, 2 * HOUR, HOUR, measure="counts") != before


def test_what_nobody_asked_for_the_longest_is_forgotten_first(store, monkeypatch):
    memory, read = Memory(most=2), []
    fill(store, 0, HOUR)
    original = Store.rows
    monkeypatch.setattr(
        Store, "rows", lambda self, *at, **named: read.append(named["model"]) or original(self, *at, **named)
    )
    for model in ("champion", "challenger", "champion", "nobody", "champion"):
        remembered(store, memory, 0, 2 * HOUR, HOUR, measure="score", model=model)
    assert read.count("champion") == 1
    for model in ("challenger", "champion"):
        remembered(store, Memory(most=1), 0, 2 * HOUR, HOUR, measure="score", model=model)
    assert read.count("challenger") == 2
