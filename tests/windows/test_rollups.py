"""Old panes roll up into hours and days, and whatever is asked of them comes to the same."""

from collections import Counter
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.rollups import Held, Keep, Stretch, levels
from birdwatch.windows.store import Extreme, Store

PANE, HOUR, DAY = 1200, 3600, 86_400
A_DAY = DAY // PANE
SERIES = (Series("score", "m", "1"), Series("counts", "m", "1"), Series("counts", segment="a=b"))
FOR_EVER = Keep()


def closing_panes(store, first, last, keep=FOR_EVER):
    """Close the panes that start in [first, last), each in a transaction of its own."""
    for start in range(first, last, PANE):
        with store.transaction():
            store.put(start, {SERIES[0]: Counts.of([start // PANE % 7])})
            store.age(start + PANE, keep, open_from=start)


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "s.db", pane_seconds=PANE)) as opened:
        yield opened


def rows_at(store, seconds):
    """Count what is stored of a level."""
    table, only = ("panes", "") if seconds == PANE else ("rollups", f"WHERE seconds = {seconds}")
    return store.connection.execute(f"SELECT count(DISTINCT start) FROM {table} {only}").get  # noqa: S608


class Plain:
    """What a store should hold: for each pane and series how many are in each bin, in a dictionary."""

    def __init__(self):
        self.panes = {}

    def put(self, start, pane):
        self.panes[start] = {series: Counter(bins) for series, bins in pane.items()}

    def add(self, start, pane):
        for series, bins in pane.items():
            self.panes.setdefault(start, {}).setdefault(series, Counter()).update(bins)

    def by_step(self, since, until, step, held):
        """Add up by step; a pane that was dropped counts where the finest sum that has it begins."""
        found = {}
        for start, pane in self.panes.items():
            at = start // held.finest(start) * held.finest(start)
            if since <= at < until:
                for series, bins in pane.items():
                    found.setdefault((since + (at - since) // step * step, series), Counter()).update(bins)
        return found


def by_step(store, since, until, step):
    return by_step_of(store.rows(since, until, step=step), since, step)


def by_step_of(rows, since, step):
    found = {}
    for start, series, counts in rows:
        bins = dict(zip(counts.bins.tolist(), counts.counts.tolist(), strict=True))
        found.setdefault((since + (start - since) // step * step, series), Counter()).update(bins)
    return found


some_panes = st.dictionaries(st.sampled_from(SERIES), st.lists(st.integers(-3, 3), min_size=1, max_size=4), min_size=1)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("close"), st.integers(1, A_DAY), some_panes),
        st.tuples(st.sampled_from(["add", "again", "killed"]), st.integers(0, 4 * A_DAY), some_panes),
        st.tuples(st.just("restart"), st.just(0), st.just({})),
    ),
    min_size=3,
    max_size=12,
)
queries = st.lists(
    st.tuples(
        st.integers(-A_DAY, 6 * A_DAY).map(lambda n: n * PANE),
        st.integers(1, 6 * A_DAY).map(lambda n: n * PANE),
        st.sampled_from([PANE, HOUR, 2 * HOUR, 6 * HOUR, DAY, 2 * DAY, 5 * PANE, 10 * DAY]),
    ),
    min_size=6,
    max_size=6,
)
keeps = st.sampled_from([FOR_EVER, Keep(panes=6 * HOUR), Keep(panes=DAY, hours=2 * DAY), Keep(panes=0, hours=0)])


def written(pane):
    return {series: Counts.of(bins) for series, bins in pane.items()}


class Twins:
    """A store, and beside it what it should hold."""

    def __init__(self, path, keep):
        self.path, self.keep, self.until = path, keep, 0
        self.store, self.plain = Store(path, pane_seconds=PANE), Plain()

    def do(self, what, n, pane):
        """Do one thing to both; ``n`` panes are closed, or it happens so many panes back."""
        back = max(self.until - n * PANE, 0)
        if what == "restart":
            self.store.close()
            self.store = Store(self.path)
        elif what == "close":
            for _ in range(n):
                self.close(pane)
        elif what == "add":
            with self.store.transaction():
                self.store.add(back, written(pane))
            self.plain.add(back, pane)
        elif what == "again" and back >= self.store.held().kept_from(PANE):
            with self.store.transaction():
                self.store.put(back, written(pane))
            self.plain.put(back, pane)
        elif what == "killed":
            with pytest.raises(RuntimeError):
                self.die(back, pane)

    def close(self, pane):
        with self.store.transaction():
            self.store.put(self.until, written(pane))
            self.store.age(self.until + PANE, self.keep, open_from=self.until)
        self.plain.put(self.until, pane)
        self.until += PANE

    def die(self, back, pane):
        with self.store.transaction():
            self.store.add(back, written(pane))
            list(self.store.rows(0, self.until, step=HOUR))
            self.store.age(self.until, self.keep, open_from=self.until)
            raise RuntimeError


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=actions, asked=queries, keep=keeps, portion=st.sampled_from([1, 20, 10_000]))
def test_whatever_is_asked_is_the_sum_of_the_panes(tmp_path_factory, monkeypatch, steps, asked, keep, portion):
    monkeypatch.setattr("birdwatch.windows.panefile._MOST_ROWS", portion)
    twins = Twins(tmp_path_factory.mktemp("r") / "s.db", keep)
    for step in steps:
        twins.do(*step)
    store, plain = twins.store, twins.plain
    held = store.held()
    for since, length, step in asked:
        assert by_step(store, since, since + length, step) == plain.by_step(since, since + length, step, held)
        whole = plain.by_step(since, since + length, 10**9, held)
        pane = store.pane(since, since + length)
        assert {(since, s): dict(zip(*map(list, c), strict=True)) for s, c in pane.items()} == whole
        finest = plain.by_step(since, since + length, PANE, held)
        assert by_step_of(store.rows(since, since + length), since, PANE) == finest
    for of in held.levels[1:]:
        assert held.done_until(of) <= twins.until
        for cell in range(max(held.kept_from(of), 0), held.done_until(of), of):
            rolled = {s: dict(zip(*map(list, c), strict=True)) for s, c in store._cell(of, cell).items()}
            assert rolled == {s: bins for (_, s), bins in plain_cell(plain, cell, of).items()}
    store.close()


def plain_cell(plain, cell, seconds):
    everything = Held((PANE,), {}, {})
    return plain.by_step(cell, cell + seconds, seconds, everything)


def test_an_hour_is_rolled_up_when_it_has_closed_and_a_day_of_its_hours(store):
    closing_panes(store, 0, DAY + HOUR - PANE)
    assert (rows_at(store, PANE), rows_at(store, HOUR), rows_at(store, DAY)) == (A_DAY + 2, 24, 1)
    assert store.held().done == {HOUR: DAY, DAY: DAY}


def test_a_quiet_time_holds_no_day_up(store):
    closing_panes(store, 0, HOUR)
    with store.transaction():
        store.age(3 * DAY, FOR_EVER, open_from=0)
    closing_panes(store, 3 * DAY, 3 * DAY + PANE)
    assert store.held().done == {HOUR: 3 * DAY, DAY: 3 * DAY}
    assert rows_at(store, DAY) == 1


def test_what_is_older_than_is_kept_is_dropped_and_still_counts(store):
    closing_panes(store, 0, 3 * DAY + PANE, Keep(panes=DAY, hours=2 * DAY))
    assert (rows_at(store, PANE), rows_at(store, HOUR), rows_at(store, DAY)) == (A_DAY + 1, 2 * 24, 3)
    assert store.pane(0, 3 * DAY)[SERIES[0]].counts.sum() == 3 * A_DAY
    assert store.closed_range() == (0, 3 * DAY + PANE)


def test_nothing_is_dropped_that_may_still_be_written_again(store):
    for start in range(0, 4 * HOUR, PANE):
        with store.transaction():
            store.put(start, {SERIES[0]: Counts.of([1])})
            store.age(start + PANE, Keep(panes=0), open_from=HOUR)
    assert store.held().kept == {PANE: HOUR}


def test_rows_too_late_for_a_pane_that_was_dropped_are_added_to_the_finest_that_is_there(store):
    closing_panes(store, 0, 2 * DAY, Keep(panes=0))
    with store.transaction():
        store.add(PANE, {SERIES[0]: Counts.of([100])})
        store.add(PANE, {SERIES[1]: Counts.of([3])})
    for since, until in ((0, HOUR), (0, DAY)):
        assert 100 in store.pane(since, until)[SERIES[0]].bins
    assert [start for start, *_ in store.rows(0, HOUR, measure="counts")] == [0]
    with pytest.raises(ValueError, match="rolled up and dropped"):
        store.put(PANE, {})


def test_a_query_through_an_hour_of_which_only_the_sum_is_left_has_all_of_it_at_its_start(store):
    closing_panes(store, 0, 3 * HOUR, Keep(panes=0))
    first, second = (store.pane(0, HOUR)[SERIES[0]].counts.sum(), 3)
    assert store.pane(0, PANE)[SERIES[0]].counts.sum() == first == second
    assert store.pane(PANE, HOUR) == {}


def test_the_largest_disagreements_of_an_hour_outlive_its_panes(store):
    for start in range(0, HOUR, PANE):
        store.put(start, {SERIES[0]: Counts.of([1])})
        store.put_extremes(start, [Extreme("m", "1", "c", f"{start}-{n}", n, 0.0) for n in range(6)])
    for _ in range(2):
        store.age(2 * HOUR, Keep(panes=0), open_from=2 * HOUR)
    kept = [extreme.score for _, extreme in store.extremes(0, HOUR, "m", "c", most=100)]
    assert kept == [5.0] * 3 + [4.0] * 3 + [3.0] * 3 + [2.0]


def test_a_store_that_was_never_rolled_up_is_read_and_catches_up_in_portions(store, monkeypatch):
    for start in range(0, 2 * DAY, PANE):
        store.put(start, {SERIES[0]: Counts.of([start // PANE % 7])})
    store.connection.execute("DROP TABLE rollups")
    store.connection.execute("ALTER TABLE damaged DROP COLUMN seconds")
    store.connection.execute("UPDATE meta SET (value, sum) = ('3', NULL) WHERE key = 'schema'")
    with closing(Store(store.path, readonly=True)) as beside:
        before = beside.pane(0, 2 * DAY)[SERIES[0]].counts.tolist()
    monkeypatch.setattr("birdwatch.windows.panefile._MOST_ROWS", 30)
    with closing(Store(store.path)) as after:
        steps = 0
        while after.age(2 * DAY, FOR_EVER, open_from=2 * DAY):
            steps += 1
            assert after.pane(0, 2 * DAY)[SERIES[0]].counts.tolist() == before
        assert steps > 4
        assert after.held().done == {HOUR: 2 * DAY, DAY: 2 * DAY}


def test_a_damaged_roll_up_is_put_aside_and_made_anew_from_what_is_left(store):
    closing_panes(store, 0, DAY)
    whole = store.pane(0, DAY)
    store.connection.execute("UPDATE rollups SET bins = x'0300000000000000' WHERE seconds = ?", (DAY,))
    with store.transaction():
        assert store.pane(0, DAY) == {}
    assert store.damaged() == 1
    assert store.pane(0, DAY)[SERIES[0]].counts.tolist() == whole[SERIES[0]].counts.tolist()


def test_what_is_renewed_inside_a_part_that_is_undone_is_renewed_again(store):
    closing_panes(store, 0, HOUR)
    with store.transaction():
        store.add(0, {SERIES[0]: Counts.of([50])})
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.note("n", list(store.rows(0, HOUR, step=HOUR)) and 1 / 0)
    assert 50 in store.pane(0, HOUR)[SERIES[0]].bins


def test_stretches_are_read_from_the_coarsest_level_that_serves():
    held = Held(levels(60), {HOUR: 10 * DAY, DAY: 10 * DAY}, {})
    assert held.stretches(0, 2 * DAY, DAY) == [Stretch(DAY, 0, 2 * DAY)]
    assert held.stretches(HOUR, 2 * DAY, DAY) == [Stretch(HOUR, HOUR, 2 * DAY)]
    assert held.stretches(30, DAY, HOUR) == [Stretch(60, 30, DAY)]
    assert held.stretches(DAY - 60, 3 * DAY + 60, 10 * DAY) == [
        Stretch(60, DAY - 60, DAY),
        Stretch(DAY, DAY, 3 * DAY),
        Stretch(60, 3 * DAY, 3 * DAY + 60),
    ]
