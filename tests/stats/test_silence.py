import numpy as np
import pytest
from scipy import stats

from birdwatch.stats.silence import LAG_HOURS, Traffic, count_surprise, fit_traffic, silence_surprise


def week(rng, *, days=7, level=400.0, noise=0.0):
    """Hourly counts that rise by day and fall at night."""
    hours = np.arange(24 * days)
    rate = level * np.exp(1.2 * np.sin(2 * np.pi * (hours - 8) / 24)) * np.exp(rng.normal(0, noise, hours.size))
    return rng.poisson(rate)


def test_the_regression_is_that_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    counts = week(np.random.default_rng(1), noise=0.1)
    found = fit_traffic(counts, LAG_HOURS)
    x = sm.add_constant(np.log(np.stack([counts[24 - lag : counts.size - lag] for lag in LAG_HOURS], axis=1) + 0.5))
    assert found.weights == pytest.approx(sm.GLM(counts[24:], x, family=sm.families.Poisson()).fit().params, abs=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_tomorrow_is_expected_as_it_comes_whatever_the_hour(noise):
    rng = np.random.default_rng(2)
    counts = week(rng, days=9, noise=noise)
    traffic = fit_traffic(counts[:168], LAG_HOURS)
    now = np.arange(168, 216)
    expected = traffic.expect(np.stack([counts[now - lag] for lag in LAG_HOURS], axis=-1))
    assert np.median(np.abs(counts[now] / expected - 1)) < 0.06 + noise
    assert count_surprise(counts[now], expected, traffic.excess).max() < np.log(20 * now.size)


def test_traffic_that_varies_by_more_than_chance_is_known_to():
    rng = np.random.default_rng(3)
    calm, restless = (fit_traffic(week(rng, noise=noise), LAG_HOURS) for noise in (0.0, 0.3))
    assert calm.excess < 0.01
    assert restless.excess > 0.05


@pytest.mark.parametrize("counts", [[0] * 80, [7] * 80, [0, 0, 0, 5_000_000] * 20, [0] * 79 + [10**12]])
def test_whatever_the_past_the_expectation_is_a_number(counts):
    traffic = fit_traffic(counts, LAG_HOURS)
    assert np.isfinite(traffic.weights).all()
    assert np.isfinite(traffic.excess)
    assert np.isfinite(traffic.expect([[0, 0, 0], [10**12] * 3])).all()


def test_an_even_stream_is_expected_to_go_on():
    assert fit_traffic([50] * 100, LAG_HOURS).expect([50, 50, 50]) == pytest.approx(50, rel=0.01)


def test_without_lags_all_windows_are_expected_alike():
    counts = np.random.default_rng(4).poisson(300, 40)
    traffic = fit_traffic(counts, [])
    assert float(traffic.expect([])) == pytest.approx(counts.mean(), rel=1e-3)
    assert traffic.excess < 0.01


def test_too_short_a_past_expects_nothing():
    with pytest.raises(ValueError, match="31 windows are too few"):
        fit_traffic([1] * 31, LAG_HOURS)
    assert fit_traffic([1] * 32, LAG_HOURS).windows == 8
    with pytest.raises(ValueError, match="lags are 1 or more"):
        fit_traffic([1] * 50, [0])
    with pytest.raises(ValueError, match="0 events or more"):
        fit_traffic([-1] * 50, [1])


@pytest.mark.parametrize("rate", [0.3, 12.0, 4_000.0])
@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.7])
def test_the_surprise_is_that_of_scipys_distributions(rate, alpha):
    k = np.unique(np.rint(rate * np.array([0, 0.5, 0.9, 1, 1.1, 1.6, 3])))
    law = stats.nbinom(1 / alpha, 1 / (1 + alpha * rate)) if alpha else stats.poisson(rate)
    expected = -np.log(np.clip(2 * np.minimum(law.cdf(k), law.sf(k - 1)), 1e-300, 1))
    assert count_surprise(k, rate, alpha) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_an_alarm_at_ln_a_is_false_in_no_more_than_one_window_of_a():
    rng = np.random.default_rng(5)
    lam = 80 * rng.gamma(1 / 0.02, 0.02, 200_000)
    surprises = count_surprise(rng.poisson(lam), 80.0, 0.02)
    for level in (20, 200, 2_000):
        assert np.mean(surprises >= np.log(level)) <= 1.3 / level


def test_nothing_where_little_was_expected_is_no_surprise_and_where_much_was_it_is():
    assert count_surprise(0, 1.0) == pytest.approx(1 - np.log(2))
    assert count_surprise(0, 100.0) == pytest.approx(100 - np.log(2))
    assert count_surprise([0, 10**9], [1e6, 1.0]).tolist() == pytest.approx([690.8, 690.8], abs=0.1)


def test_the_silence_since_the_last_event_is_as_surprising_as_the_events_that_did_not_come():
    assert silence_surprise([2.0, 0.001], 30).tolist() == [60.0, 0.03]
    assert silence_surprise(2.0, 30) == pytest.approx(-stats.expon(scale=1 / 2.0).logsf(30))
    with pytest.raises(ValueError, match="0 seconds or more"):
        silence_surprise(1.0, -5)


@pytest.mark.parametrize(
    ("count", "expected", "excess"), [(-1, 5.0, 0.0), (1, 0.0, 0.0), (1, 5.0, -0.1), (1, np.nan, 0)]
)
def test_what_cannot_be_is_refused(count, expected, excess):
    with pytest.raises(ValueError, match="no surprise can be told"):
        count_surprise(count, expected, excess)


def test_what_was_learned_is_a_plain_tuple():
    assert Traffic(np.zeros(2), 0.0, 9).expect([3.0]) == pytest.approx(1.0)
