import numpy as np
import pytest

from birdwatch.stats.contributions import contributions
from birdwatch.stats.distances import bucket_counts, bucket_cuts, psi
from birdwatch.stats.grid import bins_of


def histogram(values, scale="real"):
    bins, counts = np.unique(bins_of(values, scale), return_counts=True)
    return bins, counts.astype(np.int64)


def test_the_buckets_add_up_to_the_whole():
    rng = np.random.default_rng(1)
    now, before = histogram(rng.normal(0.3, 1, 500)), histogram(rng.normal(0, 1, 5_000))
    cuts = bucket_cuts(before)
    told = contributions(now, before, cuts)
    assert told.psi.sum() == pytest.approx(psi(bucket_counts(now, cuts), bucket_counts(before, cuts)))
    assert (told.psi >= 0).all()
    assert told.now.sum() == pytest.approx(1)
    assert told.before == pytest.approx(np.full(10, 0.1), abs=0.01)


def test_the_bucket_that_moved_is_named_with_its_edges():
    """A twentieth of the scores is stuck at 0.62."""
    rng = np.random.default_rng(2)
    before = rng.beta(2, 5, 20_000)
    now = rng.beta(2, 5, 2_000)
    now[:100] = 0.62
    reference = histogram(before, "probability")
    told = contributions(histogram(now, "probability"), reference, bucket_cuts(reference), "probability")
    (worst,) = told.largest(1)
    assert told.lower[worst] <= 0.62 < told.upper[worst]
    assert told.now[worst] - told.before[worst] == pytest.approx(0.045, abs=0.02)


def test_buckets_lie_side_by_side_from_end_to_end():
    reference = histogram(np.linspace(0.1, 0.9, 1_000), "probability")
    told = contributions(reference, reference, bucket_cuts(reference), "probability")
    assert (told.lower[0], told.upper[-1]) == (0.0, 1.0)
    assert told.lower[1:].tolist() == told.upper[:-1].tolist()
    assert told.psi == pytest.approx(0)
    real = contributions(histogram([1.0, 2.0]), histogram([1.0, 2.0]), bins_of([1.0]))
    assert (real.lower[0], real.upper[-1]) == (-np.inf, np.inf)


def test_a_single_value_is_a_single_bucket():
    told = contributions(histogram([0.5, 0.7]), histogram([0.5] * 9), bucket_cuts(histogram([0.5] * 9)))
    assert (told.now.tolist(), told.before.tolist(), told.psi.tolist()) == ([1.0], [1.0], [0.0])


def test_a_side_without_events_is_refused():
    with pytest.raises(ValueError, match="events on both sides"):
        contributions(histogram([]), histogram([1.0]), np.array([], dtype=np.int64))
