"""Steps: how many events lie at or below a cut, or above it, as rates; for a distribution that may differ a little.

A distribution within Kolmogorov distance δ0 of the reference has at every cut q

    P(x ≤ q) ≤ F0(q) + δ0 + ε        P(x > q) ≤ 1 − F0(q) + δ0 + ε

where ε pays for the reference being a sample (`birdwatch.stats.shapes.dkw`). Each is a rate of at most p0, so each
side of each cut has the likelihood ratio of Bernoulli trials (`birdwatch.stats.rates`), expected to be at most 1
exactly while the tolerance is kept. Density ratios (`birdwatch.stats.shapes`) would have to pay for a tolerance
inside the logarithm, which leaves them blind, however many events there are.
"""

from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdwatch.stats.distances import bucket_counts
from birdwatch.stats.quantiles import Histogram, size
from birdwatch.stats.rates import bernoulli
from birdwatch.stats.shapes import PSEUDO_COUNTS, dkw, rank_cuts

__all__ = ["MULTIPLES", "Steps"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MULTIPLES: Final = (1.05, 1.25, 2.0)
"""By how much the rate may have grown: one alternative each, beside the one that adapts."""

LEAST_GROWTH: Final = 1.02
"""The adaptive alternative never bets on less, lest it bet on nothing for years and call that evidence."""

COMMON: Final = 0.075
"""A rank bin that holds more than so much has a value that alone is several quantiles."""

CERTAIN: Final = 0.98
"""Where a rate may be so high within the tolerance, it could hardly be seen to be too high."""


class Steps(NamedTuple):
    """What is bet against one reference and tolerance.

    Alternatives are ordered by rate, and for each rate by multiple; the last one of each rate adapts. Arrays may have
    axes for models in front, where several references have as many cuts and rates each.
    """

    cuts: Ints
    """The last bin of the grid in each rank bin but the last, shape (b - 1,)."""

    places: Ints
    """The cut of each rate, as an index into ``cuts``, shape (rates,)."""

    above: NDArray[np.bool_]
    """Whether the rate is that of events above the cut, shape (rates,)."""

    limits: Floats
    """How high each rate may be, p0, shape (rates,)."""

    shares: Floats
    """How high it was in the reference, shape (rates,)."""

    gains: Floats
    """ln(q/p0), what an event that counts gives to each fixed alternative, shape (rates, len(MULTIPLES))."""

    losses: Floats
    """ln((1-q)/(1-p0)), what one that does not count takes, shape (rates, len(MULTIPLES))."""

    weights: Floats
    """Of each alternative, shape (k,) with k = rates · (len(MULTIPLES) + 1)."""

    names: tuple[str, ...]
    """What each alternative says, for people."""

    @classmethod
    def of(cls, reference: Histogram, tolerance: float) -> Self:
        """Cut a reference; one that is too small for its tolerance leaves no rate to bet on.

        Parameters
        ----------
        tolerance
            δ0: the Kolmogorov distance that is in order, from 0 to below 1.

        Raises
        ------
        ValueError
            The reference has no events, or the tolerance is no distance.

        Examples
        --------
        >>> steps = Steps.of((np.array([3, 8]), np.array([50_000, 50_000])), 0.1)
        >>> steps.limits.round(2).tolist()
        [0.11, 0.61, 0.61, 0.11]
        >>> steps.names[0], steps.names[-1]
        ('more than 11% lower than anything in the reference', 'more than 11% higher than anything in the reference')
        """
        if not 0 <= tolerance < 1:
            raise ValueError(f"a tolerance is a distance between 0 and 1, not {tolerance}")
        cuts = rank_cuts(reference)
        counts = bucket_counts(reference, cuts)
        below = np.cumsum(counts)[:-1] / counts.sum()
        shares = np.concatenate([below, 1 - below])
        limits = shares + tolerance + dkw(size(reference))
        kept = (limits < CERTAIN) & np.tile(_telling(counts / counts.sum()), 2)
        shares, limits = shares[kept], limits[kept]
        above = np.repeat([False, True], cuts.size)[kept]
        names = [_name(*rate) for rate in zip(limits.tolist(), shares.tolist(), above.tolist(), strict=True)]
        each = len(MULTIPLES) + 1
        return cls(
            cuts=cuts,
            places=np.tile(np.arange(cuts.size), 2)[kept],
            above=above,
            limits=limits,
            shares=shares,
            gains=bernoulli(1, 1, limits, MULTIPLES),
            losses=bernoulli(0, 1, limits, MULTIPLES),
            weights=np.full(each * limits.size, 1 / max(each * limits.size, 1)),
            names=tuple(name for name in names for _ in range(each)),
        )

    def counts(self, window: Histogram) -> Ints:
        """Count a window's events by rank bin, shape (b,)."""
        return bucket_counts(window, self.cuts)

    def log_ratios(self, counts: ArrayLike, recent: ArrayLike) -> Floats:
        """Give ln L of a window by alternative.

        Parameters
        ----------
        counts : array of int, shape (..., b)
            The window's events by rank bin.
        recent : array of float, shape (..., b)
            What was seen before this window (`birdwatch.stats.shapes.remember`), zeros at first: the adaptive
            alternatives bet that it goes on. It must not know of the window itself.

        Returns
        -------
        array of float, shape (..., k)
        """
        hits, n = self._rates(counts)
        lately, of = self._rates(recent)
        estimate = (lately + PSEUDO_COUNTS * self.shares) / (of + PSEUDO_COUNTS)
        p0 = self.limits
        q = np.maximum(estimate, np.minimum(p0 * LEAST_GROWTH, 1 - (1 - p0) / LEAST_GROWTH))
        misses = n - hits
        adaptive = hits * np.log(q / p0) + misses * np.log((1 - q) / (1 - p0))
        fixed = hits[..., None] * self.gains + misses[..., None] * self.losses
        ratios: Floats = np.concatenate([fixed, adaptive[..., None]], axis=-1)
        return ratios.reshape(*hits.shape[:-1], -1)

    def _rates(self, counts: ArrayLike) -> tuple[Floats, Floats]:
        """Give how many events there are by rate, shape (..., rates), and in all, shape (..., 1)."""
        upto = np.cumsum(np.asarray(counts, dtype=np.float64), axis=-1)
        places = np.broadcast_to(self.places, (*upto.shape[:-1], self.places.shape[-1]))
        below = np.take_along_axis(upto, places, axis=-1)
        return np.where(self.above, upto[..., -1:] - below, below), upto[..., -1:]


def _telling(masses: Floats) -> NDArray[np.bool_]:
    """Say which cuts to bet at: every second one from either end, and those beside a value that many events share."""
    i = np.arange(masses.size - 1)
    common = masses > COMMON
    found: NDArray[np.bool_] = (np.minimum(i, i[::-1]) % 2 == 0) | common[:-1] | common[1:]
    return found


def _name(limit: float, share: float, above: bool) -> str:
    if share == 0:
        return f"more than {limit:.0%} {'higher' if above else 'lower'} than anything in the reference"
    return f"more than {limit:.0%} among what was the {'highest' if above else 'lowest'} {100 * share:.2g}%"
