import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.special import betainc, betaincinv, betaln
from scipy.stats import beta as beta_distribution
from scipy.stats import kstest

from birdwatch.stats.posterior import best_probabilities, draw

parameters = st.floats(0.05, 1e6)
arms = st.lists(st.tuples(parameters, parameters), min_size=1, max_size=6)


def closed_form(a1, b1, a2, b2):
    """Give P(second > first) for integer parameters (Miller 2015, "Formulas for Bayesian A/B Testing")."""
    i = np.arange(a2)
    return np.exp(betaln(a1 + i, b2 + b1) - np.log(b2 + i) - betaln(1 + i, b2) - betaln(a1, b1)).sum()


def by_quadrature(alpha, beta):
    """Integrate over the quantiles of each arm, adaptively."""

    def others_below(u, i):
        x = betaincinv(alpha[i], beta[i], u)
        return np.prod([betainc(a, b, x) for j, (a, b) in enumerate(zip(alpha, beta, strict=True)) if j != i])

    return [integrate.quad(others_below, 0, 1, args=(i,), epsabs=1e-10, limit=200)[0] for i in range(len(alpha))]


@pytest.mark.parametrize(
    ("first", "second"),
    [((1, 1), (1, 1)), ((3, 7), (5, 6)), ((31, 71), (51, 51)), ((900, 9100), (950, 9050)), ((1, 9), (4, 1))],
)
def test_of_two_arms_it_is_the_closed_form(first, second):
    expected = closed_form(*first, *second)
    assert best_probabilities(*zip(first, second, strict=True)) == pytest.approx([1 - expected, expected], abs=1e-11)


@pytest.mark.parametrize(
    ("alpha", "beta"),
    [([0.5, 0.5, 1.5], [0.5, 2.5, 0.5]), ([30, 55, 1, 200, 7], [70, 100, 1, 380, 3]), ([3, 8, 1], [4000, 9000, 300])],
)
def test_of_more_arms_it_is_what_adaptive_quadrature_gives(alpha, beta):
    assert best_probabilities(alpha, beta) == pytest.approx(by_quadrature(alpha, beta), abs=1e-9)


@pytest.mark.parametrize(
    ("alpha", "beta"),
    [([2, 3, 4], [5, 6, 7]), ([0.3, 0.4, 40], [0.3, 2, 60]), ([1, 1e6, 2], [1, 2e6, 5]), ([5] * 6, [2] * 6)],
)
def test_it_is_how_often_each_draw_is_the_largest(alpha, beta):
    draws = np.random.default_rng(13).beta(alpha, beta, size=(200_000, len(alpha)))
    seen = np.bincount(draws.argmax(axis=1), minlength=len(alpha)) / len(draws)
    expected = best_probabilities(alpha, beta)
    assert (np.abs(seen - expected) <= 5 * np.sqrt(expected * (1 - expected) / len(draws))).all()


@pytest.mark.parametrize("a", [0.01, 0.05, 0.3, 1.0, 30.0, 1e6])
@pytest.mark.parametrize("b", [0.02, 1.0, 500.0])
def test_it_holds_however_unlike_the_arms_are(a, b):
    """With β = 1 the distribution functions are powers, whose integral is a/(a + b)."""
    assert best_probabilities([a, b], [1, 1]) == pytest.approx([a / (a + b), b / (a + b)], rel=1e-9)
    assert best_probabilities([1, 1], [a, b]) == pytest.approx([b / (a + b), a / (a + b)], rel=1e-9)


def test_an_arm_known_well_is_beaten_as_often_as_the_unknown_one_lies_above():
    assert best_probabilities([1, 0.3e6], [1, 0.7e6])[0] == pytest.approx(0.7, abs=1e-6)


@settings(deadline=None)
@given(arms)
def test_they_are_probabilities_and_sum_to_one(given_arms):
    found = best_probabilities(*zip(*given_arms, strict=True))
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)


@settings(deadline=None)
@given(arms, st.randoms(use_true_random=False))
def test_the_order_of_the_arms_does_not_matter(given_arms, random):
    order = random.sample(range(len(given_arms)), len(given_arms))
    found = best_probabilities(*zip(*given_arms, strict=True))
    shuffled = best_probabilities(*zip(*(given_arms[i] for i in order), strict=True))
    assert shuffled == pytest.approx(found[order], abs=1e-9)


@settings(deadline=None)
@given(arms.filter(lambda drawn: len(drawn) == 2))
def test_the_better_of_two_arms_is_the_worse_of_their_complements(given_arms):
    alpha, beta = zip(*given_arms, strict=True)
    assert best_probabilities(alpha, beta) == pytest.approx(best_probabilities(beta, alpha)[::-1], abs=1e-9)


def test_one_arm_is_always_the_best():
    assert best_probabilities([0.2], [7]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("alpha", "beta", "said"),
    [
        ([], [], "no arms"),
        ([1, 2], [1], r"shapes are \(2,\) and \(1,\)"),
        ([1, 0], [1, 1], r"α=\[1.0, 0.0\]"),
        ([1, 1], [1, float("nan")], "positive and finite"),
        ([1, 1], [1, float("inf")], "positive and finite"),
    ],
)
def test_parameters_that_are_none_are_refused(alpha, beta, said):
    with pytest.raises(ValueError, match=said):
        best_probabilities(alpha, beta)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (0.3, 4), (30, 70)])
def test_draws_are_distributed_as_they_should_be(a, b):
    draws = draw(a, b, np.random.default_rng(5).random(20_000))
    assert kstest(draws, beta_distribution(a, b).cdf).pvalue > 0.001


def test_the_draws_make_each_arm_the_largest_with_its_probability():
    alpha, beta = np.array([3.0, 40.0, 0.5]), np.array([7.0, 80.0, 0.8])
    n = 100_000
    largest = draw(alpha, beta, np.random.default_rng(8).random((n, 3))).argmax(axis=1)
    expected = best_probabilities(alpha, beta)
    off = np.abs(np.bincount(largest, minlength=3) / n - expected)
    assert (off <= 5 * np.sqrt(expected * (1 - expected) / n)).all()


@pytest.mark.parametrize("u", [-0.1, 1.1, float("nan")])
def test_what_is_no_uniform_number_is_refused(u):
    with pytest.raises(ValueError, match="0 to 1"):
        draw(1, 1, u)
