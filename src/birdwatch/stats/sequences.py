"""A band around a running mean that holds at all times at once, from sums alone: one may look whenever one likes.

An interval of 95 % at one time, looked at after every pane, is left sooner or later by any mean. These bands are left by a
share ``alpha`` of all sequences, ever:

==================  ==============================================================================================
`bounded_mean_band`    d lies in [-1, 1]. Nothing else is assumed, and nothing is asymptotic.
`unbounded_mean_band`  d has a finite variance (a little more than that). It holds in the limit of many d, which is why
                       it begins only at `FEW`.
==================  ==============================================================================================

Both are about the average of the means that the differences had, each given those before it: where these stay the same,
that is their mean, and where they move, the band goes along. Neither asks that differences be independent, or of one
distribution.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdwatch.stats import special

__all__ = ["FEW", "bounded_mean_band", "gamma_exponential_bound", "unbounded_mean_band"]

Floats = NDArray[np.float64]

FEW: Final = 100
"""The limit of many is not asked about fewer."""

_WIDTH: Final = 2.0
"""From -1 to 1."""

_BEST_AT: Final = 10.0
"""The Σd² about the mean at which the bounded band is narrowest: of 4,000 differences that spread by .05. Anything near is as good."""

_BEST_N: Final = 5_000.0
"""The same for the unbounded one, by number."""


def gamma_exponential_bound(v: ArrayLike, alpha: float, *, best_at: float, scale: float) -> Floats:
    """Give the boundary that a sub-exponential process crosses, at any time, with probability ``alpha`` at the most.

    The mixture over λ of exp(λ·S - ψ(λ)·V), ψ(λ) = (-ln(1 - cλ) - cλ)/c², in closed form (Howard, Ramdas, McAuliffe and
    Sekhon, Annals of Statistics 49, 2021, Proposition 9; arXiv 1810.08240).

    Parameters
    ----------
    v : array_like, shape (...)
        Intrinsic time V: the variance gathered so far.
    best_at
        The V at which the boundary is lowest, chosen before the data.
    scale
        c: how far a step may reach.

    Returns
    -------
    array of float, shape (...)
        The S at which the mixture reaches 1/alpha.

    Raises
    ------
    ValueError
        ``alpha`` is not between 0 and 1, ``best_at`` or ``scale`` not above 0, or a V is negative.

    Examples
    --------
    >>> gamma_exponential_bound([0.0, 10.0, 1000.0], 0.05, best_at=10.0, scale=1.0).round(3).tolist()
    [4.675, 11.549, 111.415]
    """
    gathered = np.asarray(v, dtype=np.float64)
    if not (0 < alpha < 1 and best_at > 0 and scale > 0 and (gathered >= 0).all()):
        raise ValueError(f"no boundary of v={v!r}, alpha={alpha}, best at {best_at}, scale {scale}")
    rho = _mixed(best_at, 2 * alpha) / scale**2
    shape = gathered / scale**2 + rho
    start = rho * np.log(rho) - special.gammaln(rho) - np.log(special.gammainc(rho, rho))

    def log_mixture(s: Floats) -> Floats:
        reach = shape + s / scale
        with np.errstate(divide="ignore"):
            inner = np.log(special.gammainc(shape, reach))
        found: Floats = start + special.gammaln(shape) + inner - shape * np.log(reach) + (reach - rho)
        return found

    # It rises with S: halve the stretch in which it reaches the level.
    low, high = np.zeros_like(shape), np.full_like(shape, scale)
    while (short := log_mixture(high) < -np.log(alpha)).any():
        high = np.where(short, 2 * high, high)
    for _ in range(40):
        middle = (low + high) / 2
        below = log_mixture(middle) < -np.log(alpha)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return high


def bounded_mean_band(
    n: ArrayLike, total: ArrayLike, squares: ArrayLike, *, alpha: float = 0.05
) -> tuple[Floats, Floats, Floats]:
    """Give the running mean of differences in [-1, 1], and the band around it that holds at all times at once.

    The empirical-Bernstein confidence sequence (Howard et al. 2021, Theorem 4): with any guess m made before each
    difference, |mean - average of the conditional means| < u(Σ(d - m)²)/n for all n, where u is the boundary above at
    alpha/2 with c = 2. The guess for a whole step is the mean of the steps before it, which sums by step suffice for.

    Parameters
    ----------
    n, total, squares : array_like, shape (t,)
        Of each step, in order of time: how many differences, Σd and Σd². Steps without any may be there.
    alpha
        The share of sequences that ever leave the band.

    Returns
    -------
    mean, low, high : array of float, shape (t,)
        NaN for the mean, and -1 to 1, before the first difference.

    Raises
    ------
    ValueError
        The sums are not those of n numbers in [-1, 1], or ``alpha`` is not between 0 and 1.

    Examples
    --------
    >>> mean, low, high = bounded_mean_band([1000, 1000], [20.0, 22.0], [3.0, 3.2])
    >>> mean.round(3).tolist(), low.round(3).tolist(), high.round(3).tolist()
    ([0.02, 0.021], [0.008, 0.014], [0.032, 0.028])
    """
    each, first, second = _sums(n, total, squares)
    # Fixed point rounds each square up, by a millionth of its unit.
    if not (second <= each * (1 + 1e-5)).all():
        raise ValueError(f"not sums of differences in -1 to 1: n={n!r}, Σd={total!r}, Σd²={squares!r}")
    so_far, mean = _running(each, first)
    guess = np.nan_to_num(np.concatenate([[0.0], mean[:-1]]))
    spread = np.cumsum(np.maximum(second - 2 * guess * first + each * guess**2, 0.0))
    with np.errstate(divide="ignore"):
        half = gamma_exponential_bound(spread, alpha / 2, best_at=_BEST_AT, scale=_WIDTH) / so_far
    centre = np.nan_to_num(mean)
    return mean, np.maximum(centre - half, -1.0), np.minimum(centre + half, 1.0)


def unbounded_mean_band(
    n: ArrayLike, total: ArrayLike, squares: ArrayLike, *, alpha: float = 0.05
) -> tuple[Floats, Floats, Floats]:
    """Give the running mean of differences, and the band around it that holds from `FEW` on at all times at once.

    The Gaussian-mixture asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Annals of
    Statistics 52, 2024, Theorem 2.2, and 2.5 for means that move; arXiv 2103.06476): mean ± σ·√(2(nρ² + 1)/(n²ρ²) ·
    ln(√(nρ² + 1)/alpha)), with the standard deviation so far for σ.

    Parameters
    ----------
    n, total, squares : array_like, shape (t,)
        As of `bounded_mean_band`, of differences with a finite moment of more than second order.

    Returns
    -------
    mean, low, high : array of float, shape (t,)
        The band is NaN where fewer than `FEW` differences are known.

    Raises
    ------
    ValueError
        There are no such sums, or ``alpha`` is not between 0 and 1.

    Examples
    --------
    >>> mean, low, high = unbounded_mean_band([50, 5000], [100.0, 5000.0], [400.0, 25000.0])
    >>> mean.round(3).tolist(), low.round(3).tolist(), high.round(3).tolist()
    ([2.0, 1.01], [nan, 0.924], [nan, 1.095])
    """
    if not 0 < alpha < 1:
        raise ValueError(f"a band is left with a probability between 0 and 1, not {alpha}")
    each, first, second = _sums(n, total, squares)
    so_far, mean = _running(each, first)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.sqrt(np.maximum(np.cumsum(second) / so_far - mean**2, 0.0))
        rho = _mixed(_BEST_N, alpha)
        half = deviation * np.sqrt((so_far + rho) * np.log((so_far + rho) / (rho * alpha**2))) / so_far
    half = np.where(so_far >= FEW, half, np.nan)
    return mean, mean - half, mean + half


def _mixed(best_at: float, alpha: float) -> float:
    """Give the spread of the mixture at which a boundary crossed on two sides at ``alpha`` is lowest at ``best_at``."""
    return float(best_at / (2 * np.log(1 / alpha) + np.log1p(2 * np.log(1 / alpha))))


def _sums(n: ArrayLike, total: ArrayLike, squares: ArrayLike) -> tuple[Floats, Floats, Floats]:
    each, first, second = (np.nan_to_num(np.asarray(x, dtype=np.float64)) for x in (n, total, squares))
    # As for evidence on means: Σd² of n numbers is at least (Σd)²/n, but for fixed point.
    if not ((each >= 0) & (second >= -1e-9) & (first**2 <= each * second * (1 + 1e-5) + 1e-5 * (1 + each**2))).all():
        raise ValueError(f"not sums of differences: n={n!r}, Σd={total!r}, Σd²={squares!r}")
    return each, first, second


def _running(each: Floats, first: Floats) -> tuple[Floats, Floats]:
    so_far = np.cumsum(each)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean: Floats = np.cumsum(first) / so_far
    return so_far, mean
