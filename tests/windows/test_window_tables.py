"""Tables of panes: rolled up by addition, checked against the raw values."""

import numpy as np
import pandas as pd
import pytest

from birdwatch.stats.grid import bins_of
from birdwatch.windows import tables
from birdwatch.windows.pane import COUNTERS, FIXED_POINT, Counts, Series, selection_bin
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span

HOUR = 3600
DAY = Span(0, 24 * HOUR, 6 * HOUR)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "birdwatch.db", pane_seconds=HOUR)
    yield opened
    opened.close()


@pytest.mark.parametrize("days", [0.1, 1, 7, 30, 90, 365, 4000])
@pytest.mark.parametrize("pane_seconds", [60, 3600])
def test_a_step_is_whole_panes_covers_the_range_and_keeps_to_its_most(days, pane_seconds):
    since, until = 1_364_774_400 + 1234, 1_364_774_400 + 1234 + days * 86_400
    span = tables.step_for(since, until, pane_seconds)
    assert span.step % pane_seconds == 0
    assert span.since <= since
    assert span.until >= until
    assert span.since % span.step == span.until % span.step == 0
    assert len(span.starts) <= 250 + 1


def test_panes_of_an_odd_length_have_steps_too():
    assert tables.step_for(0, 7000, 7) == Span(0, 7000, 35)


def test_a_range_that_moves_with_the_clock_keeps_its_steps():
    spans = [tables.step_for(t, t + 7 * 86_400, 60) for t in range(0, 7200, 600)]
    assert {span.step for span in spans} == {HOUR}
    assert {span.since % HOUR for span in spans} == {0}


def test_many_versions_are_looked_at_in_longer_steps(store):
    store.put(0, {Series("counts", f"m{i}", "1"): Counts.of([1]) for i in range(20)})
    span = tables.span_of(store, 0, 30 * 86_400)
    assert 2 * 20 * len(span.starts) <= tables.MOST_POINTS


def test_percentiles_of_added_panes_are_those_of_all_values(store):
    rng = np.random.default_rng(3)
    raw = {}
    for hour in range(24):
        for model in ("a", "b"):
            seconds = rng.lognormal(-4, 1, 200)
            raw.setdefault(hour // 6, []).append(seconds)
            store.put(
                hour * HOUR,
                {
                    **store.pane(hour * HOUR, (hour + 1) * HOUR),
                    Series("latency.answer", model, "1"): Counts.of(bins_of(seconds)),
                },
            )
    table = tables.latency_table(store, DAY, percentiles=[0.5, 0.99])
    for step, values in raw.items():
        at = table[table["time"] == tables.timestamp(step * DAY.step)].set_index("percentile")
        exact = np.quantile(np.concatenate(values), [0.5, 0.99], method="inverted_cdf")
        assert at["seconds"].tolist() == pytest.approx(exact.tolist(), rel=2**-8)
        assert at["n"].tolist() == [2400.0, 2400.0]


def test_percentiles_come_by_model_too(store):
    store.put(0, {Series("latency.model", m, "1"): Counts.of(bins_of([s])) for m, s in (("a", 0.1), ("b", 0.2))})
    table = tables.latency_table(store, DAY.whole, "latency.model", [0.5], by_model=True)
    assert dict(zip(table["model"], table["seconds"].round(2), strict=True)) == {"a": 0.1, "b": 0.2}


def test_a_stage_that_is_none_is_refused(store):
    with pytest.raises(ValueError, match=r"no stage 'latency\.lunch': there are latency\.queue"):
        tables.latency_table(store, DAY, "latency.lunch")


def test_mean_and_spread_of_differences_are_those_of_the_differences(store):
    differences = np.random.default_rng(4).normal(0.02, 0.1, (24, 50))
    for hour, d in enumerate(differences):
        sums = [d.size, int(np.rint(d * FIXED_POINT).sum()), int(np.ceil(d * d * FIXED_POINT).sum())]
        store.put(hour * HOUR, {Series("pair", "a", "1", "b"): Counts.of([0, 1, 2], sums)})
    table = tables.pair_table(store, DAY, unit=10.0)
    blocks = 10.0 * differences.reshape(4, -1)
    assert table["mean"].tolist() == pytest.approx(blocks.mean(axis=1).tolist(), abs=1e-5)
    assert table["sd"].tolist() == pytest.approx(blocks.std(axis=1).tolist(), abs=1e-4)
    assert table["n"].tolist() == [300.0] * 4


def test_what_was_counted_is_named_and_steps_without_anything_are_empty(store):
    store.put(0, {Series("counts"): Counts.of([COUNTERS.index("requests")], [7])})
    store.put(HOUR, {Series("counts"): Counts.of([COUNTERS.index("requests")], [5])})
    store.put(18 * HOUR, {Series("counts"): Counts.of([COUNTERS.index("sla_misses")], [1])})
    table = tables.count_table(store, DAY)
    assert table["requests"].tolist() == pytest.approx([12.0, np.nan, np.nan, 0.0], nan_ok=True)
    assert table["sla_misses"].sum() == 1.0
    assert str(table["time"].dt.tz) == "UTC"


def test_segments_are_parts_of_the_whole_and_not_counted_again(store):
    store.put(
        0,
        {
            Series("counts"): Counts.of([0], [7]),
            Series("counts", segment="origin=JFK"): Counts.of([0], [3]),
        },
    )
    assert tables.count_table(store, DAY)["requests"].sum() == 7.0


def test_shares_of_a_step_add_up_to_one(store):
    for start, version in ((0, "1"), (HOUR, "2")):
        store.put(
            start,
            {
                Series("selection", "a", version): Counts.of([selection_bin(0, "first choice")], [8]),
                Series("selection", "b", "1"): Counts.of([selection_bin(1, "timed out")], [2]),
            },
        )
    table = tables.selection_table(store, DAY).dropna()
    assert table["share"].sum() == pytest.approx(1.0)
    late = table[table["tier"] == 1]
    assert (late["model"].tolist(), late["reason"].tolist(), late["share"].tolist()) == (["b"], ["timed out"], [0.2])


def test_an_empty_range_gives_empty_tables_with_their_columns(store):
    assert list(tables.count_table(store, DAY).columns) == ["time", "model", "version", *COUNTERS]
    for table in (tables.latency_table, tables.pair_table, tables.selection_table):
        assert table(store, DAY).empty
    assert tables.control_table(store, 0, 1).empty
    assert isinstance(tables.control_table(store, 0, 1)["time"].dtype, pd.DatetimeTZDtype)


def test_a_store_tells_when_it_was_last_written(store):
    store.put(0, {Series("counts"): Counts.of([0])})
    assert tables.written(store) == pytest.approx(store.path.with_name("birdwatch.db-wal").stat().st_mtime)
