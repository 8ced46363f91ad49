import numpy as np
import pytest
from scipy.stats import binom

from birdwatch.stats.evidence import accumulate
from birdwatch.stats.means import LAMBDAS, bounded_mean
from birdwatch.stats.rates import MULTIPLES, bernoulli

A = 200.0


def false_alarms(draw, streams=60, windows=100, seed=1):
    """Count alarms at the level A over unchanged data; at most streams * windows / A are expected."""
    rng = np.random.default_rng(seed)
    alarms = 0
    for _ in range(streams):
        kept = None
        for _ in range(windows):
            ratios = draw(rng)
            evidence, kept = accumulate(np.zeros(ratios.size) if kept is None else kept, ratios)
            if evidence >= np.log(A):
                alarms, kept = alarms + 1, None
    return alarms, streams * windows / A


@pytest.mark.parametrize("p0", [0.01, 0.1, 0.3, 0.6])
def test_rates_keep_the_budget_at_the_very_rate_tested_against(p0):
    alarms, budget = false_alarms(lambda rng: bernoulli(int(rng.binomial(50, p0)), 50, p0))
    assert alarms <= budget + 3 * np.sqrt(budget)


@pytest.mark.parametrize("spread", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("centre", [0.0, 0.2])
def test_means_keep_the_budget_at_the_margin(spread, centre):
    margin = 0.01

    def draw(rng):
        # A two-valued difference with exactly the largest mean that is still in order, skewed to be unkind.
        high, low = min(1.0, centre + margin + spread), max(-1.0, centre + margin - spread)
        share = (centre + margin - low) / (high - low)
        d = np.where(rng.random(40) < share, high, low)
        return bounded_mean(40, d.sum(), (d**2).sum(), centre=centre, margin=margin)

    alarms, budget = false_alarms(draw)
    assert alarms <= budget + 3 * np.sqrt(budget)


def test_the_simulation_would_notice_a_broken_bound():
    """Duplicated events double the evidence: the same check must then fail."""
    alarms, budget = false_alarms(lambda rng: 5 * bernoulli(int(rng.binomial(50, 0.1)), 50, 0.1))
    assert alarms > 2 * (budget + 3 * np.sqrt(budget))


def test_a_real_change_is_found_within_a_few_windows():
    rng = np.random.default_rng(3)
    kept = np.zeros(len(MULTIPLES))
    for _ in range(4):
        evidence, kept = accumulate(kept, bernoulli(int(rng.binomial(200, 0.1)), 200, 0.05))
    assert evidence >= np.log(A)


def test_a_shifted_mean_is_found_on_either_side():
    rng = np.random.default_rng(4)
    d = np.clip(rng.normal(0.03, 0.05, 1_000), -1, 1)
    for sign in (1, -1):
        ratios = bounded_mean(d.size, sign * d.sum(), (d**2).sum(), margin=0.005)
        assert accumulate(np.zeros(ratios.size), ratios)[0] > np.log(A)


def test_bounded_mean_is_the_sum_over_single_differences():
    d = np.array([0.3, -0.1, 0.02, 0.7])
    g = (d - 0.05 - 0.01) / 1.06
    lam = np.asarray(LAMBDAS)
    by_event = (lam[:, None] * g + (lam + np.log(1 - lam))[:, None] * g**2).sum(axis=1)
    found = bounded_mean(4, d.sum(), (d**2).sum(), centre=0.05, margin=0.01)
    assert found[: lam.size] == pytest.approx(by_event)
    assert (by_event <= np.log1p(lam[:, None] * g).sum(axis=1) + 1e-12).all()


def test_bernoulli_is_the_ratio_of_binomial_likelihoods():
    found = bernoulli(7, 50, 0.1)
    q = 0.1 * np.asarray(MULTIPLES[:6])
    assert found[:6] == pytest.approx(binom.logpmf(7, 50, q) - binom.logpmf(7, 50, 0.1))


def test_alternatives_stay_below_one():
    assert np.isfinite(bernoulli(10, 10, 0.9)).all()
    assert np.isfinite(bernoulli(0, 10, 0.9)).all()


def test_accumulation_is_the_recursion_of_shiryaev_and_roberts():
    rng = np.random.default_rng(8)
    ratios = rng.normal(-0.2, 1, (20, 3))
    r, kept = np.zeros(3), np.zeros(3)
    for row in ratios:
        r = (1 + r) * np.exp(row)
        evidence, kept = accumulate(kept, row, 0.5)
        assert evidence == pytest.approx(np.log(0.5 * r.mean()))
        assert kept == pytest.approx(np.log1p(r))


def test_models_side_by_side_gather_the_evidence_that_each_would_alone():
    ratios = np.random.default_rng(9).normal(-0.2, 1, (20, 2, 3, 4))
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    together, alone = np.zeros((2, 3, 4)), np.zeros(4)
    for row in ratios:
        evidence, together = accumulate(together, row, weights)
        one, alone = accumulate(alone, row[1, 2], weights)
        assert evidence.shape == (2, 3)
        assert evidence[1, 2] == pytest.approx(one)
    assert together[1, 2] == pytest.approx(alone)


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.0, 0.0], [np.nan, 0.5], 2.0])
def test_weights_that_would_spend_more_than_the_budget_are_refused(weights):
    with pytest.raises(ValueError, match="weights are positive and add up to at most 1"):
        accumulate(np.zeros(2), np.zeros(2), weights)


def test_many_windows_and_huge_evidence_stay_finite():
    kept = np.zeros(1)
    for _ in range(50):
        evidence, kept = accumulate(kept, np.array([1e5]))
    assert np.isfinite(evidence)
    evidence, kept = accumulate(np.zeros(1), np.array([-1e5]))
    assert np.isfinite(evidence)
    assert kept == pytest.approx([0.0])


def test_evidence_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"not finite: nan at \[1, 0\]"):
        accumulate(np.zeros((2, 1)), np.array([[0.0], [np.nan]]))


@pytest.mark.parametrize(("k", "n", "p0"), [(3, 2, 0.1), (-1, 2, 0.1), (1, 2, 0.0), (1, 2, 1.0)])
def test_impossible_rates_are_refused(k, n, p0):
    with pytest.raises(ValueError, match="rate"):
        bernoulli(k, n, p0)


def test_differences_beyond_one_are_refused():
    with pytest.raises(ValueError, match="differences in -1 to 1"):
        bounded_mean(2, 5.0, 25.0)
