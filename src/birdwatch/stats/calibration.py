"""How much must be tolerated: the least tolerance under which what is known to be in order raises no evidence.

Real streams wobble from hour to hour. The evidence of a run of windows that were in order is computed again for one
tolerance after the other: under the right one it behaves as chance does, and R, which is expected to be T after T
windows, does not go beyond that. This takes out what sampling explains, at any size of a window, without a model of
how the stream wobbles. As a wobble that was seen once will come again and may be a little larger, the evidence must
stay below the root of T: half as high, in logarithms, as chance alone may bring it.
"""

from bisect import bisect_left
from collections.abc import Callable
from math import log
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdwatch.stats import special

__all__ = ["least_tolerance", "peak"]

Floats = NDArray[np.float64]

ROOM: Final = 0.5
"""How much of ln T the evidence of T windows that were in order may reach under a tolerance that is enough."""


def peak(ratios: ArrayLike, weights: ArrayLike = 1.0) -> Floats:
    """Give the most evidence that a run of windows reaches, without a reset: max over t of ln Σ w·R[t].

    R[t] = (1 + R[t-1])·L[t] is Σ over s ≤ t of L[s]···L[t], which in logarithms is a running sum and a running
    `logaddexp`.

    Parameters
    ----------
    ratios : array_like, shape (t, ..., k)
        ln L by window, of each subject and alternative.
    weights : array_like, shape (k,), or float
        As for `birdwatch.stats.evidence.accumulate`.

    Returns
    -------
    array of float, shape (...)

    Raises
    ------
    ValueError
        There are no windows, or a ratio is not finite.

    Examples
    --------
    >>> peak(np.log([[3.0], [0.5], [0.25]])).round(6).tolist()
    1.098612
    """
    windows = np.asarray(ratios, dtype=np.float64)
    if windows.ndim < 2 or not len(windows) or not np.isfinite(windows).all():
        raise ValueError(f"a peak is that of windows of finite evidence, not of {ratios!r}")
    shares = np.broadcast_to(np.asarray(weights, dtype=np.float64), windows.shape[-1:])
    shares = shares / windows.shape[-1] if np.ndim(weights) == 0 else shares
    grown = np.cumsum(windows, axis=0)
    before = np.concatenate([np.zeros_like(grown[:1]), grown[:-1]])
    evidence = grown + np.logaddexp.accumulate(-before, axis=0)
    most: Floats = special.logsumexp(evidence, b=shares, axis=-1).max(axis=0)
    return most


def least_tolerance(candidates: ArrayLike, ratios_under: Callable[[float], Floats], weights: ArrayLike = 1.0) -> float:
    """Give the least of some tolerances under which a run of windows gathers less evidence than chance might.

    Parameters
    ----------
    candidates : array_like, shape (c,)
        Tolerances, rising; they are halved until one is left, since a larger one leaves less evidence. Where even the
        last is too little, it is given.
    ratios_under
        From a tolerance to ln L by window, shape (t, k), of windows that were in order.

    Examples
    --------
    Of ten windows with 30, 35 or 40 events in a hundred, a share of .3 is not the most that is in order, .45 is more
    than need be.

    >>> from birdwatch.stats.rates import bernoulli
    >>> k = np.array([30, 35, 30, 40, 40, 35, 30, 30, 40, 40])
    >>> least_tolerance([0.3, 0.35, 0.4, 0.45], lambda p0: bernoulli(k, 100, p0))
    0.35
    """
    tried = np.asarray(candidates, dtype=np.float64)

    def speaks(tolerance: float) -> float:
        ratios = ratios_under(tolerance)
        return -float(peak(ratios, weights) - ROOM * log(max(len(ratios), 2)))

    return float(tried[min(bisect_left(tried, 0.0, key=speaks), tried.size - 1)])
