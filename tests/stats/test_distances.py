import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from birdwatch.stats.distances import (
    bucket_counts,
    bucket_cuts,
    jensen_shannon,
    ks,
    ks_leave_one_out,
    ks_noise,
    psi,
    psi_noise,
    stack,
    wasserstein,
)
from birdwatch.stats.grid import bins_of


def histogram(values, scale="real"):
    bins, counts = np.unique(bins_of(values, scale), return_counts=True)
    return bins, counts.astype(np.int64)


SAMPLES = {
    "normal": lambda rng, n: rng.normal(0, 1, n),
    "wide": lambda rng, n: rng.normal(0, 1.6, n),
    "probability": lambda rng, n: rng.beta(0.5, 0.5, n),
    "atoms": lambda rng, n: rng.choice([0.0, 0.5, 1.0], n),
    "heavy": lambda rng, n: rng.standard_cauchy(n),
}


@pytest.mark.parametrize("a", SAMPLES)
@pytest.mark.parametrize("b", SAMPLES)
def test_ks_and_wasserstein_agree_with_scipy_within_the_stated_error(a, b):
    rng = np.random.default_rng(11)
    x, y = SAMPLES[a](rng, 700), SAMPLES[b](rng, 1_300)
    found = ks(histogram(x), histogram(y))
    true = stats.ks_2samp(x, y, method="asymp").statistic
    assert found.value - 1e-12 <= true <= found.value + found.error + 1e-12
    moved = wasserstein(histogram(x), histogram(y))
    assert abs(moved.value - stats.wasserstein_distance(x, y)) <= moved.error


NUMBERS = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(NUMBERS, NUMBERS)
def test_the_error_bound_holds_on_samples_that_crowd_in_a_few_bins(x, y):
    scaled = [0.5 + v / 500 for v in x], [0.5 + v / 500 for v in y]
    found = ks(histogram(scaled[0]), histogram(scaled[1]))
    at = np.concatenate(scaled)
    shares = [np.searchsorted(np.sort(side), at, side="right") / len(side) for side in scaled]
    true = np.abs(shares[0] - shares[1]).max()
    assert found.value - 1e-12 <= true <= found.value + found.error + 1e-12


def test_one_outlier_moves_the_wasserstein_distance_and_hides_no_other():
    rng = np.random.default_rng(5)
    reference, moved = rng.normal(0, 1, 10_000), np.append(rng.normal(1, 1, 1_000), 1e4)
    cuts = bucket_cuts(histogram(reference))
    assert psi(bucket_counts(histogram(moved), cuts), bucket_counts(histogram(reference), cuts)) > 0.5
    assert ks(histogram(moved), histogram(reference)).value > 0.3
    assert wasserstein(histogram(moved), histogram(reference)).value > 10


def test_leaving_one_out_equals_comparing_each_block_with_the_rest():
    rng = np.random.default_rng(2)
    blocks = [rng.normal(rng.normal(0, 0.2), 1, rng.integers(50, 300)) for _ in range(9)]
    found = ks_leave_one_out([histogram(b) for b in blocks])
    each = [
        ks(histogram(b), histogram(np.concatenate([o for j, o in enumerate(blocks) if j != i]))).value
        for i, b in enumerate(blocks)
    ]
    assert found == pytest.approx(each)


def test_noise_is_what_scipy_says_of_kolmogorovs_distribution():
    assert ks_noise(200, 300, 0.99) == pytest.approx(stats.kstwobign.ppf(0.99) * np.sqrt(1 / 200 + 1 / 300))
    assert psi_noise(200, 300, 10, 0.99) == pytest.approx(stats.chi2.ppf(0.99, 9) * (1 / 200 + 1 / 300))


def test_unchanged_samples_exceed_the_noise_as_often_as_they_should():
    rng = np.random.default_rng(4)
    reference = rng.normal(size=20_000)
    of_reference = histogram(reference)
    cuts = bucket_cuts(of_reference)
    in_reference = bucket_counts(of_reference, cuts)
    windows = [histogram(rng.normal(size=300)) for _ in range(400)]
    by_ks = np.mean([ks(w, of_reference).value > ks_noise(300, 20_000) for w in windows])
    by_psi = np.mean([psi(bucket_counts(w, cuts), in_reference) > psi_noise(300, 20_000) for w in windows])
    assert 0.015 <= by_ks <= 0.075
    assert 0.02 <= by_psi <= 0.09


def test_psi_is_about_the_square_of_a_mean_shift():
    rng = np.random.default_rng(9)
    reference = histogram(rng.normal(0, 1, 200_000))
    cuts = bucket_cuts(reference)
    moved = bucket_counts(histogram(rng.normal(0.3, 1, 200_000)), cuts)
    assert psi(moved, bucket_counts(reference, cuts)) == pytest.approx(0.09, abs=0.01)


def test_psi_survives_empty_buckets():
    assert psi(np.array([0, 50]), np.array([500, 500])) == pytest.approx(2.2623, abs=1e-4)


def test_jensen_shannon_is_scipys():
    p, q = np.array([5, 0, 3, 9]), np.array([1, 4, 4, 0])
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2))
    assert jensen_shannon(p, p) == 0.0


def test_buckets_hold_about_equal_mass_and_an_atom_makes_them_fewer():
    rng = np.random.default_rng(1)
    smooth = histogram(rng.normal(size=50_000))
    cuts = bucket_cuts(smooth)
    assert cuts.size == 9
    assert bucket_counts(smooth, cuts) / 50_000 == pytest.approx(np.full(10, 0.1), abs=0.01)
    atoms = histogram(np.repeat([0.0, 0.5, 1.0], [80, 10, 10]))
    assert bucket_counts(atoms, bucket_cuts(atoms)).tolist() == [80, 10, 10]
    assert bucket_cuts(histogram([0.5] * 7)).size == 0


def test_sides_without_events_are_refused():
    empty, some = histogram([]), histogram([1.0])
    for distance in (ks, wasserstein):
        with pytest.raises(ValueError, match="events on both sides"):
            distance(empty, some)
    with pytest.raises(ValueError, match="two blocks"):
        ks_leave_one_out([some])
    with pytest.raises(ValueError, match="events on both sides"):
        bucket_cuts(empty)


def test_nothing_stacks_to_nothing():
    assert stack([])[1].shape == (0, 0)
