"""Distributions over time: cells that lose no event, and distances that scipy finds too."""

import numpy as np
import pytest
from scipy import stats

from birdwatch.stats.grid import bins_of
from birdwatch.windows.heat import distance_table, heat_table, shape_table
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Store
from birdwatch.windows.tables import MOST_POINTS, span_of

HOUR = 3_600
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def drawn():
    """Scores by day: nine quiet days, then one that lies higher."""
    rng = np.random.default_rng(3)
    return [rng.beta(2, 8 if day < 9 else 3, 500) for day in range(10)]


@pytest.fixture(scope="module")
def store(tmp_path_factory, drawn):
    rng = np.random.default_rng(5)
    store = Store(tmp_path_factory.mktemp("heat") / "store.db", pane_seconds=HOUR)
    with store.transaction():
        for hour in range(240):
            scores = drawn[hour // 24][hour % 24 :: 24]
            pane = {
                Series("score", "m", "1"): Counts.of(bins_of(scores, "probability")),
                Series("score", "m", "1", "", "site=a"): Counts.of(bins_of(scores[:1], "probability")),
                Series("latency.model", "m", "1"): Counts.of(bins_of(10 ** rng.uniform(-5, 2, 20))),
            }
            store.put(hour * HOUR, pane)
    yield store
    store.close()


def test_every_event_lies_in_one_cell(store, drawn):
    table = heat_table(store, span_of(store, 0, 10 * DAY), "score", model="m", scale="probability")
    assert table["n"].sum() == sum(map(len, drawn))
    assert table.groupby("time")["share"].sum().to_numpy() == pytest.approx(1.0)
    assert table["low"].min() >= 0
    assert table["high"].max() <= 1


def test_a_segment_is_counted_by_itself(store):
    table = heat_table(store, span_of(store, 0, 10 * DAY), "score", scale="probability", segment="site=a")
    assert table["n"].sum() == 240


def test_cells_of_latency_are_even_in_the_logarithm_and_few_enough(store):
    table = heat_table(store, span_of(store, 0, 10 * DAY), "latency.model")
    assert len(table) <= MOST_POINTS
    factors = (table["high"] / table["low"]).to_numpy()
    assert factors == pytest.approx(factors[0])
    assert table["n"].sum() == 240 * 20


def test_nothing_counted_is_an_empty_table(store):
    span = span_of(store, 100 * DAY, 101 * DAY)
    assert heat_table(store, span, "score").empty
    assert distance_table(store, span, "nobody").empty
    assert shape_table(store, "m", (100 * DAY, 101 * DAY)).empty


def test_distances_are_those_of_the_scores_themselves(store, drawn):
    table = distance_table(store, span_of(store, 0, 10 * DAY), "m", scale="probability")
    last = table[table["time"] == table["time"].max()].set_index("statistic")
    now, before = drawn[9], np.concatenate(drawn[:9])
    # The grid's bins are under 1 % wide: so far may it be from the exact distance.
    assert last.loc["ks", "value"] == pytest.approx(stats.ks_2samp(now, before).statistic, abs=0.01)
    assert last.loc["w1", "value"] == pytest.approx(stats.wasserstein_distance(now, before), abs=0.003)
    assert last.loc["psi", "value"] > last.loc["psi", "chance"]
    quiet = table[(table["statistic"] == "ks") & (table["time"] < table["time"].max())]
    assert (quiet["value"] < last.loc["ks", "value"] / 2).all()


def test_a_shape_stands_beside_the_one_before(store):
    table = shape_table(store, "m", (9 * DAY, 10 * DAY), scale="probability")
    assert table["now"].sum() == pytest.approx(1.0)
    assert table["before"].sum() == pytest.approx(1.0)
    middle = (np.arange(len(table)) + 0.5) / len(table)
    assert table["now"] @ middle > table["before"] @ middle + 0.1
