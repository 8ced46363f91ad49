"""The one grid on which every histogram is counted, fixed for all time and all machines.

A number's bin is read off its bits: the sign, the exponent and the top seven bits of the mantissa. Bins are therefore
log-linear, under 1 % wide relative to their value, and no edge ever moves with the data, so that counts from any
two machines, days or runs add up.

The scale ``probability`` mirrors the grid at ½, so that 0.999 is seen as finely as 0.001.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["GRID_VERSION", "Scale", "bins_of", "lower_edges", "midpoints", "upper_edges"]

Scale = Literal["real", "probability"]

GRID_VERSION: Final = 1
"""Changes if a number could ever fall in another bin: stores and references of another version are refused."""

_MANTISSA_BITS: Final = 7
_SHIFT: Final = 52 - _MANTISSA_BITS
_MAGNITUDE: Final = (1 << (63 - _SHIFT)) - 1

_STRETCH: Final = 32_768
"""So many numbers at a time: what is made of them on the way then stays in the processor's cache."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _real_bins(x: Floats) -> Ints:
    if x.min(initial=np.inf) > 0:
        return x.view(np.int64) >> _SHIFT
    # -0.0 and 0.0 are one number, and the sum of both is 0.0. Otherwise -x mirrors x one bin lower: bin -1 holds the
    # smallest negative numbers. In place, since on long arrays this is as fast as memory is.
    bits = (x + 0.0).view(np.int64)
    bins = bits >> _SHIFT
    bins &= _MAGNITUDE
    bits >>= 63
    bins ^= bits
    return bins


def _real_lower(bins: Ints) -> Floats:
    magnitude = np.where(bins >= 0, bins, -bins) << _SHIFT
    edges = magnitude.view(np.float64)
    return np.where(bins >= 0, edges, -edges)


_HALF: Final = int(_real_bins(np.array([0.5]))[0])


def bins_of(values: ArrayLike, scale: Scale = "real") -> Ints:
    """Give the bin of each number.

    Parameters
    ----------
    values : array of float, shape (n,)
        Without NaN: what is not a number is counted elsewhere.
    scale
        ``real``, or ``probability`` for numbers that crowd at 0 and at 1.

    Returns
    -------
    array of int64, shape (n,)
        Ordered as the numbers are: ``a <= b`` implies ``bins_of(a) <= bins_of(b)``.

    Raises
    ------
    ValueError
        A value is NaN.

    Examples
    --------
    >>> bins_of([0.0, 1.0, 1.005, -1.0]).tolist()
    [0, 130944, 130944, -130945]
    >>> bins_of([0.25, 0.5, 0.75], "probability").tolist()
    [130688, 130816, 130944]
    """
    x = np.ascontiguousarray(values, dtype=np.float64)
    if np.isnan(x.min(initial=np.inf)):
        raise ValueError(f"{int(np.isnan(x).sum())} of {x.size} values are NaN: count them apart")
    if scale == "real":
        return _real_bins(x)
    bins = np.empty(x.shape, dtype=np.int64)
    for at in range(0, x.shape[0], _STRETCH):
        part = x[at : at + _STRETCH]
        near = _real_bins(np.minimum(part, 1.0 - part))
        bins[at : at + _STRETCH] = np.where(part <= 0.5, near, 2 * _HALF - near)
    return bins


def lower_edges(bins: ArrayLike, scale: Scale = "real") -> Floats:
    """Give the lower edge of each bin, in the unit of the values.

    Examples
    --------
    >>> lower_edges(bins_of([1.0, 3.0])).tolist()
    [1.0, 3.0]
    """
    i = np.asarray(bins, dtype=np.int64)
    if scale == "real":
        return _real_lower(i)
    mirrored = i > _HALF
    plain = _real_lower(np.where(mirrored, 2 * _HALF - i + 1, i))
    return np.where(mirrored, 1.0 - plain, plain)


def upper_edges(bins: ArrayLike, scale: Scale = "real") -> Floats:
    """Give the upper edge of each bin, which is the lower edge of the next.

    Examples
    --------
    >>> upper_edges(bins_of([1.0])).tolist()
    [1.0078125]
    """
    return lower_edges(np.asarray(bins, dtype=np.int64) + 1, scale)


def midpoints(bins: ArrayLike, scale: Scale = "real") -> Floats:
    """Give the middle of each bin: where its values are taken to lie, to within half its width.

    Examples
    --------
    >>> midpoints(bins_of([1.0])).tolist()
    [1.00390625]
    """
    return (lower_edges(bins, scale) + upper_edges(bins, scale)) / 2
