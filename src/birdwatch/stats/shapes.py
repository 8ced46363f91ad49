"""Shapes that a distribution may change into, each a bet against the frozen reference: for no tolerance at all.

Events are counted by *rank bins*, cut at quantiles of the reference, so that only ranks matter: scores need no scale,
and atoms or a handful of values are bins like any other. An alternative is a density ratio r on these bins with
Σ p0·r = 1 (`birdwatch.stats.alternatives`). Over a window of n events, c of them in a bin ::

    ln L = Σ c·ln r − n·ln(1 + min(ε·TV(r), 4.2·sd(r) / √m)),        ε = √(ln(2000) / 2m)

The last term pays for the reference being a sample of m: without it, ten thousand events a window would find that
sample's own accidents. In all but one reference of a thousand, ε bounds the distance of the sample from its source at
every cut (Dvoretzky, Kiefer and Wolfowitz, with Massart's constant), and 4.2 standard deviations bound what any of the
fixed alternatives gains by it. One alternative adapts: it bets that what was seen lately goes on. It may find just
that direction in which the sample is at fault, so in place of 4.2 it pays √(χ² of b−1 degrees of freedom at .999), which
by Cauchy and Schwarz bounds all directions at once. For what lies beyond either end of the reference, see `UNSEEN`.

With a tolerance, the same idea goes blind: see `birdwatch.stats.steps`.
"""

from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdwatch.stats import special
from birdwatch.stats.alternatives import density_ratios
from birdwatch.stats.distances import bucket_counts
from birdwatch.stats.quantiles import Histogram, size

