"""Evidence that a rate has grown: missed deadlines, errors, large differences, anything that is k of n."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MULTIPLES", "bernoulli"]

Floats = NDArray[np.float64]

MULTIPLES: Final = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""By how much a rate may have grown: one alternative each."""


def bernoulli(k: ArrayLike, n: ArrayLike, p0: ArrayLike, multiples: ArrayLike = MULTIPLES) -> Floats:
    """Give the log likelihood ratios of k events in n against a rate of at most p0.

    ln L = k·ln(q/p0) + (n-k)·ln((1-q)/(1-p0)) with q = p0 times a multiple; where that nears 1, the complement is
    divided by the multiple instead. Expected to be at most 1 while each event's probability, given the past, is at
    most p0.

    Parameters
    ----------
    k, n, p0 : array_like, shapes that broadcast to (...)
        How many, of how many, and the largest rate that is in order.
    multiples : array_like, shape (a,)
        Each larger than 1.

    Returns
    -------
    array of float, shape (..., a)

    Raises
    ------
    ValueError
        Not 0 ≤ k ≤ n, p0 is not inside (0, 1), or a multiple is not larger than 1.

    Examples
    --------
    >>> bernoulli(2, 2, 0.25, [2.0]).round(6).tolist()
    [1.386294]
    """
    by = np.asarray(multiples, dtype=np.float64)
    events, of, most = (np.asarray(x, dtype=np.float64)[..., None] for x in (k, n, p0))
    if not ((events >= 0) & (events <= of)).all():
        raise ValueError(f"{k!r} of {n!r} is no rate")
    if not ((most > 0) & (most < 1)).all():
        raise ValueError(f"a rate to test against lies between 0 and 1, not at {p0!r}")
    if not (by > 1).all():
        raise ValueError(f"an alternative is a larger rate: multiples lie above 1, unlike {multiples!r}")
    divided = (1 - most) / by
    multiplied = most * by
    plain = multiplied <= 1 - divided
    # In each branch one of the two logarithms is known exactly, however near to 0 or 1 the rate lies.
    up = np.where(plain, np.log(by), np.log1p(-divided) - np.log(most))
    down = np.where(plain, np.log1p(-np.where(plain, multiplied, 0.0)) - np.log1p(-most), -np.log(by))
    ratios: Floats = events * up + (of - events) * down
    return ratios
