"""Which values moved, and how far: a distance between two histograms told bucket by bucket."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats.distances import bucket_counts
from birdwatch.stats.grid import Scale, upper_edges
from birdwatch.stats.quantiles import Histogram, size

__all__ = ["Contributions", "contributions"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Contributions(NamedTuple):
    """Buckets in order of their values, all arrays of shape (buckets,).

    Attributes
    ----------
    lower, upper
        The edges of a bucket, in the unit of the values; the outermost have none but those of the scale.
    now, before
        The share of the events that lies in it, and that of the reference.
    psi
        What it contributes to the population stability index; never negative.
    """

    lower: Floats
    upper: Floats
    now: Floats
    before: Floats
    psi: Floats

    def largest(self, most: int = 3) -> list[int]:
        """Give the buckets that contribute most, the largest first."""
        return [int(i) for i in np.argsort(-self.psi, kind="stable")[:most]]


def contributions(current: Histogram, reference: Histogram, cuts: Ints, scale: Scale = "real") -> Contributions:
    """Tell a distance by bucket.

    Parameters
    ----------
    current, reference
        Histograms on the grid.
    cuts : array of int64, shape (buckets - 1,)
        From `birdwatch.stats.distances.bucket_cuts`.

    Raises
    ------
    ValueError
        One side has no events.

    Examples
    --------
    >>> told = contributions((np.array([0, 9]), np.array([10, 30])), (np.array([0, 9]), np.array([30, 10])), np.array([0]))
    >>> told.now.tolist(), told.before.tolist(), told.psi.round(3).tolist()
    ([0.25, 0.75], [0.75, 0.25], [0.52, 0.52])
    """
    if not (size(current) and size(reference)):
        raise ValueError(f"a distance needs events on both sides, not {size(current)} and {size(reference)}")
    ours, theirs = bucket_counts(current, cuts), bucket_counts(reference, cuts)
    buckets = cuts.size + 1
    p = (ours + 0.5) / (ours.sum() + buckets / 2)
    q = (theirs + 0.5) / (theirs.sum() + buckets / 2)
    ends = (0.0, 1.0) if scale == "probability" else (-np.inf, np.inf)
    edges = np.concatenate([ends[:1], upper_edges(cuts, scale), ends[1:]])
    return Contributions(edges[:-1], edges[1:], ours / ours.sum(), theirs / theirs.sum(), (p - q) * np.log(p / q))