__all__ = ["LEVELS", "Shapes", "dkw", "rank_cuts", "remember"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS: Final = (
    *(0.001, 0.005, 0.01, 0.025, 0.05),
    *(0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90),
    *(0.95, 0.975, 0.99, 0.995, 0.999),
)
"""The quantiles of the reference between which events are counted: finer in the tails."""

FEWEST: Final = 20
"""How many events of the reference make a rank bin: fewer are more often too few by 4.2 standard deviations."""

UNSEEN: Final = float(np.log(1000))
"""How many events the reference is taken to have beyond either end: m events that show none exclude more of them, once
in a thousand."""

HALF_LIFE: Final = 5.0
"""In windows: how fast what was seen lately is forgotten."""

PSEUDO_COUNTS: Final = 200.0
"""How many events of the reference stand against what was seen lately."""

_DEVIATIONS: Final = 4.2


def rank_cuts(reference: Histogram) -> Ints:
    """Cut the reference at its quantiles, snapped to the grid, and at either end.

    Returns
    -------
    array of int64, shape (at most len(LEVELS) + 2,)
        The last bin of the grid in each rank bin but the last. The first rank bin lies below, and the last one above,
        whatever the reference has. Where a value is so common that it is several quantiles at once, these are one cut,
        and between two cuts there are at least `FEWEST` events.

    Raises
    ------
    ValueError
        The reference has no events.

    Examples
    --------
    >>> rank_cuts((np.array([3, 5, 8]), np.array([600, 300, 100]))).tolist()
    [2, 3, 5, 8]
    """
    bins, counts = reference
    m = size(reference)
    if m == 0:
        raise ValueError("a reference without events has no ranks: freeze it from a stretch that has some")
    upto = np.cumsum(counts)
    # The small subtrahend keeps 0.9 * 10 = 9.000000000000002 at the ninth event.
    ranks = np.ceil(np.asarray(LEVELS) * m - 1e-9 * m)
    inner, before = [], 0
    for place in np.unique(np.searchsorted(upto, ranks)):
        if upto[place] - before >= FEWEST and m - upto[place] >= FEWEST:
            inner.append(bins[place])
            before = upto[place]
    seen = np.flatnonzero(counts)
    return np.array([bins[seen[0]] - 1, *inner, bins[seen[-1]]], dtype=np.int64)


def dkw(m: float) -> float:
    """Give the distance that the distribution of m events exceeds from its source once in a thousand.

    Examples
    --------
    >>> round(dkw(50_000), 5)
    0.00872
    """
    return float(np.sqrt(np.log(2000) / (2 * m)))


def remember(recent: ArrayLike, counts: ArrayLike) -> Floats:
    """Add a window's counts to what was seen lately, of which half is forgotten every five windows.

    Examples
    --------
    >>> remember([0.0, 0.0], [3, 1]).tolist()
    [3.0, 1.0]
    """
    kept: Floats = np.asarray(recent, dtype=np.float64) * 0.5 ** (1 / HALF_LIFE) + np.asarray(counts)
    return kept


class Shapes(NamedTuple):
    """What is bet against one reference.

    Arrays may have axes for models in front, where several references have as many bins and alternatives each.
    """

    cuts: Ints
    """The last bin of the grid in each rank bin but the last, shape (b - 1,)."""

    masses: Floats
    """Of the reference in each rank bin, shape (b,)."""

    events: int
    """Of the reference."""

    logs: Floats
    """ln r, shape (k - 1, b)."""

    prices: Floats
    """What an event pays because the reference is a sample, shape (k - 1,)."""

    weights: Floats
    """Of each alternative, shape (k,). The last one adapts."""

    names: tuple[str, ...]
    """What each alternative says, for people."""

    @classmethod
    def of(cls, reference: Histogram) -> Self:
        """Lay alternatives around a reference.

        Raises
        ------
        ValueError
            The reference has no events.

        Examples
        --------
        >>> shapes = Shapes.of((np.array([3, 8]), np.array([50_000, 50_000])))
        >>> shapes.masses.round(4).tolist()
        [0.0001, 0.4999, 0.4999, 0.0001]
        >>> shapes.names[0], shapes.names[-1]
        ('location -1 sd', 'as of late')
        """
        cuts = rank_cuts(reference)
        counts = bucket_counts(reference, cuts).astype(np.float64)
        m = int(counts.sum())
        counts[[0, -1]] += UNSEEN
        masses = counts / counts.sum()
        names, ratios, weights = density_ratios(masses)
        return cls(
            cuts=cuts,
            masses=masses,
            events=m,
            logs=np.log(ratios),
            prices=_prices(ratios, masses, m),
            weights=weights,
            names=names,
        )

    def counts(self, window: Histogram) -> Ints:
        """Count a window's events by rank bin, shape (b,).

        Examples
        --------
        >>> shapes = Shapes.of((np.array([3, 8]), np.array([50, 50])))
        >>> shapes.counts((np.array([1, 3, 4, 9]), np.array([4, 5, 6, 7]))).tolist()
        [4, 5, 6, 7]
        """
        return bucket_counts(window, self.cuts)

    def log_ratios(self, counts: ArrayLike, recent: ArrayLike) -> Floats:
        """Give ln L of a window by alternative.

        Parameters
        ----------
        counts : array of int, shape (..., b)
            The window's events by rank bin.
        recent : array of float, shape (..., b)
            What was seen before this window (`remember`), zeros at first: the adaptive alternative bets that it goes
            on. It must not know of the window itself.

        Returns
        -------
        array of float, shape (..., k)

        Examples
        --------
        >>> shapes = Shapes.of((np.array([3, 8]), np.array([50, 50])))
        >>> float(np.abs(shapes.log_ratios([0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0])).max())
        0.0
        """
        c = np.asarray(counts, dtype=np.float64)
        n = c.sum(axis=-1)
        fixed = (self.logs @ c[..., None])[..., 0] - n[..., None] * self.prices
        lately = np.asarray(recent, dtype=np.float64) + PSEUDO_COUNTS * self.masses
        r = lately / lately.sum(axis=-1, keepdims=True) / self.masses
        every_direction = float(np.sqrt(special.chdtri(r.shape[-1] - 1, 0.001)))
        adaptive = (c * np.log(r)).sum(axis=-1) - n * _prices(r, self.masses, self.events, every_direction)
        return np.concatenate([fixed, adaptive[..., None]], axis=-1)


def _prices(ratios: Floats, masses: Floats, m: int, deviations: float = _DEVIATIONS) -> Floats:
    variation = np.abs(np.diff(ratios, axis=-1)).sum(axis=-1)
    deviation = np.sqrt((masses * (ratios - 1) ** 2).sum(axis=-1))
    prices: Floats = np.log1p(np.minimum(dkw(m) * variation, deviations / np.sqrt(m) * deviation))
    return prices
