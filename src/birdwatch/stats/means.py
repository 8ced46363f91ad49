"""Evidence that a mean difference has left the range in which it is in order, from n, Σd and Σd² alone.

Two forms, for two nulls; each is tested at every moment, and on both sides:

=================  =======================================================================================
`bounded_mean`     d lies in [-1, 1], and E(d | past) within ``centre`` ± ``margin``. Nothing else is assumed.
`symmetric_mean`   d is unbounded, and distributed symmetrically, given the past, around a point within
                   ``centre`` ± ``margin``. Heavy tails are welcome; a skewed difference breaks the bound.
=================  =======================================================================================
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BETS", "LAMBDAS", "bounded_mean", "symmetric_mean"]

Floats = NDArray[np.float64]

LAMBDAS: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
"""How strongly the evidence on a bounded mean bets: strongly suits a small spread."""

BETS: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""The same for unbounded differences, by unit: a shift μ against a spread σ wants about μ/(σ² + μ²)."""


def bounded_mean(
    n: ArrayLike,
    total: ArrayLike,
    squares: ArrayLike,
    *,
    centre: ArrayLike = 0.0,
    margin: ArrayLike = 0.0,
    lambdas: ArrayLike = LAMBDAS,
) -> Floats:
    """Give the log likelihood ratios of n differences in [-1, 1] against a mean within ``centre`` ± ``margin``.

    With g = ((d - centre) - margin) / (1 + |centre| + margin) ≥ -1 and ψ(λ) = -ln(1-λ) - λ, exp(λ·Σg - ψ(λ)·Σg²) is
    expected to be at most 1 (Fan, Grama and Liu 2015; arXiv 2010.09686); likewise for the other sign.

    Parameters
    ----------
    n, total, squares : array_like, shapes that broadcast to (...)
        How many differences, Σd and Σd².
    centre, margin : array_like, shapes that broadcast to (...)
        The mean that is in order, and how far it may stray. Both were known before the differences.
    lambdas : array_like, shape (a,)
        Each inside (0, 1).

    Returns
    -------
    array of float, shape (..., 2 · a)
        First for a mean too high, then for one too low.

    Raises
    ------
    ValueError
        The sums are not those of n numbers in [-1, 1], the margin is negative, or a λ lies outside.

    Examples
    --------
    >>> bounded_mean(100, 50.0, 25.0, lambdas=[0.5]).round(3).tolist()
    [20.171, -29.829]
    """
    of, first, second, at, stray = _arrays(n, total, squares, centre, margin)
    by = np.asarray(lambdas, dtype=np.float64)
    if not ((by > 0) & (by < 1)).all():
        raise ValueError(f"λ lies between 0 and 1, unlike {lambdas!r}")
    # Fixed point rounds each square up, by a millionth of its unit.
    if not ((np.abs(first) <= of * (1 + 1e-5)) & (second <= of * (1 + 1e-5))).all():
        raise ValueError(f"not sums of differences in -1 to 1: n={n!r}, Σd={total!r}, Σd²={squares!r}")
    bound = 1 + np.abs(at) + stray
    price = -np.log1p(-by) - by
    return _both_sides(
        by * sum_ / bound - price * sum_of_squares / bound**2
        for sum_, sum_of_squares in _beyond(of, first, second, at, stray)
    )


def symmetric_mean(
    n: ArrayLike,
    total: ArrayLike,
    squares: ArrayLike,
    *,
    centre: ArrayLike = 0.0,
    margin: ArrayLike = 0.0,
    unit: ArrayLike = 1.0,
    bets: ArrayLike = BETS,
) -> Floats:
    """Give the log likelihood ratios of n differences against symmetry around a point within ``centre`` ± ``margin``.

    exp(λ·Σg - λ²·Σg²/2) with g = (d - centre) - margin is expected to be at most 1: for symmetry around 0 since
    cosh x ≤ exp(x²/2) (de la Peña 1999), and less for a point below. Likewise for the other sign.

    Parameters
    ----------
    n, total, squares : array_like, shapes that broadcast to (...)
        How many differences, Σd and Σd².
    centre, margin : array_like, shapes that broadcast to (...)
        The point of symmetry that is in order, and how far it may stray. Both were known before the differences.
    unit : array_like, shape that broadcasts to (...)
        About how large a difference is: λ is a bet by unit. It was known before the differences, too.
    bets : array_like, shape (a,)
        Each larger than 0.

    Returns
    -------
    array of float, shape (..., 2 · a)
        First for a mean too high, then for one too low.

    Raises
    ------
    ValueError
        There are no such sums, the margin is negative, or a unit or a bet is not larger than 0.

    Examples
    --------
    >>> symmetric_mean(100, 50.0, 200.0, bets=[0.25]).round(3).tolist()
    [6.25, -18.75]
    """
    of, first, second, at, stray = _arrays(n, total, squares, centre, margin)
    by, each = np.asarray(bets, dtype=np.float64), np.asarray(unit, dtype=np.float64)[..., None]
    if not ((by > 0).all() and (each > 0).all()):
        raise ValueError(f"bets and their unit are larger than 0, unlike {bets!r} by {unit!r}")
    by = by / each
    return _both_sides(
        by * sum_ - by**2 / 2 * sum_of_squares for sum_, sum_of_squares in _beyond(of, first, second, at, stray)
    )


def _arrays(n: ArrayLike, total: ArrayLike, squares: ArrayLike, centre: ArrayLike, margin: ArrayLike) -> list[Floats]:
    found = [np.asarray(x, dtype=np.float64)[..., None] for x in (n, total, squares, centre, margin)]
    of, first, second, at, stray = found
    # Σd² of n numbers is at least (Σd)²/n; the slack is that of fixed point, where Σd may be a millionth off by number.
    if not ((of >= 0) & (second >= -1e-9) & (first**2 <= of * second * (1 + 1e-5) + 1e-5 * (1 + of**2))).all():
        raise ValueError(f"not sums of differences: n={n!r}, Σd={total!r}, Σd²={squares!r}")
    if not ((stray >= 0) & np.isfinite(at)).all():
        raise ValueError(f"a mean strays by 0 or more from a number, not by {margin!r} from {centre!r}")
    return found


def _beyond(of: Floats, first: Floats, second: Floats, at: Floats, stray: Floats) -> Iterable[tuple[Floats, Floats]]:
    """Give Σg and Σg² on either side."""
    for sign in (1.0, -1.0):
        shift = sign * at + stray
        yield sign * first - of * shift, np.maximum(second - 2 * sign * shift * first + of * shift**2, 0.0)


def _both_sides(sides: Iterable[Floats]) -> Floats:
    high, low = np.broadcast_arrays(*sides)
    return np.concatenate([high, low], axis=-1)
