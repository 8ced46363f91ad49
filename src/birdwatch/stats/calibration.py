"""How much must be tolerated: the least tolerance under which what is known to be in order raises no evidence.

Real streams wobble from hour to hour. The evidence of a run of windows that were in order is computed again for one
tolerance after the other: under the right one it behaves as chance does, and R, which is expected to be T after T
windows, does not go beyond that. This takes out what sampling explains, at any size of a window, without a model of
how the stream wobbles.
"""

from collections.abc import Callable
from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["least_tolerance", "peak"]

Floats = NDArray[np.float64]


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


def least_tolerance(candidates: ArrayLike, ratios_under: Callable[[Floats], Floats], weights: ArrayLike = 1.0) -> float:
    """Give the least of some tolerances under which a run of windows gathers no more evidence than chance does.

    Parameters
    ----------
    candidates : array_like, shape (c,)
        Tolerances, rising. Where even the last is too little, it is given.
    ratios_under
        From tolerances to ln L by window, shape (t, c, k), of windows that were in order.

    Examples
    --------
    Of ten windows with 30, 35 or 40 events in a hundred, a share of .3 is not the most that is in order, .45 is more
    than need be.

    >>> from birdwatch.stats.rates import bernoulli
    >>> k = np.array([30, 35, 30, 40, 40, 35, 30, 30, 40, 40])
    >>> least_tolerance([0.3, 0.35, 0.4, 0.45], lambda p0: bernoulli(k[:, None], 100, p0))
    0.35
    """
    tried = np.asarray(candidates, dtype=np.float64)
    ratios = ratios_under(tried)
    too_little = np.flatnonzero(peak(ratios, weights) > log(max(len(ratios), 2)))
    return float(tried[min(too_little[-1] + 1 if too_little.size else 0, tried.size - 1)])
