"""Areas agree with scikit-learn's, and their bounds with trying all labels."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from birdwatch.evaluate.ranks import auc, auc_bounds


def test_the_area_is_that_of_scikit_learn_with_ties():
    rng = np.random.default_rng(1)
    labels, scores = rng.random(500) < 0.3, rng.integers(0, 20, 500)
    assert auc(labels, scores).value == pytest.approx(roc_auc_score(labels, scores))


def test_the_standard_error_is_how_far_areas_spread():
    rng = np.random.default_rng(2)
    runs = []
    for _ in range(300):
        labels = rng.random(300) < 0.3
        runs.append(auc(labels, rng.normal(labels, 1.0)))
    assert np.mean([run.error for run in runs]) == pytest.approx(np.std([run.value for run in runs]), rel=0.15)


@pytest.mark.parametrize("seed", range(8))
def test_bounds_are_those_of_trying_all_labels(seed):
    rng = np.random.default_rng(seed)
    labels, scores, missing = np.array([0, 1, 1, 0, 1]), rng.integers(0, 6, 5), rng.integers(0, 6, 6)
    tried = [
        roc_auc_score(np.append(labels, guess), np.append(scores, missing))
        for guess in itertools.product([0, 1], repeat=6)
    ]
    assert auc_bounds(labels, scores, missing) == pytest.approx((min(tried), max(tried)))


def test_without_both_labels_there_is_none():
    assert np.isnan(auc([1, 1], [0.1, 0.2]).value)
