import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cityblock, euclidean, jensenshannon

from birdwatch.stats.distances import (
    bucket_counts,
    bucket_cuts,
    chi_square,
    hellinger,
    jensen_shannon,
    ks,
    ks_leave_one_out,
    ks_noise,
    psi,
    psi_noise,
    psi_threshold,
    stack,
    total_variation,
    wasserstein,
    wasserstein_noise,
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


BUCKETED = (jensen_shannon, hellinger, chi_square, total_variation)


@pytest.mark.parametrize("seed", range(5))
def test_distances_by_bucket_agree_with_scipy(seed):
    rng = np.random.default_rng(seed)
    p, q = rng.multinomial(400, rng.dirichlet(np.ones(6)), 2) + np.array([[1], [0]])
    f, g = p / p.sum(), q / q.sum()
    assert hellinger(p, q) == pytest.approx(euclidean(np.sqrt(f), np.sqrt(g)) / np.sqrt(2))
    assert total_variation(p, q) == pytest.approx(cityblock(f, g) / 2)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2))
    same = rng.multinomial(400, f, 2)
    pearson = stats.chi2_contingency(same[:, same.any(axis=0)], correction=False).statistic
    assert 2 * 400 * chi_square(*same) == pytest.approx(pearson)


@pytest.mark.parametrize("distance", BUCKETED)
def test_distances_by_bucket_are_symmetric_and_lie_between_0_and_1(distance):
    p, q, nowhere = np.array([5, 0, 3, 9]), np.array([1, 4, 4, 0]), np.array([0, 7, 0, 0])
    assert distance(p, q) == pytest.approx(distance(q, p))
    assert distance(p, 3 * p) == pytest.approx(0, abs=1e-8)
    assert 0 < distance(p, q) < 1
    assert distance(p, nowhere) == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("distance", [*BUCKETED, psi])
def test_windows_of_one_and_five_events_have_a_distance_and_of_none_have_not(distance, n):
    rng = np.random.default_rng(n)
    reference = histogram(rng.normal(size=10_000))
    cuts = bucket_cuts(reference)
    few, many = bucket_counts(histogram(rng.normal(size=n)), cuts), bucket_counts(reference, cuts)
    assert np.isfinite(distance(few, many))
    for sides in ((0 * few, many), (many, 0 * few)):
        with pytest.raises(ValueError, match="events on both sides"):
            distance(*sides)


def test_few_events_are_not_far_by_the_threshold_for_so_few():
    """The folklore of 0.2 would alarm on most windows of 5 events; the threshold for n = 5 on next to none."""
    rng = np.random.default_rng(6)
    reference = histogram(rng.normal(size=10_000))
    cuts = bucket_cuts(reference)
    many = bucket_counts(reference, cuts)
    found = np.array([psi(bucket_counts(histogram(rng.normal(size=5)), cuts), many) for _ in range(300)])
    assert np.mean(found > 0.2) > 0.5
    assert np.mean(found > psi_threshold(5, 10_000, level=0.99)) < 0.02


def test_the_threshold_above_a_floor_is_scipys_noncentral_chi_square():
    both = 1_000 * 9_000 / 10_000
    assert psi_threshold(1_000, 9_000, 10, floor=0.1, level=0.99) == pytest.approx(
        stats.ncx2.ppf(0.99, 9, both * 0.1) / both
    )
    assert psi_threshold(200, 300, 10, level=0.99) == psi_noise(200, 300, 10, 0.99)
    assert psi_threshold(1e9, 1e9, floor=0.1) == pytest.approx(0.1, rel=1e-3)


