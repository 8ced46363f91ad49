"""The mean difference so far: what a batch over the differences themselves finds, version by version."""

import numpy as np
import pandas as pd
import pytest

from birdwatch.stats.sequences import bounded_mean_band, unbounded_mean_band
from birdwatch.windows.pane import FIXED_POINT, Counts, Series
from birdwatch.windows.running import running_table
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, pair_table

HOUR = 3_600


def pair(d):
    fixed, squares = np.round(d * FIXED_POINT), np.ceil(d * d * FIXED_POINT)
    return Counts.of([0, 1, 2], [d.size, int(fixed.sum()), int(squares.sum())])


@pytest.fixture
def differences():
    """By hour: version 1 for five hours, then version 2; nobody asks in hour 3."""
    rng = np.random.default_rng(4)
    return [rng.uniform(-0.02, 0.04, 0 if hour == 3 else 200) for hour in range(8)]


@pytest.fixture
def store(tmp_path, differences):
    store = Store(tmp_path / "store.db", pane_seconds=HOUR)
    with store.transaction():
        for hour, d in enumerate(differences):
            if d.size:
                version = "1" if hour < 5 else "2"
                store.put(
                    hour * HOUR,
                    {
                        Series("pair", "m", version, "canary"): pair(d),
                        Series("pair", "m", version, "canary", "site=a"): pair(d[::4]),
                    },
                )
    yield store
    store.close()


def test_the_mean_so_far_is_that_of_all_requests_so_far_and_a_new_version_begins_anew(store, differences):
    table = running_table(pair_table(store, Span(0, 8 * HOUR, HOUR))).set_index(["version", "time"])
    one, two = table.loc["1"], table.loc["2"]
    assert one["running"].iloc[4] == pytest.approx(np.concatenate(differences[:5]).mean(), abs=1e-6)
    assert one["requests"].iloc[4] == 800
    assert two["running"].iloc[5] == pytest.approx(differences[5].mean(), abs=1e-6)
    assert two["running"].iloc[7] == pytest.approx(np.concatenate(differences[5:]).mean(), abs=1e-6)
    assert two[["requests", "running", "low", "high"]].iloc[:5].isna().all(axis=None)


def test_an_hour_without_requests_leaves_mean_and_band_as_they_were(store):
    table = running_table(pair_table(store, Span(0, 4 * HOUR, HOUR)))
    assert table["n"].isna().tolist() == [False, False, False, True]
    before, after = (table[["requests", "running", "low", "high"]].iloc[i].tolist() for i in (2, 3))
    assert after == before


def test_the_band_is_that_of_the_sums(store, differences):
    found = running_table(pair_table(store, Span(0, 3 * HOUR, HOUR)))
    sums = [(d.size, d.sum(), (d**2).sum()) for d in differences[:3]]
    for column, expected in zip(("running", "low", "high"), bounded_mean_band(*np.transpose(sums)), strict=True):
        assert found[column].to_numpy() == pytest.approx(expected, abs=1e-5)


def test_a_segment_has_a_mean_of_its_own(store, differences):
    table = running_table(pair_table(store, Span(0, 3 * HOUR, HOUR), segment="site=a"))
    assert table["requests"].iloc[-1] == 150
    assert table["running"].iloc[-1] == pytest.approx(
        np.concatenate([d[::4] for d in differences[:3]]).mean(), abs=1e-6
    )


@pytest.mark.parametrize(("scale", "mean"), [("real", 0.01), ("probability", 3.0)])
def test_differences_without_a_bound_have_the_band_for_those(scale, mean):
    """On the scale of probabilities, a score that is none makes them such."""
    steps = pd.DataFrame({"time": [0, 1], "n": [500, 500], "mean": [mean, mean], "sd": [0.1, 0.1]})
    found = running_table(steps.assign(model="m", version="1", partner="canary"), scale)
    n, squares = np.array([500, 500]), 500 * np.array([mean**2 + 0.01] * 2)
    assert found["high"].to_numpy() == pytest.approx(unbounded_mean_band(n, n * mean, squares)[2])


def test_no_pairs_make_an_empty_table_with_all_columns(store):
    empty = running_table(pair_table(store, Span(90 * HOUR, 92 * HOUR, HOUR)))
    assert empty.empty
    assert {"requests", "running", "low", "high"} <= set(empty.columns)
