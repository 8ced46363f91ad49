import numpy as np
import pytest
from scipy.stats import binom

from birdwatch.stats.rates import MULTIPLES, bernoulli

from .simulation import alarms_by_stream, keeps_budget


@pytest.mark.parametrize("p0", [0.01, 0.1, 0.3, 0.6])
def test_rates_keep_the_budget_at_the_very_rate_tested_against(p0):
    assert keeps_budget(lambda rng, streams: bernoulli(rng.binomial(50, p0, streams), 50, p0))


def test_the_simulation_notices_a_broken_bound():
    """Duplicated events multiply the evidence: the same check must then fail."""
    alarms, budget = alarms_by_stream(lambda rng, streams: 5 * bernoulli(rng.binomial(50, 0.1, streams), 50, 0.1))
    assert alarms > 2 * budget


def test_it_is_the_ratio_of_binomial_likelihoods():
    q = 0.1 * np.asarray(MULTIPLES[:6])
    assert bernoulli(7, 50, 0.1)[:6] == pytest.approx(binom.logpmf(7, 50, q) - binom.logpmf(7, 50, 0.1))


@pytest.mark.parametrize("p0", [0.1, 0.3, 0.9, 1 - 1e-9])
def test_a_rate_that_cannot_be_multiplied_has_its_complement_divided(p0):
    q = 1 - (1 - p0) / 10
    expected = binom.logpmf(30, 40, q) - binom.logpmf(30, 40, p0)
    assert bernoulli(30, 40, p0, [10.0])[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("p0", [1e-300, 1e-12, 0.5, 1 - 1e-12, np.nextafter(1, 0)])
@pytest.mark.parametrize("multiple", [np.nextafter(1, 2), 10.0, 1e12])
def test_evidence_stays_finite_at_the_edges(p0, multiple):
    for k in (0, 5, 10):
        assert np.isfinite(bernoulli(k, 10, p0, [multiple])).all()


@pytest.mark.parametrize("p0", [0.003, 0.1, 0.6, 0.97])
def test_one_event_is_expected_to_weigh_nothing_at_the_margin_and_less_below_it(p0):
    hit, miss = np.exp(bernoulli([1, 0], 1, p0))
    assert p0 * hit + (1 - p0) * miss == pytest.approx(np.ones(len(MULTIPLES)))
    assert (p0 / 2 * hit + (1 - p0 / 2) * miss < 1).all()


def test_many_subjects_at_once_are_each_of_them_alone():
    rng = np.random.default_rng(1)
    n, p0 = rng.integers(1, 90, (6, 2)), rng.uniform(0.001, 0.9, (6, 1))
    k = rng.binomial(n, 0.2)
    found = bernoulli(k, n, p0)
    assert found.shape == (6, 2, len(MULTIPLES))
    for i, j in np.ndindex(6, 2):
        assert found[i, j].tolist() == bernoulli(int(k[i, j]), int(n[i, j]), float(p0[i, 0])).tolist()


def test_no_events_are_no_evidence():
    assert bernoulli(0, 0, 0.1).tolist() == [0.0] * len(MULTIPLES)


@pytest.mark.parametrize(
    ("k", "n", "p0"),
    [(3, 2, 0.1), (-1, 2, 0.1), (1, 2, 0.0), (1, 2, 1.0), (1, 2, np.nan), (np.nan, 2, 0.1), ([1, 3], 2, 0.1)],
)
def test_impossible_rates_are_refused(k, n, p0):
    with pytest.raises(ValueError, match="rate"):
        bernoulli(k, n, p0)


def test_an_alternative_that_is_none_is_refused():
    with pytest.raises(ValueError, match="multiples lie above 1"):
        bernoulli(1, 2, 0.1, [1.0])
