"""Bands around a running mean: at all times at once they hold as often as they promise, whatever the differences do."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from birdwatch.stats.sequences import FEW, bounded_mean_band, gamma_exponential_bound, unbounded_mean_band

ALPHA = 0.05
STREAMS = 150
PANES = 50
EACH = 60


def sums(d):
    """Give n, Σd and Σd² of differences by pane, shape (panes, each)."""
    return np.full(len(d), d.shape[1]), d.sum(axis=1), (d**2).sum(axis=1)


def share_that_ever_leave(draw, band, *, seed, alpha=ALPHA):
    """Look at each stream after every pane; the truth is the average of the conditional means so far."""
    rng = np.random.default_rng(seed)
    left = 0
    for _ in range(STREAMS):
        d, means = draw(rng)
        truth = np.cumsum(means) / np.arange(1, PANES + 1)
        _, low, high = band(*sums(d), alpha=alpha)
        left += bool(((truth < low) | (truth > high)).any())
    return left / STREAMS


def of_probabilities(rng):
    return rng.beta(2, 8, (PANES, EACH)) - rng.beta(2, 6, (PANES, EACH)), np.full(PANES, 0.2 - 0.25)


def rare_and_large(rng):
    return -1.0 * (rng.random((PANES, EACH)) < 0.02), np.full(PANES, -0.02)


def that_drift(rng):
    """Differences whose mean moves with what has been seen: neither independent nor of one distribution."""
    d, means, at = np.empty((PANES, EACH)), np.empty(PANES), 0.0
    for pane in range(PANES):
        means[pane] = at
        d[pane] = np.clip(at + rng.uniform(-0.2, 0.2, EACH), -1, 1)
        at = float(np.clip(0.8 * at + 2 * (d[pane].mean() - at) + 0.01, -0.5, 0.5))
    return d, means


@pytest.mark.parametrize("draw", [of_probabilities, rare_and_large, that_drift])
def test_bounded_differences_leave_their_band_no_more_often_than_promised(draw):
    assert share_that_ever_leave(draw, bounded_mean_band, seed=3) <= ALPHA


def test_an_interval_for_one_time_is_left_by_many_who_look_at_all_times():
    def for_one_time(n, total, squares, alpha):
        so_far = np.cumsum(n)
        mean = np.cumsum(total) / so_far
        error = np.sqrt((np.cumsum(squares) / so_far - mean**2) / so_far) * stats.norm.ppf(1 - alpha / 2)
        return mean, mean - error, mean + error

    assert share_that_ever_leave(of_probabilities, for_one_time, seed=3) > 0.2


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: (rng.normal(3.0, 10.0, (PANES, EACH)), np.full(PANES, 3.0)),
        lambda rng: (rng.standard_t(5, (PANES, EACH)), np.zeros(PANES)),
        lambda rng: (rng.exponential(1.0, (PANES, EACH)), np.ones(PANES)),
    ],
)
def test_unbounded_differences_leave_theirs_no_more_often_either(draw):
    error = 3 * np.sqrt(ALPHA * (1 - ALPHA) / STREAMS)  # asymptotic, and a sample of streams
    assert share_that_ever_leave(draw, unbounded_mean_band, seed=5) <= ALPHA + error


@pytest.mark.parametrize("v", [0.0, 0.3, 10.0, 4e4])
@pytest.mark.parametrize(("alpha", "scale"), [(0.05, 1.0), (0.025, 2.0)])
def test_at_the_boundary_the_mixture_is_the_inverse_of_alpha(v, alpha, scale):
    """The integral over λ, by quadrature instead of gamma functions, on the scale where c = 1."""
    s = float(gamma_exponential_bound(v, alpha, best_at=5.0, scale=scale)) / scale
    v, a = v / scale**2, 2 * alpha
    rho = 5.0 / scale**2 / (2 * np.log(1 / a) + np.log1p(2 * np.log(1 / a)))
    log_whole = special.gammaln(rho) + np.log(special.gammainc(rho, rho)) - rho * np.log(rho)

    def integrand(left):  # 1 - λ
        price = -np.log(left) - (1 - left)
        return np.exp((1 - left) * s - v * price + (rho - 1) * np.log(left) - rho * left - log_whole)

    top = 1 - s / (s + v + rho)  # where it is largest
    parts = [(1e-300, top / 2), (top / 2, top), (top, min(2 * top, 1.0)), (min(2 * top, 1.0), 1.0)]
    found = sum(integrate.quad(integrand, *ends, limit=200)[0] for ends in parts)
    assert found * alpha == pytest.approx(1, rel=1e-5)


def test_steps_add_up_to_the_mean_of_all():
    rng = np.random.default_rng(1)
    d = rng.uniform(-0.3, 0.5, (30, 40))
    for band in (bounded_mean_band, unbounded_mean_band):
        mean, low, high = band(*sums(d))
        assert mean == pytest.approx(d.cumsum(axis=0).sum(axis=1) / (40 * np.arange(1, 31)))
        inside = ~np.isnan(low)
        assert ((low < mean) & (mean < high))[inside].all()
    assert (np.diff(bounded_mean_band(*sums(d))[2] - bounded_mean_band(*sums(d))[1]) < 0).all()


def test_steps_without_differences_change_nothing():
    gap = bounded_mean_band([0, 100, 0, 100], [0, 5.0, 0, 6.0], [0, 1.0, 0, 1.1])
    whole = bounded_mean_band([100, 100], [5.0, 6.0], [1.0, 1.1])
    assert np.isnan(gap[0][0])
    assert (gap[1][0], gap[2][0]) == (-1.0, 1.0)
    for with_gap, without in zip(gap, whole, strict=True):
        assert with_gap[[1, 3]] == pytest.approx(without)
    assert gap[1][2] == gap[1][1]
    nan = bounded_mean_band([np.nan, 100, np.nan, 100], [np.nan, 5.0, np.nan, 6.0], [np.nan, 1.0, np.nan, 1.1])
    assert nan[1].tolist() == gap[1].tolist()


def test_of_a_few_the_limit_says_nothing():
    mean, low, _ = unbounded_mean_band([FEW - 1, 1], [0.0, 0.0], [50.0, 0.5])
    assert mean.tolist() == [0, 0]
    assert np.isnan(low).tolist() == [True, False]


def test_unbounded_bands_follow_the_unit():
    n, total, squares = np.full(4, 100), np.array([3.0, 4, 5, 6]), np.array([9.0, 8, 7, 6])
    one, hundred = unbounded_mean_band(n, total, squares), unbounded_mean_band(n, total * 100, squares * 1e4)
    for a, b in zip(one, hundred, strict=True):
        assert a * 100 == pytest.approx(b)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bounded_mean_band([10], [0.0], [11.0]), "in -1 to 1"),
        (lambda: unbounded_mean_band([10], [10.0], [1.0]), "not sums of differences"),
        (lambda: unbounded_mean_band([10], [0.0], [1.0], alpha=1.0), "between 0 and 1"),
        (lambda: bounded_mean_band([10], [0.0], [1.0], alpha=0.0), "no boundary of"),
        (lambda: gamma_exponential_bound(-1.0, 0.05, best_at=1.0, scale=1.0), "no boundary of"),
    ],
)
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_boundaries_are_those_of_the_authors_own_program():
    """As printed by confseq's C++ (`gamma_exponential_mixture_bound`, `normal_mixture_bound`), commit 70b1ef3."""
    found = gamma_exponential_bound([1.0, 10.0, 1000.0], 0.05, best_at=10.0, scale=1.0)
    assert found == pytest.approx([5.806373, 11.549352, 111.415043], abs=1e-5)
    found = gamma_exponential_bound([1.0, 10.0, 1000.0], 0.025, best_at=10.0, scale=2.0)
    assert found == pytest.approx([10.086275, 17.194568, 127.213549], abs=1e-5)
    n = np.array([100, 4_900, 45_000])  # of unit variance, where the boundary is best at 5,000
    mean, _, high = unbounded_mean_band(n, 0 * n, n)
    assert (high - mean) * n.cumsum() == pytest.approx([66.94389, 214.62169, 724.87133], abs=1e-4)
