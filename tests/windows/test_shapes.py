"""Distributions as tables, checked against the scores themselves."""

import numpy as np
import pytest

from birdwatch.stats.grid import bins_of
from birdwatch.windows.joint import joint_bins
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.shapes import QQ_LEVELS, joint_table, quantile_table


def test_the_joint_table_has_every_pair_of_scores_in_its_cell():
    rng = np.random.default_rng(5)
    ours, theirs = rng.beta(2, 5, 300), rng.beta(2, 5, 300)
    pane = {
        Series("joint", "a", "1", "b"): Counts.of(joint_bins(ours, theirs, "probability")),
        Series("joint", "a", "2", "c"): Counts.of(joint_bins(ours, theirs, "probability")),
    }
    table = joint_table(pane, "a", "b")
    cells = table[["low", "high", "partner_low", "partner_high"]].to_numpy()
    inside = [((c[0] <= ours) & (ours < c[1]) & (c[2] <= theirs) & (theirs < c[3])).sum() for c in cells]
    assert table["n"].tolist() == inside
    assert sum(inside) == 300
    area = (table["high"] - table["low"]) * (table["partner_high"] - table["partner_low"])
    assert (table["density"] * area).sum() == pytest.approx(1.0)


def test_quantiles_stand_side_by_side():
    rng = np.random.default_rng(6)
    x, y = rng.uniform(size=5000), rng.beta(2, 5, 4000)
    table = quantile_table({n: Counts.of(bins_of(v, "probability")) for n, v in (("x", x), ("y", y))})
    assert table["level"].tolist() == list(QQ_LEVELS)
    for name, values in (("x", x), ("y", y)):
        exact = np.quantile(values, QQ_LEVELS, method="inverted_cdf")
        assert table[name].to_numpy() == pytest.approx(exact, rel=2**-7)
