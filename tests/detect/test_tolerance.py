import numpy as np
import pytest
from scipy import special

from birdwatch.detect.tolerance import learn, level, normal_noise
from birdwatch.stats.distances import ks_noise


def blocks_distances(rng, spread, n, blocks=28):
    """KS distances of blocks from the truth, whose means wander by `spread`."""
    x = special.ndtr(np.sort(rng.normal(rng.normal(0, spread, (blocks, 1)), 1, (blocks, n)), axis=1))
    at = np.arange(n) / n
    return np.maximum(x - at, at + 1 / n - x).max(axis=1)


@pytest.mark.parametrize("severity", ["ticket", "page"])
@pytest.mark.parametrize("n", [50, 1_000])
def test_blocks_that_differ_by_chance_alone_teach_next_to_no_tolerance(severity, n):
    rng = np.random.default_rng(1)
    noise = ks_noise(np.full(28, n), np.inf, level(severity, 28))
    taught = [learn(blocks_distances(rng, 0, n), noise, severity) for _ in range(30)]
    assert np.median(taught) <= 0.5 * noise[0]


def test_small_blocks_teach_about_the_tolerance_of_large_ones():
    rng = np.random.default_rng(2)
    taught = {
        n: np.median(
            [learn(blocks_distances(rng, 0.3, n), ks_noise(np.full(28, n), np.inf), "ticket") for _ in range(30)]
        )
        for n in (100, 5_000)
    }
    assert taught[100] == pytest.approx(taught[5_000], rel=0.25)
    assert np.median([blocks_distances(rng, 0.3, 100).max() for _ in range(30)]) > 1.1 * taught[5_000]


def test_a_page_takes_the_largest_block():
    assert learn(np.array([0.1, 0.5, 0.2]), np.zeros(3), "page") == 0.5
    assert learn(np.array([0.1, 0.5, 0.2]), np.zeros(3), "ticket") == pytest.approx(np.quantile([0.1, 0.5, 0.2], 0.95))


def test_normal_noise_is_a_two_sided_quantile():
    assert normal_noise(np.array([2.0]), 0.95)[0] == pytest.approx(2 * 1.959964, rel=1e-6)
