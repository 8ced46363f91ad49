"""Counts by band against those of a reference: Dunning's way to see that the tail has grown.

The reference is cut where few of its values lie, at its quantiles .95, .99 and .999, and the log-likelihood ratio G²
(Dunning 1993) says whether a window has other shares in the bands between. It is right for small counts, where the
chi-square test is not.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdwatch.stats import special
from birdwatch.stats.distances import bucket_counts
from birdwatch.stats.quantiles import Histogram

__all__ = ["BANDS", "band_contrast", "g_squared"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BANDS: Final = (0.95, 0.99, 0.999)
"""The quantiles of the reference at which it is cut."""


def g_squared(counts: ArrayLike) -> Floats:
    """Give the log-likelihood ratio statistic of independence in tables of counts.

    G² = 2·Σ O·ln(O/E), with E from the margins; about chi-square with (r-1)·(c-1) degrees of freedom where rows and
    columns are independent. Empty rows and columns say nothing, and an empty table gives 0.

    Parameters
    ----------
    counts : array_like, shape (..., r, c)
        A row for each sample, a column for each band.

    Returns
    -------
    array of float, shape (...)

    Raises
    ------
    ValueError
        A count is negative or not finite.

    Examples
    --------
    >>> g_squared([[10, 90], [20, 80]]).round(5).tolist()
    3.98656
    """
    table = np.asarray(counts, dtype=np.float64)
    if not ((table >= 0) & np.isfinite(table)).all():
        raise ValueError(f"counts are numbers of 0 or more, unlike {counts!r}")
    whole = special.xlogy(table, table).sum(axis=(-2, -1))
    rows, columns, total = table.sum(axis=-1), table.sum(axis=-2), table.sum(axis=(-2, -1))
    margins = special.xlogy(rows, rows).sum(axis=-1) + special.xlogy(columns, columns).sum(axis=-1)
    ratio: Floats = np.maximum(2 * (whole - margins + special.xlogy(total, total)), 0.0)
    return ratio


def band_contrast(window: Histogram, reference: Histogram, cuts: Ints) -> tuple[float, Ints]:
    """Compare a window with a reference by band.

    Parameters
    ----------
    window, reference
    cuts
        Where the bands meet: `birdwatch.stats.discordance.cuts_of` the reference at `BANDS`.

    Returns
    -------
    g_squared : float
        Of the two rows of counts.
    counts : array of int64, shape (2, len(cuts) + 1)
        The window's, and the reference's.

    Examples
    --------
    >>> bands = np.array([1, 2])
    >>> band_contrast((bands, np.array([10, 90])), (bands, np.array([20, 80])), np.array([1]))[0].__round__(5)
    3.98656
    """
    counts = np.stack([bucket_counts(window, cuts), bucket_counts(reference, cuts)])
    return float(g_squared(counts)), counts
