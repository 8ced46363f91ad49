"""The benchmark of detection, small: no row becomes worse, and it would be noticed if one did."""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import entropy, norm

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.detection import changes, delays, kept, rivals, streams, unchanged


@pytest.fixture(scope="module")
def before():
    return json.loads(kept.KEPT.read_text(encoding="utf-8"))


def test_no_change_is_found_later_and_no_alarm_is_false_more_often_than_before(before):
    assert kept.worse(kept.measure(), before) == []


def test_a_row_that_became_worse_is_named(before):
    slower = copy.deepcopy(before)
    slower["delays"]["δ0 = 0"]["scale 1.25"][1] += 1
    slower["delays"]["δ0 = .02"]["mean .25 sd"][2] = None
    del slower["delays"]["δ0 = 0"]["stuck at .3"]
    slower["false alarms"]["δ0 = .02"]["200.0"] += 1
    found = kept.worse(slower, before)
    assert len(found) == 4
    assert kept.worse(before, before) == []


def test_what_is_kept_meets_the_targets(before):
    for change, target in delays.TARGETS.items():
        assert delays.met(before["delays"]["δ0 = 0"][change], target), change


def test_the_limit_is_that_of_the_divergence():
    mean, scale, *_ = (change.divergence() for change in changes.NAMED[::2])
    assert mean == pytest.approx(0.1**2 / 2)
    assert scale == pytest.approx((1.25**2 - 1) / 2 - np.log(1.25))
    x = np.linspace(-12, 14, 200_001)
    p = 0.95 * norm.pdf(x) + 0.05 * norm.pdf(x, 4, 0.5)
    assert changes.NAMED[3].divergence() == pytest.approx(entropy(p, norm.pdf(x)), rel=1e-3)


@pytest.mark.parametrize("change", [*changes.NAMED, *changes.UNNAMED], ids=lambda change: change.name)
def test_events_are_drawn_from_the_distribution_that_panes_are(change):
    rng = np.random.default_rng(1)
    cuts = np.array([-2.0, -0.5, 0.0, 0.29, 0.31, 1.0, 3.5])
    for pane in (1, 100):
        x = change.sample(rng, 20_000, pane)
        share = (x[:, None] < cuts).mean(axis=0)
        assert share == pytest.approx(change.below(cuts, pane), abs=5 / np.sqrt(4 * 20_000))


@pytest.mark.parametrize("name", rivals.RIVALS)
def test_rivals_find_what_nobody_can_miss_and_mostly_keep_silent_otherwise(name):
    rng = np.random.default_rng(2)
    rival = rivals.RIVALS[name](rng.normal(size=5_000))
    calm = [rival.alarms(rng.normal(size=500)) for _ in range(10)]
    assert sum(calm) <= 3
    assert any(rival.alarms(rng.normal(2, 1, size=500)) for _ in range(3))


def test_where_the_source_is_known_nobody_pays_for_a_sample():
    each = unchanged.known(streams.Streams.against(streams.references(3, 1), streams.FORMS["δ0 = 0"]))
    truth = each.probabilities(norm.cdf)
    found = each.alternatives
    expected = (np.exp(found.logs) * truth[:, None]).sum(axis=-1)
    assert expected == pytest.approx(1)
    assert (found.prices == 0).all()
