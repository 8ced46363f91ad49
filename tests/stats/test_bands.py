import numpy as np
import pytest

from birdwatch.stats.bands import band, band_constant, two_sample_band


def test_the_constants_are_those_of_the_paper():
    assert [band_constant(a) for a in (0.05, 0.01, 0.001)] == pytest.approx([8.123, 9.284, 10.943], abs=1e-3)


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.01, 1e-6])
def test_they_are_tighter_than_the_papers_closed_form(alpha):
    assert 0.9 < band_constant(alpha) / (0.8 * np.log(1612 / alpha)) <= 1


def test_a_band_is_its_formula():
    t, t_min = np.array([50, 51, 10**9]), 50
    width = 0.85 * np.sqrt((np.log(1 + np.log(t / t_min)) + 8.123) / t)
    assert band(t, t_min) == pytest.approx(width, rel=1e-4)


def test_it_says_nothing_before_it_begins_nor_of_a_handful():
    assert band([0, 49], 50).tolist() == [1.0, 1.0]
    assert band([1, 2, 5]).tolist() == [1.0, 1.0, 1.0]


def test_it_narrows_with_draws_and_widens_with_certainty():
    t = np.geomspace(100, 1e8, 60)
    assert (np.diff(band(t, 100)) < 0).all()
    assert (band(t, 100, 0.01) > band(t, 100, 0.05)).all()


def left(distance, width):
    """Tell which streams leave their band at any of the times looked at."""
    return (distance > width).any(axis=-1)


def test_unchanged_streams_leave_their_bands_no_more_often_than_promised():
    """300 streams of 3,000 draws looked at after every 20; the point-wise band of the same level is left by many."""
    rng = np.random.default_rng(1)
    times = np.arange(20, 3_001, 20)
    edges = np.linspace(0, 1, 101)[1:-1]
    below = np.zeros((2, 300, times.size, edges.size))
    for side in below:
        counts = np.apply_along_axis(
            lambda u: np.bincount(np.searchsorted(edges, u), minlength=100)[:-1], 2, rng.random((300, times.size, 20))
        )
        side[:] = counts.cumsum(axis=1).cumsum(axis=2) / times[:, None]
    one = np.abs(below[0] - edges).max(axis=-1)
    assert left(one, band(times, 20)).mean() <= 0.05
    assert left(one, 1.36 / np.sqrt(times)).mean() > 0.15
    two = np.abs(below[0] - below[1]).max(axis=-1)
    assert left(two, two_sample_band(times, times, n_min=20, m_min=20)).mean() <= 0.05


def test_two_samples_grow_each_in_its_own_time():
    assert float(two_sample_band(1_000, 700)) == pytest.approx(float(band(1_000, 1, 0.025) + band(700, 1, 0.025)))
    apart = two_sample_band([1_000, 1_000], [1_000, 10**9])
    assert apart[1] < apart[0]
    assert apart[1] == pytest.approx(band(1_000, 1, 0.025), abs=1e-3)


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0])
def test_a_probability_that_is_none_is_refused(alpha):
    with pytest.raises(ValueError, match="between 0 and 1"):
        band(10, 1, alpha)


def test_a_beginning_before_the_first_draw_is_refused():
    with pytest.raises(ValueError, match="1 draw or later"):
        band(10, 0)
