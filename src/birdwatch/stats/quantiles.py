"""Percentiles and moments read off a histogram on the grid, each with the bounds that the grid leaves.

A histogram here is a pair of arrays: bins that rise strictly, and how many events fell in each.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats.grid import Scale, lower_edges, midpoints, upper_edges

__all__ = ["PERCENTILES", "Histogram", "Quantile", "moments", "quantiles", "size"]

Histogram = tuple[NDArray[np.int64], NDArray[np.int64]]

PERCENTILES: Final = (0.5, 0.9, 0.95, 0.99, 0.999)
"""The ones people ask for: p50, p90, p95, p99, p99.9."""


class Quantile(NamedTuple):
    """A quantile lies in [lower, upper]; ``value`` is the middle of that bin."""

    value: float
    lower: float
    upper: float


def size(histogram: Histogram) -> int:
    """Count the events of a histogram."""
    return int(histogram[1].sum())


def quantiles(histogram: Histogram, levels: Sequence[float] = PERCENTILES, scale: Scale = "real") -> list[Quantile]:
    """Give the empirical quantiles: the smallest value that a share ``level`` of the events does not exceed.

    The bounds hold the ``inverted_cdf`` quantile of the events themselves, whatever they were.

    Parameters
    ----------
    histogram
        At least one event.
    levels
        Each in [0, 1].

    Raises
    ------
    ValueError
        There are no events, or a level is not in [0, 1].

    Examples
    --------
    >>> from birdwatch.stats.grid import bins_of
    >>> quantiles((bins_of([1.0, 2.0]), np.array([3, 1])), [0.5, 0.99])[1].lower
    2.0
    """
    n = size(histogram)
    if n == 0:
        raise ValueError("a histogram without events has no quantiles")
    wanted = np.asarray(levels, dtype=np.float64)
    if not ((wanted >= 0) & (wanted <= 1)).all():
        raise ValueError(f"levels must lie in 0 to 1, not {list(levels)}")
    # The small subtrahend keeps 0.9 * 10 = 9.000000000000002 at the ninth event.
    ranks = np.clip(np.ceil(wanted * n - 1e-9 * n), 1, n)
    found = histogram[0][np.searchsorted(np.cumsum(histogram[1]), ranks)]
    edges = zip(lower_edges(found, scale).tolist(), upper_edges(found, scale).tolist(), strict=True)
    return [Quantile((low + high) / 2, low, high) for low, high in edges]


def moments(histogram: Histogram, scale: Scale = "real") -> tuple[float, float]:
    """Give mean and standard deviation (divisor n), events taken to lie in the middle of their bins.

    Raises
    ------
    ValueError
        There are no events.

    Examples
    --------
    >>> moments((np.array([0]), np.array([5])))[0] < 1e-300
    True
    """
    n = size(histogram)
    if n == 0:
        raise ValueError("a histogram without events has no mean")
    x = midpoints(histogram[0], scale)
    mean = float(x @ histogram[1] / n)
    return mean, float(np.sqrt((x - mean) ** 2 @ histogram[1] / n))
