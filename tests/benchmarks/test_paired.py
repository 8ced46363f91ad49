"""Pairs of models over a day that is never the same, small."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.detection import paired


def test_healthy_models_page_nobody_while_nearly_every_pane_differs_from_the_day_before():
    rng = np.random.default_rng(1)
    before = paired.reference(rng)
    pair, at = paired.Pair(), paired.cuts(before)
    pages, moved = 0, []
    for minute in range(0, paired.DAY, 4):
        pane = paired.draw(rng, np.full(paired.N, minute))
        pages += pair.add(paired.log_ratios(pane, at))["paired"]
        if minute % 40 == 0:
            moved.append(paired.moved(pane.ours, before.ours))
    assert pages == 0
    assert np.mean(moved) > 0.5


@pytest.mark.parametrize("change", ["canary -.10 sd", "model's scale 1.1"])
def test_what_changes_one_model_is_found_within_five_panes(change):
    found = paired.delays(paired.CHANGES[change], 5, lambda: None, horizon=30)
    assert found["within 5"] == 1
    half, other = ("mean", "cuts") if change.startswith("canary") else ("cuts", "mean")
    assert found[half]["most"] <= 5
    assert found[other]["median"] is None or found[other]["median"] > found[half]["median"]


def test_what_changes_both_is_not_the_pairs_affair():
    found = paired.delays(paired.CHANGES["both +.25 sd"], 5, lambda: None, horizon=60)
    assert found["found"] == 0
    assert found["both moved from the reference"] >= 0.4
