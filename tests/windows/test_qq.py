"""Quantiles side by side: those that numpy finds, and moved only where chance cannot have done it."""

import numpy as np
import pytest

from birdwatch.stats.bands import two_sample_band
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts
from birdwatch.windows.qq import qq_table


def counted(scores, scale="probability"):
    return Counts.of(bins_of(scores, scale))


@pytest.fixture
def rng():
    return np.random.default_rng(8)


@pytest.mark.parametrize("scale", ["probability", "real"])
def test_quantiles_are_those_of_the_scores_within_what_the_grid_leaves(rng, scale):
    now, before = rng.beta(2, 5, 3_000), rng.beta(2, 6, 9_000)
    table = qq_table(counted(now, scale), counted(before, scale), scale)
    for name, scores in (("now", now), ("before", before)):
        exact = np.sort(scores)[np.ceil(np.round(table["level"] * scores.size, 6)).astype(int) - 1]
        assert (table[f"{name}_low"] <= exact).all()
        assert (exact <= table[f"{name}_high"]).all()
        assert ((table[f"{name}_low"] <= table[name]) & (table[name] <= table[f"{name}_high"])).all()
    assert table[["n", "m"]].drop_duplicates().to_numpy().tolist() == [[3_000, 9_000]]


def test_what_chance_leaves_are_the_quantiles_that_the_band_is_wide(rng):
    now, before = rng.random(4_000), rng.random(4_000)
    apart = float(two_sample_band(4_000, 4_000))
    row = qq_table(counted(now), counted(before), levels=[0.5]).iloc[0]
    low, high = np.quantile(before, [0.5 - apart, 0.5 + apart], method="inverted_cdf")
    assert row["least"] == pytest.approx(low, rel=0.01)
    assert row["most"] == pytest.approx(high, rel=0.01)
    assert row["least"] <= low
    assert row["most"] >= high


def test_towards_the_ends_nothing_can_be_told_one_way(rng):
    table = qq_table(counted(rng.random(500)), counted(rng.random(500)))
    assert table["least"].iloc[0] == -np.inf
    assert table["most"].iloc[-1] == np.inf
    assert np.isfinite(table[["least", "most"]].iloc[50]).all()


def test_unchanged_scores_are_seldom_found_moved_however_often_one_looks(rng):
    """40 pairs of streams, looked at as they grow: any level at any look counts."""
    found = 0
    for _ in range(40):
        now, before = rng.beta(2, 5, 1_500), rng.beta(2, 5, 5_000)
        reference = counted(before)
        looks = [qq_table(counted(now[:n]), reference)["moved"].any() for n in (100, 500, 1_500)]
        found += any(looks)
    assert found <= 0.05 * 40


def test_where_scores_rose_the_levels_say_so_and_the_others_do_not(rng):
    before = rng.random(20_000) * 0.5
    now = np.where(before > 0.4, before + 0.1, before)
    moved = qq_table(counted(now), counted(before)).set_index("level")["moved"]
    assert (moved[0.85:0.95] == 1).all()
    assert (moved[:0.78] == 0).all()
    mirrored = qq_table(counted(before), counted(now)).set_index("level")["moved"]
    assert (mirrored[0.85:0.95] == -1).all()


def test_nothing_on_one_side_is_an_empty_table():
    nothing, some = Counts.of([]), counted(np.array([0.5]))
    for table in (qq_table(nothing, some), qq_table(some, nothing)):
        assert table.empty
        assert "moved" in table.columns
