"""What was rejected is judged from what was accepted at random, and found where the truth is known."""

import numpy as np
import pandas as pd
import pytest

from birdwatch.evaluate.reject import reject_inference


def lending(seed, n=4000):
    """Give decisions on n loans: the model rejects scores above .5, and accepts some of them all the same.

    The truth of all is given too; the outcomes have only that of what was accepted.
    """
    rng = np.random.default_rng(seed)
    score = rng.random(n)
    bad = (rng.random(n) < score**2).astype(float)
    accepts = score < 0.5
    p = np.where(accepts, 1.0, np.where(score < 0.75, 0.3, 0.1))
    accepted = rng.random(n) < p
    ids = [str(i) for i in range(n)]
    decisions = pd.DataFrame(
        {
            "request_id": ids,
            "model": "m",
            "scores": [{"m": s} for s in score],
            "reason": "first choice",
            "accepted": accepted,
            "model_accepts": accepts,
            "acceptance_propensity": p,
        }
    )
    truth = pd.DataFrame({"request_id": ids, "ts": 0.0, "label": bad})
    return decisions, truth[accepted], bad[~accepts].mean(), accepts


def test_the_rate_of_the_rejected_is_found_and_its_interval_holds():
    held, values, naive, truths = [], [], [], []
    for seed in range(40):
        decisions, outcomes, truth, accepts = lending(seed, 2000)
        row = reject_inference(decisions, outcomes).bands.set_index("band").loc["all"]
        held.append(row["low"] <= 7 / 12 <= row["high"])  # the mean of s² over (.5, 1)
        values.append(row["rate"])
        truths.append(truth)
        drawn = decisions[decisions["accepted"] & ~accepts]["request_id"]
        naive.append(outcomes.set_index("request_id").loc[drawn, "label"].mean())
    assert np.mean(values) == pytest.approx(7 / 12, abs=0.02)
    assert np.mean(truths) == pytest.approx(7 / 12, abs=0.02)
    assert abs(np.mean(naive) - 7 / 12) > 0.05  # those accepted are the better ones
    assert np.mean(held) >= 0.85


def test_bands_tell_where_the_line_could_be_drawn():
    found = reject_inference(*lending(1)[:2])
    rates = found.bands[found.bands["band"] != "all"]["rate"]
    assert rates.is_monotonic_increasing
    assert found.bands["rejected"].iloc[:-1].sum() == found.bands["rejected"].iloc[-1]
    assert found.accepted_rate == pytest.approx(1 / 12, abs=0.03)


def test_overrides_are_told_beside_and_change_nothing():
    decisions, outcomes = lending(2)[:2]
    plain = reject_inference(decisions, outcomes)
    forced = decisions[~decisions["model_accepts"]].head(50)
    forced = forced.assign(request_id=[f"f{i}" for i in range(50)], reason="override", accepted=True)
    more = pd.DataFrame({"request_id": forced["request_id"].head(40), "ts": 0.0, "label": 1.0})
    found = reject_inference(pd.concat([decisions, forced]), pd.concat([outcomes, more]))
    pd.testing.assert_frame_equal(found.bands, plain.bands)
    assert found.overrides == {"n": 50, "labelled": 40, "rate": 1.0}


def test_what_could_never_be_accepted_is_counted_and_not_judged():
    decisions, outcomes = lending(3)[:2]
    closed = ~decisions["model_accepts"] & ~decisions["accepted"]
    decisions.loc[~decisions["model_accepts"], ["acceptance_propensity", "accepted"]] = [0.0, False]
    found = reject_inference(decisions, outcomes)
    assert found.never == int((~decisions["model_accepts"]).sum())
    assert closed.any()
    assert found.bands["labelled"].tolist() == [0]
    assert found.bands["rate"].isna().all()


def test_a_schedule_without_acceptance_is_refused():
    decisions, outcomes = lending(4)[:2]
    with pytest.raises(ValueError, match="acceptance"):
        reject_inference(decisions.assign(model_accepts=None), outcomes)
