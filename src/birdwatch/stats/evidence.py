"""Evidence that grows with the data and may be looked at after every window: the one primitive behind every page.

A likelihood ratio L of a window, expected to be at most 1 while nothing has changed, is accumulated in the form of
Shiryaev and Roberts (Shin, Ramdas and Rinaldo, arXiv 2203.03532)::

    R = (1 + R) · L        alarm when R ≥ A, then start again at 0

Up to time T at most T/A false alarms are expected, and they add over models and rules however these depend on each
other; so the level A *is* the page budget. Several alternatives are mixed by weights that sum to 1. All is in
logarithms; what is kept between windows is ln(1 + R), finite at every moment.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["LAMBDAS", "MULTIPLES", "accumulate", "bernoulli", "bounded_mean"]

Floats = NDArray[np.float64]

MULTIPLES: Final = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""By how much a rate may have grown: one alternative each."""

LAMBDAS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
"""How strongly the evidence on a mean bets: strongly suits a small spread."""


def bernoulli(k: int, n: int, p0: float, multiples: ArrayLike = MULTIPLES) -> Floats:
    """Give the log likelihood ratios of k events in n against a rate of at most p0.

    ln L = k·ln(q/p0) + (n-k)·ln((1-q)/(1-p0)) with q = p0 times a multiple; where that nears 1, the complement is
    divided by the multiple instead. Expected to be at most 1 for every rate up to p0.

    Returns
    -------
    array of float, shape (len(multiples),)

    Raises
    ------
    ValueError
        Not 0 ≤ k ≤ n, or p0 is not inside (0, 1).

    Examples
    --------
    >>> bernoulli(2, 2, 0.25, [2.0]).round(6).tolist()
    [1.386294]
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no rate")
    if not 0 < p0 < 1:
        raise ValueError(f"a rate to test against lies between 0 and 1, not at {p0}")
    by = np.asarray(multiples, dtype=np.float64)
    q = np.minimum(p0 * by, 1 - (1 - p0) / by)
    ratios: Floats = k * np.log(q / p0) + (n - k) * np.log((1 - q) / (1 - p0))
    return ratios


def bounded_mean(
    n: int, total: float, squares: float, *, centre: float = 0.0, margin: float = 0.0, lambdas: ArrayLike = LAMBDAS
) -> Floats:
    """Give the log likelihood ratios of n differences in [-1, 1] against a mean within ``centre`` ± ``margin``.

    With g = ((d - centre) - margin) / (1 + |centre| + margin) ≥ -1 and ψ(λ) = -ln(1-λ) - λ, exp(λ·Σg - ψ(λ)·Σg²) is
    expected to be at most 1 (Fan, Grama and Liu 2015; arXiv 2010.09686); likewise for the other sign.

    Parameters
    ----------
    n, total, squares
        How many differences, Σd and Σd².

    Returns
    -------
    array of float, shape (2 · len(lambdas),)
        First for a mean too high, then for one too low.

    Raises
    ------
    ValueError
        The sums are not those of n numbers in [-1, 1], or the margin is negative.
    """
    if n < 0 or margin < 0 or abs(total) > n * (1 + 1e-5) or not -1e-9 <= squares <= n * (1 + 1e-5):
        raise ValueError(f"not sums of differences in -1 to 1: n={n}, Σd={total}, Σd²={squares} (margin {margin})")
    bound = 1 + abs(centre) + margin
    by = np.asarray(lambdas, dtype=np.float64)
    price = -np.log1p(-by) - by
    sides = []
    for sign in (1.0, -1.0):
        shift = sign * centre + margin
        first = (sign * total - n * shift) / bound
        second = (squares - 2 * sign * shift * total + n * shift**2) / bound**2
        sides.append(by * first - price * max(0.0, second))
    return np.concatenate(sides)


def accumulate(kept: ArrayLike, ratios: Floats, weight: float = 1.0) -> tuple[float, Floats]:
    """Add one window's evidence.

    Parameters
    ----------
    kept : array of float, shape (k,)
        ln(1 + R) of each alternative so far; zeros at the start and after an alarm.
    ratios : array of float, shape (k,)
        ln L of each alternative over this window.
    weight
        The share of the budget that these alternatives hold together; they share it equally.

    Returns
    -------
    evidence : float
        ln of the weighted sum of R: alarm where it reaches ln A.
    kept : array of float, shape (k,)

    Raises
    ------
    ValueError
        Something is not finite: evidence that is NaN never alarms, and a silenced detector must not look calm.

    Examples
    --------
    >>> round(accumulate([0.0], np.log([3.0]))[0], 6)
    1.098612
    """
    grown = np.asarray(kept, dtype=np.float64) + ratios
    if not np.isfinite(grown).all():
        raise ValueError(f"evidence is not finite: {grown.tolist()}")
    evidence = float(np.logaddexp.reduce(grown) + np.log(weight / grown.size))
    return evidence, np.logaddexp(0.0, grown)
