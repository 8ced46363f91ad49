"""Bands around an empirical distribution function that hold at all times at once, so that one may look at any of them.

The inequality of Dvoretzky, Kiefer and Wolfowitz, made uniform over time by Howard and Ramdas (Bernoulli 28, 2022;
arXiv 1906.09712, Theorem 2): for independent draws, with probability 1 - α no t from t_min on has

    sup |F_t - F| > 0.85 · √( (ln(1 + ln(t / t_min)) + C) / t ),    C = 8.123, 9.284, 10.943 for α = .05, .01, .001

Two samples lie within the sum of their bands at α/2 (Lindon, Sanden and Shirikian, arXiv 2205.14762).
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

__all__ = ["band", "band_constant", "two_sample_band"]

Floats = NDArray[np.float64]

_A: Final = 0.85


@lru_cache(maxsize=64)
def band_constant(alpha: float) -> float:
    """Give the constant C of the band that is left with probability ``alpha``, the smallest that the theorem proves.

    Raises
    ------
    ValueError
        ``alpha`` is not between 0 and 1.

    Examples
    --------
    >>> [round(band_constant(alpha), 3) for alpha in (0.05, 0.01, 0.001)]
    [8.123, 9.284, 10.943]
    """
    if not 0 < alpha < 1:
        raise ValueError(f"a band is left with a probability between 0 and 1, not {alpha}")
    # Below, the theorem says nothing; above, each further 1.5 makes the probability at least four times smaller.
    most = 20 - 1.5 * np.log(alpha)
    return float(optimize.brentq(lambda c: np.log(_left_with_probability(c)) - np.log(alpha), 4.0, most, xtol=1e-9))


def _left_with_probability(constant: float) -> float:
    # Every η gives a bound; the least of those on a fine grid is proven as much as the infimum.
    eta = 1 + np.geomspace(1e-5, 2 * _A**2 - 1, 4_000, endpoint=False)
    root = _A - np.sqrt(2 * (eta - 1) / constant)
    gamma = np.sqrt(2 / eta) * np.maximum(root, 0.0)
    proven = gamma > 1
    eta, gamma = eta[proven], gamma[proven]
    bounds = 4 * np.exp(-(gamma**2) * constant) * (1 + 1 / ((gamma**2 - 1) * np.log(eta)))
    return float(bounds.min(initial=np.inf))


def band(t: ArrayLike, t_min: ArrayLike = 1, alpha: float = 0.05) -> Floats:
    """Give how far the empirical distribution function of t draws may lie from the true one, at all t from t_min on.

    Parameters
    ----------
    t : array_like, shape (...)
        How many draws so far.
    t_min : array_like, shape that broadcasts to (...)
        From how many on the band is looked at, chosen before. It is widest relative to √t there, so choose it small.

    Returns
    -------
    array of float, shape (...)
        In [0, 1]; 1, which says nothing, where t is less than t_min.

    Raises
    ------
    ValueError
        ``t_min`` is less than 1, or ``alpha`` not between 0 and 1.

    Examples
    --------
    >>> band([100, 10_000], t_min=100).round(4).tolist()
    [0.2423, 0.0267]
    """
    draws, first = np.asarray(t, dtype=np.float64), np.asarray(t_min, dtype=np.float64)
    if not (first >= 1).all():
        raise ValueError(f"a band begins at 1 draw or later, not at {t_min!r}")
    seen = np.maximum(draws, first)
    width = _A * np.sqrt((np.log1p(np.log(seen / first)) + band_constant(alpha)) / seen)
    return np.where(draws >= first, np.minimum(width, 1.0), 1.0)


def two_sample_band(
    n: ArrayLike, m: ArrayLike, *, n_min: ArrayLike = 1, m_min: ArrayLike = 1, alpha: float = 0.05
) -> Floats:
    """Give how far the empirical distribution functions of two samples from one distribution may lie apart, at all times.

    Parameters
    ----------
    n, m, n_min, m_min : array_like, shapes that broadcast to (...)
        As t and t_min of `band`, for each sample. Either may grow in its own time.

    Returns
    -------
    array of float, shape (...)
        In [0, 1].

    Examples
    --------
    >>> round(float(two_sample_band(10_000, 10_000, n_min=100, m_min=100)), 4)
    0.0547
    """
    together: Floats = np.minimum(band(n, n_min, alpha / 2) + band(m, m_min, alpha / 2), 1.0)
    return together
