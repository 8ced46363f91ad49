"""Evidence that two models place requests differently: the whole distribution, compared request by request.

At a cut q, a request is discordant where one model scores it above q and the partner does not. With b of n requests
above for the model alone and c above for the partner alone, (b - c)/n is the difference of the two distribution
functions at q, F_partner - F_model; what both have in common, the day's mix of requests, cancels. A wider spread or a
fatter tail is seen here and never by the mean.

What is in order is a Kolmogorov distance between the models: at every cut, the expected difference lies within
``centre`` ± ``margin``, given the past. Nothing else is assumed.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["CUT_LEVELS", "LAMBDAS", "cuts_of", "discordances", "mcnemar"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CUT_LEVELS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""The quantiles of the reference at which requests are compared."""

LAMBDAS: Final = (0.05, 0.2, 0.5, 0.8, 0.95)
"""How strongly the evidence bets on one side: strongly where nearly all that is discordant is so on that side."""


def cuts_of(bins: ArrayLike, counts: ArrayLike, levels: ArrayLike = CUT_LEVELS) -> Ints:
    """Give the bins at which a histogram reaches the levels: values up to and including that bin lie below the cut.

    Parameters
    ----------
    bins : array_like of int, shape (k,)
        Rising strictly, on the (coarse) grid of the joint histogram.
    counts : array_like of int, shape (k,)
        At least one event.
    levels : array_like, shape (l,)
        Each in (0, 1).

    Returns
    -------
    array of int64, shape (at most l,)
        Rising strictly: a common value is one cut, not several. None lies at the last bin, above which there is
        nothing; so a histogram of a single bin has no cuts.

    Raises
    ------
    ValueError
        There are no events, or a level lies outside (0, 1).

    Examples
    --------
    >>> cuts_of([3, 5, 8], [10, 10, 80], [0.05, 0.1, 0.15, 0.5]).tolist()
    [3, 5]
    """
    at, cumulated = np.asarray(bins, dtype=np.int64), np.cumsum(np.asarray(counts, dtype=np.int64))
    wanted = np.asarray(levels, dtype=np.float64)
    if not at.size or cumulated[-1] == 0:
        raise ValueError("a histogram without events has no cuts")
    if not ((wanted > 0) & (wanted < 1)).all():
        raise ValueError(f"levels of cuts lie between 0 and 1, unlike {levels!r}")
    # The small subtrahend keeps 0.15 * 20 = 3.0000000000000004 at the third event.
    ranks = np.ceil(wanted * cumulated[-1] - 1e-9 * cumulated[-1])
    found: Ints = np.unique(at[np.searchsorted(cumulated, ranks)])
    inner: Ints = found[found < at[-1]]
    return inner


def discordances(
    model_bins: ArrayLike, partner_bins: ArrayLike, counts: ArrayLike, cuts: ArrayLike
) -> tuple[Ints, Ints, int]:
    """Count discordant requests at cuts, exactly, from the cells of a joint histogram.

    Parameters
    ----------
    model_bins, partner_bins, counts : array_like of int, shape (cells,)
        How many requests the model scored in one bin and the partner in another, in any order of cells.
    cuts : array_like of int, shape (q,)
        Rising strictly; a bin up to and including the cut lies below it.

    Returns
    -------
    above : array of int64, shape (q,)
        Requests that the model scored above the cut and the partner did not.
    below : array of int64, shape (q,)
        The reverse.
    n : int
        Requests in all.

    Examples
    --------
    >>> discordances([1, 3], [3, 1], [5, 7], [1, 2, 3])
    (array([7, 7, 0]), array([5, 5, 0]), 12)
    """
    at, number = np.asarray(cuts, dtype=np.int64), np.asarray(counts, dtype=np.int64)
    ours, theirs = (np.searchsorted(at, np.asarray(bins, dtype=np.int64)) for bins in (model_bins, partner_bins))
    return _crossings(theirs, ours, number, at.size), _crossings(ours, theirs, number, at.size), int(number.sum())


def _crossings(low: NDArray[np.intp], high: NDArray[np.intp], counts: Ints, cuts: int) -> Ints:
    """Count by cut the cells that go from below to above it, given how many cuts lie below each end."""
    across = high > low
    steps = np.zeros(cuts + 1, dtype=np.int64)
    np.add.at(steps, low[across], counts[across])
    np.subtract.at(steps, high[across], counts[across])
    found: Ints = np.cumsum(steps)[:cuts]
    return found


def mcnemar(
    above: ArrayLike,
    below: ArrayLike,
    n: ArrayLike,
    *,
    centre: ArrayLike = 0.0,
    margin: ArrayLike = 0.0,
    lambdas: ArrayLike = LAMBDAS,
) -> Floats:
    """Give the log likelihood ratios of discordant counts against a difference within ``centre`` ± ``margin``.

    A request counts as x = 1 (above for the model alone), -1 (for the partner alone) or 0. While E(x | past) is at
    most s = centre + margin, 1 + λ(x - s) is expected to be at most 1 for every λ up to 1/(1 + s), so that
    ln L = b·ln(1 + λ(1-s)) + c·ln(1 - λ(1+s)) + (n-b-c)·ln(1 - λs); likewise for the other sign. McNemar's test asks
    the same of one look at the data; this may be asked at every one.

    Parameters
    ----------
    above, below : array_like, shapes that broadcast to (..., q)
        From `discordances`.
    n : array_like, shape that broadcasts to (...)
    centre, margin : array_like, shapes that broadcast to (..., q)
        The difference that is in order at each cut, and how far it may stray. Known before the requests were.
    lambdas : array_like, shape (a,)
        Each inside (0, 1), as a part of the largest bet there is.

    Returns
    -------
    array of float, shape (..., 2 · q · a)
        First for a model that scores higher than its partner, then for one that scores lower; by cut; by λ. Without
        cuts there are no alternatives.

    Raises
    ------
    ValueError
        These are no counts, the centre is not inside (-1, 1), the margin is negative, or a λ lies outside.

    Examples
    --------
    >>> mcnemar([30], [10], 100, lambdas=[0.5]).round(3).tolist()
    [5.232, -16.74]
    """
    b, c, at, stray = (np.asarray(x, dtype=np.float64)[..., None] for x in (above, below, centre, margin))
    of = np.asarray(n, dtype=np.float64)[..., None, None]
    share = np.asarray(lambdas, dtype=np.float64)
    rest = of - b - c
    if not ((b >= 0) & (c >= 0) & (rest >= 0)).all():
        raise ValueError(f"{above!r} and {below!r} are not counts of {n!r} requests")
    if not ((np.abs(at) < 1) & (stray >= 0)).all():
        raise ValueError(
            f"a difference of shares strays by 0 or more from one in -1 to 1, not {margin!r} from {centre!r}"
        )
    if not ((share > 0) & (share < 1)).all():
        raise ValueError(f"λ lies between 0 and 1, unlike {lambdas!r}")
    sides = []
    for sign, up, down in ((1.0, b, c), (-1.0, c, b)):
        most = sign * at + stray
        bet = share / (1 + most)
        ratios = up * np.log1p(bet * (1 - most)) + down * np.log1p(-share) + rest * np.log1p(-bet * most)
        sides.append(ratios.reshape(*ratios.shape[:-2], -1))
    return np.concatenate(sides, axis=-1)
