"""Values of policies agree with obp's on the Open Bandit data, and with the truth where it is known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from birdwatch.evaluate.off_policy import bernstein, off_policy_value

DATA = Path(__file__).parent / "data"
PUBLISHED = json.loads((DATA / "open_bandit.json").read_text())


@pytest.fixture(scope="module")
def rounds():
    return pd.read_csv(DATA / "open_bandit.csv.gz", dtype={"item_id": str})


def as_records(log):
    """Give logged rounds as decisions and outcomes."""
    ids = [f"r{i}" for i in range(len(log))]
    decisions = pd.DataFrame(
        {
            "request_id": ids,
            "model": log["item_id"].to_numpy(),
            "reason": "explored",
            "propensity": log["propensity_score"].to_numpy(),
            "position": log["position"].rank(method="dense").astype(int).to_numpy() - 1,
        }
    )
    return decisions, pd.DataFrame({"request_id": ids, "ts": 0.0, "reward": log["click"].to_numpy(dtype=float)})


@pytest.mark.parametrize("behaviour", ["random", "bts"])
@pytest.mark.parametrize("name", list(PUBLISHED["policies"]))
def test_estimates_agree_with_obp_on_the_open_bandit_data(rounds, behaviour, name):
    decisions, outcomes = as_records(rounds[rounds["behaviour"] == behaviour])
    by_position = np.array(PUBLISHED["policies"][name])
    arms = [str(item) for item in range(len(by_position))]

    def policy(rows):
        return pd.DataFrame(by_position[:, rows["position"]].T, index=rows.index, columns=arms)

    direct = pd.DataFrame([PUBLISHED["expected"]] * len(decisions), columns=arms)
    found = off_policy_value(decisions, outcomes, policy, direct=direct).estimates["value"]
    clipped = off_policy_value(decisions, outcomes, policy, direct=direct, clip=5.0).estimates["value"]
    ours = {**found, "IPS, clipped at 5": clipped["IPS"]}
    for estimator, value in ours.items():
        assert value == pytest.approx(PUBLISHED["obp"][f"{behaviour} | {name} | {estimator}"], abs=1e-9), estimator


RATES = {"a": 0.2, "b": 0.5}


def logged(seed, n=400):
    """Log n decisions by a policy that prefers the worse arm; the value of always b is 0.5."""
    rng = np.random.default_rng(seed)
    p = rng.choice([0.1, 0.3], n)
    drawn = np.where(rng.random(n) < p, "b", "a")
    rewards = (rng.random(n) < np.where(drawn == "b", RATES["b"], RATES["a"])).astype(float)
    ids = [str(i) for i in range(n)]
    decisions = pd.DataFrame(
        {
            "request_id": ids,
            "model": drawn,
            "reason": np.where(drawn == "b", "explored", "first choice"),
            "propensity": np.where(drawn == "b", p, 1 - p),
            "propensities": [{"a": 1 - q, "b": q} for q in p],
        }
    )
    return decisions, pd.DataFrame({"request_id": ids, "ts": 0.0, "reward": rewards})


def test_intervals_cover_the_truth_as_often_as_they_say():
    runs = [off_policy_value(*logged(seed), "b").estimates for seed in range(30)]
    for estimator in runs[0].index:
        rows = [run.loc[estimator] for run in runs]
        assert np.mean([row["value"] for row in rows]) == pytest.approx(0.5, abs=0.03)
        assert np.mean([row["low"] <= 0.5 <= row["high"] for row in rows]) >= 0.88
        if estimator != "self-normalised":
            assert all(row["sure_low"] <= 0.5 <= row["sure_high"] for row in rows)
    spread = pd.DataFrame([run["value"] for run in runs]).std()
    assert spread["doubly robust"] < spread["IPS"]


def test_a_policy_that_is_the_logging_one_has_the_mean_reward():
    decisions, outcomes = logged(1)
    found = off_policy_value(decisions, outcomes, pd.DataFrame(list(decisions["propensities"])))
    assert found.estimates.loc["IPS", "value"] == pytest.approx(outcomes["reward"].mean())
    assert found.effective == pytest.approx(400)
    assert found.largest == pytest.approx(0.01)


def test_what_was_not_drawn_is_counted_apart_and_changes_nothing():
    decisions, outcomes = logged(2)
    forced = decisions.head(50).assign(
        request_id=[f"f{i}" for i in range(50)],
        reason=["override", "timed out", "all failed", "default", "override"] * 10,
        propensity=1.0,
    )
    more = pd.DataFrame({"request_id": forced["request_id"].head(49), "ts": 0.0, "reward": 1.0})
    plain = off_policy_value(decisions, outcomes, "b")
    found = off_policy_value(pd.concat([decisions, forced]).reset_index(drop=True), pd.concat([outcomes, more]), "b")
    pd.testing.assert_frame_equal(found.estimates, plain.estimates)
    assert found.apart["n"].to_dict() == {"all failed": 10, "default": 10, "override": 20, "timed out": 10}
    assert found.apart.loc["override", "rewarded"] == 19


def test_what_the_log_never_tries_is_said():
    decisions, outcomes = logged(3)
    decisions["propensity"], decisions["model"] = 1.0, "a"
    decisions["propensities"] = [{"a": 1.0, "b": 0.0}] * len(decisions)
    found = off_policy_value(decisions, outcomes, {"a": 0.25, "b": 0.75})
    assert found.uncovered == pytest.approx(0.75)
    assert found.mean_weight == pytest.approx(0.25)
    # It says nothing of b, so nothing is sure but that rewards are not negative.
    assert found.estimates[["sure_low", "sure_high"]].notna().to_numpy().sum() == 1
    assert found.estimates.loc["IPS", "sure_low"] <= 0.25 * RATES["b"]


def test_the_latest_reward_counts_and_missing_ones_are_counted():
    decisions, outcomes = logged(4)
    corrected = outcomes.head(10).assign(ts=1.0, reward=1.0)
    found = off_policy_value(decisions, pd.concat([corrected, outcomes.tail(300)]), "b")
    assert (found.n, found.without_reward) == (310, 90)
    assert off_policy_value(decisions, outcomes.tail(300), "b", unrewarded=0.0).n == 400


@pytest.mark.parametrize(
    ("change", "policy", "said"),
    [
        ({"propensity": 0.0}, "b", "propensity outside"),
        ({}, "nobody", "never among"),
        ({}, {"a": 0.5}, "sum of 1"),
        ({"reason": "override"}, "b", "0 were drawn"),
    ],
)
def test_a_log_or_policy_that_cannot_be_is_refused(change, policy, said):
    decisions, outcomes = logged(5)
    with pytest.raises(ValueError, match=said):
        off_policy_value(decisions.assign(**change), outcomes, policy)


def test_features_let_the_direct_model_know_more():
    rng = np.random.default_rng(6)
    decisions, outcomes = logged(6, n=3000)
    x = pd.DataFrame({"x": rng.normal(size=3000)})
    outcomes["reward"] = 0.5 + 0.1 * np.clip(x["x"], -4, 4)
    plain = off_policy_value(decisions, outcomes, "b").estimates
    told = off_policy_value(decisions, outcomes, "b", features=x).estimates
    assert told.loc["doubly robust", "error"] < 0.5 * plain.loc["doubly robust", "error"]


def test_bernstein_agrees_with_the_formula_of_maurer_and_pontil():
    x = np.array([0.0, 1.0] * 500)
    width = np.sqrt(2 * x.var(ddof=1) * np.log(2 / 0.025) / 1000) + 7 * np.log(2 / 0.025) / (3 * 999)
    assert bernstein(x, (0.0, 1.0)) == pytest.approx((0.5 - width, 0.5 + width))
