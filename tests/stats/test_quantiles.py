import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.stats.grid import Scale, bins_of
from birdwatch.stats.quantiles import PERCENTILES, moments, quantiles, size


def histogram(values, scale: Scale = "real"):
    bins, counts = np.unique(bins_of(values, scale), return_counts=True)
    return bins, counts.astype(np.int64)


NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


@settings(max_examples=200, deadline=None)
@given(NUMBERS, st.floats(0, 1))
def test_bounds_hold_the_quantile_of_the_events_themselves(values, level):
    found = quantiles(histogram(values), [level])[0]
    true = np.quantile(values, level, method="inverted_cdf")
    assert found.lower <= true <= found.upper


@pytest.mark.parametrize("draw", ["lognormal", "exponential", "normal", "constant", "two values"])
def test_latency_percentiles_are_within_one_percent(draw):
    rng = np.random.default_rng(7)
    values = {
        "lognormal": rng.lognormal(-3, 1, 20_000),
        "exponential": rng.exponential(0.1, 20_000),
        "normal": rng.normal(10, 2, 20_000),
        "constant": np.full(500, 0.25),
        "two values": rng.choice([0.1, 3.0], 5_000),
    }[draw]
    for level, found in zip(PERCENTILES, quantiles(histogram(values)), strict=True):
        true = np.quantile(values, level, method="inverted_cdf")
        assert found.value == pytest.approx(true, rel=0.01)
        assert found.lower <= true <= found.upper


def test_the_ninth_of_ten_is_the_ninth_decile():
    assert quantiles(histogram(np.arange(1.0, 11.0)), [0.9])[0].lower == 9.0


def test_quantiles_of_nothing_and_levels_outside_are_refused():
    with pytest.raises(ValueError, match="without events"):
        quantiles(histogram([]))
    with pytest.raises(ValueError, match=r"1\.5"):
        quantiles(histogram([1.0]), [1.5])
    with pytest.raises(ValueError, match="without events"):
        moments(histogram([]))


@pytest.mark.parametrize("scale", ["real", "probability"])
def test_moments_are_those_of_the_events_to_within_the_grid(scale):
    values = np.random.default_rng(3).beta(2, 8, 10_000)
    mean, sd = moments(histogram(values, scale), scale)
    assert mean == pytest.approx(values.mean(), rel=1e-3)
    assert sd == pytest.approx(values.std(), rel=1e-2)


def test_size_counts_events():
    assert size(histogram([1.0, 1.0, 2.0])) == 3
