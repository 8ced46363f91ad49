"""Is one block of time unlike the others? Measured in how blocks differ from one another, not in events.

Real days differ, so that a hundred thousand events of one day are no hundred thousand draws of what days are like: tests
that count events call everything changed. Here the blocks are the units: the one in question is held against the others'
mean, and their own spread says how far from it a block may lie. Where the blocks are independent draws of one normal
distribution, the externally studentised residual has Student's distribution (Cook and Weisberg 1982, 2.2.1). Along a
steady trend the last block is unlike the others, rightly.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

__all__ = ["strangeness", "tail"]

Floats = NDArray[np.float64]


def strangeness(values: ArrayLike, least: ArrayLike) -> Floats:
    """Give how many standard deviations each block lies from the mean of the others.

    Parameters
    ----------
    values : array_like, shape (..., blocks)
        NaN where a block has none.
    least : array_like, broadcast against values
        The standard deviation that is taken at the least, such as that of sampling; larger than 0.

    Returns
    -------
    array of float, shape (..., blocks)
        Signed. Each block is left out of mean and deviation (the externally studentised residual), so that all are
        treated alike and none hides itself. NaN where a block has no value, or no other has.

    Examples
    --------
    >>> strangeness([1.0, 2.0, 3.0, 9.0], 0.1).round(2).tolist()
    [-0.84, -0.49, -0.2, 6.06]
    """
    x = np.asarray(values, dtype=np.float64)
    there = np.isfinite(x)
    others = there.sum(axis=-1, keepdims=True) - there
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.where(there, x, 0.0).sum(axis=-1, keepdims=True) / there.sum(axis=-1, keepdims=True)
        y = np.where(there, x - middle, 0.0)  # about 0, so that nothing cancels
        mean = (y.sum(axis=-1, keepdims=True) - y) / others
        square = np.square(y).sum(axis=-1, keepdims=True) - np.square(y)
        variance = np.where(others > 1, (square - others * mean**2) / np.maximum(others - 1, 1), 0.0)
        spread = np.sqrt(np.maximum(variance, np.square(least)) * (1 + 1 / others))
        found: Floats = np.where(there & (others > 0), (y - mean) / spread, np.nan)
    return found


def tail(strange: ArrayLike, others: ArrayLike) -> Floats:
    """Give the chance that a block is so strange, or stranger, in that direction.

    Parameters
    ----------
    strange
        From `strangeness`.
    others
        How many others there were; at least 2.

    Examples
    --------
    >>> tail([0.0, 1.703], 28).round(3).tolist()
    [0.5, 0.05]
    """
    found: Floats = special.stdtr(np.asarray(others, dtype=np.float64) - 1, -np.asarray(strange, dtype=np.float64))
    return found
