"""Quality agrees with scikit-learn's, and says what labels that never came could make of it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from birdwatch.content import content
from birdwatch.evaluate.quality import (
    brier,
    by_delay,
    labelled,
    missing_by,
    quality_bounds,
    reliability,
    selection_p,
)
from birdwatch.evaluate.reading import read_stream

JUNE = str(content("sample_streams") / "2013-06-07")


@pytest.fixture(scope="module")
def storm():
    return labelled(read_stream(JUNE, "scores"), read_stream(JUNE, "outcomes"), "champion")


def test_the_storm_has_scores_without_labels_and_they_are_not_missing_at_random(storm):
    assert len(storm) == 2730
    assert storm["label"].isna().sum() == 2730 - 2639
    bands, hours = missing_by(storm)
    assert bands["n"].sum() == hours["n"].sum() == 2730
    assert bands["missing"].sum() == 91
    assert bands["share"].iloc[-1] > 2 * bands["share"].iloc[0]
    assert selection_p(bands) < 0.001


def test_the_brier_score_and_its_parts_are_scikit_learns(storm):
    known = storm[storm["label"].notna()]
    found = brier(known["label"], known["score"])
    fitted = IsotonicRegression().fit_transform(known["score"], known["label"])
    assert found.score == pytest.approx(brier_score_loss(known["label"], known["score"]))
    assert found.miscalibration == pytest.approx(found.score - brier_score_loss(known["label"], fitted))
    assert found.score == pytest.approx(found.miscalibration - found.discrimination + found.uncertainty)


def test_scores_that_are_no_probabilities_have_no_brier_score():
    with pytest.raises(ValueError, match="no probabilities"):
        brier([0, 1], [0.2, 1.2])


def test_by_delay_only_labels_that_came_in_time_count(storm):
    table = by_delay(storm, [3600, 4 * 3600, np.inf])
    known = storm[storm["delay_seconds"] <= 4 * 3600]
    assert table["n"].is_monotonic_increasing
    assert table["n"].iloc[-1] == 2639
    assert table["auc"][1] == pytest.approx(roc_auc_score(known["label"], known["score"]))


def test_as_of_a_moment_later_labels_are_not_known():
    scores, outcomes = read_stream(JUNE, "scores"), read_stream(JUNE, "outcomes")
    moment = outcomes["ts"].median()
    early = labelled(scores, outcomes, "champion", as_of=moment)
    assert early["label"].notna().sum() == (outcomes["ts"] <= moment).sum()


def test_bounds_are_those_of_trying_all_labels():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"score": rng.random(12).round(1), "label": [0, 1, 1, 0, 1, 0, 0] + [np.nan] * 5})
    found = quality_bounds(table)
    tried = [np.append(table["label"][:7], guess) for guess in itertools.product([0, 1], repeat=5)]
    for name, of in (("rate", lambda y, _: y.mean()), ("auc", roc_auc_score), ("brier", brier_score_loss)):
        values = [of(y, table["score"]) for y in tried]
        assert found.loc[name, "least"] == pytest.approx(min(values))
        assert found.loc[name, "largest"] == pytest.approx(max(values))
        assert found.loc[name, "all_positive"] == pytest.approx(of(tried[-1], table["score"]))
        assert found.loc[name, "all_negative"] == pytest.approx(of(tried[0], table["score"]))


def test_consistency_bars_hold_a_calibrated_model_as_often_as_they_say():
    rng = np.random.default_rng(2)
    held = []
    for _ in range(40):
        p = rng.beta(2, 5, 1000)
        table = reliability(rng.random(1000) < p, p)
        held.append(((table["low"] <= table["observed"]) & (table["observed"] <= table["high"])).mean())
    assert 0.88 <= np.mean(held) <= 0.96
    assert table["n"].tolist() == [100] * 10
    assert table["high"].tolist() == pytest.approx((binom.ppf(0.95, 100, table["predicted"]) / 100).tolist())


def test_bars_leave_out_a_model_that_is_sure_of_itself():
    rng = np.random.default_rng(3)
    p = rng.beta(2, 2, 5000)
    sharpened = np.clip(0.5 + 1.5 * (p - 0.5), 0, 1)
    table = reliability(rng.random(5000) < p, sharpened)
    assert table["observed"].iloc[0] > table["high"].iloc[0]
    assert table["observed"].iloc[-1] < table["low"].iloc[-1]


def test_labels_that_go_missing_by_chance_are_not_said_to_be_chosen():
    counts = pd.DataFrame({"n": [500, 500, 500], "missing": [50, 52, 48]})
    assert selection_p(counts) > 0.5
    assert np.isnan(selection_p(counts.assign(missing=0)))
