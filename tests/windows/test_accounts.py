"""Accounts: what came in is scored, failed or pending, whatever was lost on the way."""

import pytest

from birdwatch.windows.accounts import arm_table, arrival_table, audit_table, extreme_table, source_table
from birdwatch.windows.pane import COUNTERS, PROPENSITY_PARTS, Counts, Series
from birdwatch.windows.store import Extreme, Source, Store
from birdwatch.windows.tables import Span

HOUR = 3_600
SPAN = Span(0, 4 * HOUR, HOUR)


def counted(**of):
    return Counts.of([COUNTERS.index(name) for name in of], list(of.values()))


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store.db", pane_seconds=HOUR)
    yield store
    store.close()


def test_what_came_in_is_scored_failed_or_pending(store):
    for hour in range(4):
        pane = {
            Series("counts"): counted(requests=100),
            Series("counts", "m", "1"): counted(events=90, errors=3, nulls=2),
        }
        store.put(hour * HOUR, pane)
    table = audit_table(store, SPAN)
    assert table[["requests", "scored", "failed", "pending"]].to_numpy().tolist() == [[100, 85, 5, 10]] * 4


def test_versions_answer_for_requests_together_and_only_while_they_are_there(store):
    store.put(0, {Series("counts"): counted(requests=100)})
    of_both = {Series("counts", "m", "1"): counted(events=40), Series("counts", "m", "2"): counted(events=60)}
    store.put(HOUR, {Series("counts"): counted(requests=100), **of_both})
    store.put(2 * HOUR, {Series("counts"): counted(requests=50)})
    (row,) = audit_table(store, SPAN).itertuples(index=False)
    assert (row.requests, row.scored, row.pending) == (100, 100, 0)


def test_scores_without_a_request_answer_for_none(store):
    store.put(0, {Series("counts"): counted(requests=10), Series("counts", "m", "1"): counted(events=10, orphans=4)})
    (row,) = audit_table(store, SPAN).itertuples(index=False)
    assert (row.scored, row.pending, row.orphans) == (6, 4, 4)


def test_a_store_without_scores_accounts_for_nothing(store):
    assert audit_table(store, SPAN).empty
    store.put(0, {Series("counts"): counted(requests=10)})
    assert audit_table(store, SPAN).empty


def test_the_source_that_is_furthest_behind_stands_first(store):
    store.put_sources([Source("scores", 0, "a", 1000.0, idle=False), Source("scores", 1, "b", 400.0, idle=True)])
    table = source_table(store)
    assert table[["model", "behind", "idle"]].to_numpy().tolist() == [["b", 600.0, True], ["a", 0.0, False]]


def test_what_came_late_or_twice_is_counted_by_stream(store):
    store.put_duplicates(0, {"scores": 3})
    store.add_late(HOUR, "scores", 2)
    store.add_late(9 * HOUR, "scores", 7)
    assert arrival_table(store, SPAN).to_numpy().tolist() == [["scores", 2, 3]]


def test_arms_are_drawn_as_often_as_they_should_be(store):
    half = 2 * (PROPENSITY_PARTS // 2)
    store.put(0, {Series("propensity", "m", "1"): Counts.of([half, half + 1], [30, 10])})
    (row,) = arm_table(store, SPAN).itertuples(index=False)
    assert (row.n, row.expected, row.drawn) == (40, 0.5, 0.25)


def test_the_largest_disagreements_come_first(store):
    store.put_extremes(0, [Extreme("m", "1", "c", "r1", 0.5, 0.4), Extreme("m", "1", "c", "r2", 0.1, 0.9)])
    table = extreme_table(store, SPAN, "m", "c")
    assert table["request_id"].tolist() == ["r2", "r1"]
    assert table["difference"].tolist() == pytest.approx([-0.8, 0.1])