def test_a_shift_at_the_floor_exceeds_the_threshold_as_rarely_as_it_should():
    """PSI 0.09 is a shift by .3 standard deviations: tolerated where that is the floor, and found where it is 0."""
    rng = np.random.default_rng(7)
    reference = histogram(rng.normal(0, 1, 50_000))
    cuts = bucket_cuts(reference)
    many = bucket_counts(reference, cuts)
    floor = psi(bucket_counts(histogram(rng.normal(0.3, 1, 1_000_000)), cuts), many)
    found = np.array([psi(bucket_counts(histogram(rng.normal(0.3, 1, 800)), cuts), many) for _ in range(400)])
    assert np.mean(found > psi_threshold(800, 50_000, floor=floor, level=0.95)) <= 0.09
    assert np.mean(found > psi_threshold(800, 50_000, level=0.95)) > 0.95


@pytest.mark.parametrize("wrong", [{"n": 0}, {"m": -1}, {"floor": -0.1}, {"level": 1.0}])
def test_a_threshold_of_nothing_is_refused(wrong):
    with pytest.raises(ValueError, match="no PSI can be told"):
        psi_threshold(**{"n": 10, "m": 10, **wrong})


def test_one_outlier_hides_nothing_from_buckets_of_the_references_mass():
    """Ten equal widths from the least to the largest put all but one event into one bucket, and see no drift."""
    rng = np.random.default_rng(8)
    reference, moved = rng.normal(0, 1, 10_000), np.append(rng.normal(1, 1, 1_000), 1e4)
    widths = np.linspace(-5, 1e4, 11)[1:-1]
    by_width = [np.bincount(np.searchsorted(widths, x), minlength=10) for x in (moved, reference)]
    assert psi(*by_width) < 0.02
    cuts = bucket_cuts(histogram(reference))
    clean = psi(bucket_counts(histogram(moved[:-1]), cuts), bucket_counts(histogram(reference), cuts))
    assert psi(bucket_counts(histogram(moved), cuts), bucket_counts(histogram(reference), cuts)) == pytest.approx(
        clean, rel=0.02
    )
    assert clean > 0.5


def test_few_valued_scores_have_a_bucket_each_and_their_distances_are_exact():
    reference, window = np.repeat([0.0, 1.0, 2.0], [700, 200, 100]), np.repeat([0.0, 1.0, 2.0], [60, 20, 20])
    cuts = bucket_cuts(histogram(reference))
    ours, theirs = (bucket_counts(histogram(x), cuts) for x in (window, reference))
    assert (ours.tolist(), theirs.tolist()) == ([60, 20, 20], [700, 200, 100])
    assert ks(histogram(window), histogram(reference)).value == pytest.approx(
        stats.ks_2samp(window, reference, method="asymp").statistic
    )


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.random(n),
        lambda rng, n: rng.beta(0.5, 4.0, n),
        lambda rng, n: rng.lognormal(0.0, 1.0, n),
        lambda rng, n: rng.choice([0.1, 0.5, 0.9], n, p=[0.7, 0.2, 0.1]),  # atoms
    ],
)
def test_unchanged_samples_seldom_lie_further_apart_than_chance_explains_of_wasserstein(draw):
    rng = np.random.default_rng(9)
    apart = []
    for _ in range(300):
        now, before = draw(rng, 150), draw(rng, 2_000)
        noise = wasserstein_noise(150, 2_000, histogram(before))
        apart.append(stats.wasserstein_distance(now, before) / noise)
    assert np.mean(np.array(apart) > 1) <= 0.05
    assert np.quantile(apart, 0.95) > 0.65  # and the bound is no idle one


def test_what_chance_explains_of_wasserstein_has_the_unit_of_the_values_and_refuses_nothing_to_go_by():
    values = np.random.default_rng(2).normal(0, 1, 3_000)
    one, eight = (wasserstein_noise(100, 3_000, histogram(values * unit)) for unit in (1, 8))
    assert eight == pytest.approx(8 * one)
    assert wasserstein_noise(400, 12_000, histogram(values)) == pytest.approx(one / 2)
    with pytest.raises(ValueError, match="0 and 10 events"):
        wasserstein_noise(0, 10, histogram(values))
