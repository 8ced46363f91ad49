import numpy as np
import pytest

from birdwatch.stats.means import BETS, LAMBDAS, bounded_mean, symmetric_mean

from .simulation import A, alarms_by_stream, keeps_budget


def sums(d):
    return d.shape[-1], d.sum(axis=-1), (d**2).sum(axis=-1)


@pytest.mark.parametrize("spread", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("centre", [0.0, 0.2])
def test_bounded_means_keep_the_budget_at_the_margin(spread, centre):
    margin = 0.01
    # A two-valued difference with exactly the largest mean that is still in order, skewed to be unkind.
    high, low = min(1.0, centre + margin + spread), max(-1.0, centre + margin - spread)
    share = (centre + margin - low) / (high - low)

    def draw(rng, streams):
        d = np.where(rng.random((streams, 40)) < share, high, low)
        return bounded_mean(*sums(d), centre=centre, margin=margin)

    assert keeps_budget(draw, windows=20)


SYMMETRIC = {
    "normal": lambda rng, shape: rng.normal(0, 1, shape),
    "heavy-tailed": lambda rng, shape: rng.standard_cauchy(shape),
    "two-valued": lambda rng, shape: rng.choice([-0.5, 0.5], shape),
    "of ever another size": lambda rng, shape: rng.normal(0, 1, shape) * rng.exponential(1, (shape[0], 1)) ** 2,
}


@pytest.mark.parametrize("kind", SYMMETRIC)
@pytest.mark.parametrize("point", [0.9, 0.5, 0.3, -0.3])
def test_symmetric_differences_keep_the_budget_at_the_margin_and_within_it(kind, point):
    def draw(rng, streams):
        return symmetric_mean(*sums(point + SYMMETRIC[kind](rng, (streams, 30))), centre=0.3, margin=0.6)

    assert keeps_budget(draw, windows=20)


def test_skew_breaks_the_symmetric_form_as_its_docstring_warns():
    """The mean is 0, and so is nothing else: one difference in a thousand is large."""

    def draw(rng, streams):
        return symmetric_mean(*sums(np.where(rng.random((streams, 500)) < 0.001, -9.99, 0.01)))

    alarms, budget = alarms_by_stream(draw, streams=500, windows=20)
    assert alarms > 5 * budget


def test_a_bounded_mean_is_the_sum_over_single_differences():
    d = np.array([0.3, -0.1, 0.02, 0.7])
    lam = np.asarray(LAMBDAS)
    found = bounded_mean(*sums(d), centre=0.05, margin=0.01)
    for side, g in enumerate([(d - 0.05 - 0.01) / 1.06, (-d + 0.05 - 0.01) / 1.06]):
        by_event = (lam[:, None] * g + (lam + np.log(1 - lam))[:, None] * g**2).sum(axis=1)
        assert found[side * lam.size :][: lam.size] == pytest.approx(by_event)
        assert (by_event <= np.log1p(lam[:, None] * g).sum(axis=1) + 1e-12).all()


def test_a_symmetric_mean_is_the_sum_over_single_differences():
    d = np.array([3.0, -1.0, 2.0])
    lam = np.asarray(BETS) / 4
    found = symmetric_mean(*sums(d), centre=-0.5, margin=0.1, unit=4.0)
    for side, g in enumerate([d + 0.5 - 0.1, -d - 0.5 - 0.1]):
        by_event = (lam[:, None] * g - lam[:, None] ** 2 / 2 * g**2).sum(axis=1)
        assert found[side * lam.size :][: lam.size] == pytest.approx(by_event)


def test_another_unit_of_the_scores_is_the_same_evidence():
    d = np.random.default_rng(1).normal(0.2, 1, 50)
    there = symmetric_mean(*sums(1_000 * d), centre=100.0, margin=10.0, unit=1_000.0)
    assert there == pytest.approx(symmetric_mean(*sums(d), centre=0.1, margin=0.01))


@pytest.mark.parametrize("evidence", [bounded_mean, symmetric_mean])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_shift_is_found_on_either_side(evidence, sign):
    d = np.clip(np.random.default_rng(4).normal(0.03, 0.05, 1_000), -1, 1)
    ratios = evidence(*sums(sign * d), margin=0.005)
    half = ratios.size // 2
    found, other = (ratios[:half], ratios[half:])[::sign]
    assert found.max() > np.log(A * ratios.size)
    assert other.max() < 0


@pytest.mark.parametrize("evidence", [bounded_mean, symmetric_mean])
def test_many_subjects_at_once_are_each_of_them_alone(evidence):
    rng = np.random.default_rng(2)
    d, centre, margin = rng.uniform(-1, 1, (6, 40)), rng.uniform(-0.1, 0.1, 6), rng.uniform(0, 0.1, 6)
    found = evidence(*sums(d), centre=centre, margin=margin)
    alone = [evidence(*sums(d[i]), centre=centre[i], margin=margin[i]) for i in range(6)]
    assert found == pytest.approx(np.array(alone))


@pytest.mark.parametrize("evidence", [bounded_mean, symmetric_mean])
def test_no_differences_are_no_evidence(evidence):
    found = evidence(0, 0.0, 0.0, centre=0.1, margin=0.1)
    assert found.tolist() == [0.0] * found.size


@pytest.mark.parametrize("evidence", [bounded_mean, symmetric_mean])
def test_sums_that_cannot_be_are_refused(evidence):
    for wrong in ((2, 1.0, 0.1), (-1, 0.0, 0.0), (2, 1.0, -1.0), (2, np.nan, 1.0), (2, 1.0, np.nan)):
        with pytest.raises(ValueError, match="not sums of differences"):
            evidence(*wrong)
    with pytest.raises(ValueError, match="strays by 0 or more"):
        evidence(2, 1.0, 1.0, margin=-0.1)


def test_differences_beyond_one_are_refused_where_they_must_be_bounded():
    with pytest.raises(ValueError, match="differences in -1 to 1"):
        bounded_mean(2, 5.0, 25.0)
    assert symmetric_mean(2, 5.0, 25.0).size


def test_bets_that_are_none_are_refused():
    with pytest.raises(ValueError, match="λ lies between 0 and 1"):
        bounded_mean(2, 0.0, 0.0, lambdas=[1.0])
    with pytest.raises(ValueError, match="larger than 0"):
        symmetric_mean(2, 0.0, 0.0, unit=0.0)
