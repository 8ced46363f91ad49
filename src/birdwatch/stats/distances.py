"""How far two histograms on the grid lie apart: what people look at, and what the rules on distributions compare.

Histograms are pairs of arrays (bins that rise strictly, counts). What the grid cannot resolve is stated as ``error``:
the distance between the events themselves lies within it. Distances between counts by bucket have no such error, since
buckets are whole bins (`bucket_counts`). Take buckets for those, not bins of the grid: over many sparse bins they
measure the sample's size.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats import special
from birdwatch.stats.grid import Scale, midpoints, upper_edges
from birdwatch.stats.quantiles import Histogram, moments, size

__all__ = [
    "BUCKETS",
    "Distance",
    "bucket_counts",
    "bucket_cuts",
    "chi_square",
    "hellinger",
    "jensen_shannon",
    "ks",
    "ks_leave_one_out",
    "ks_noise",
    "psi",
    "psi_noise",
    "psi_threshold",
    "stack",
    "total_variation",
    "wasserstein",
    "wasserstein_noise",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BUCKETS: Final = 10
"""Into how many buckets of equal mass PSI cuts the reference."""


class Distance(NamedTuple):
    """A distance computed on the grid; that of the events themselves differs by at most ``error``."""

    value: float
    error: float


def stack(histograms: Sequence[Histogram]) -> tuple[Ints, Ints]:
    """Lay histograms side by side on the bins that any of them has.

    Returns
    -------
    bins : array of int64, shape (k,)
    counts : array of int64, shape (len(histograms), k)

    Examples
    --------
    >>> stack([(np.array([1, 3]), np.array([5, 6])), (np.array([3]), np.array([7]))])[1].tolist()
    [[5, 6], [0, 7]]
    """
    bins = np.unique(np.concatenate([h[0] for h in histograms])) if histograms else np.array([], dtype=np.int64)
    counts = np.zeros((len(histograms), bins.size), dtype=np.int64)
    for row, (found, number) in zip(counts, histograms, strict=True):
        row[np.searchsorted(bins, found)] = number
    return bins, counts


def _needs_events(*histograms: Histogram) -> None:
    if any(size(h) == 0 for h in histograms):
        raise ValueError(f"a distance needs events on both sides, not {[size(h) for h in histograms]}")


def ks(a: Histogram, b: Histogram) -> Distance:
    """Give the Kolmogorov-Smirnov distance, max |F - G|, over the edges of the grid.

    Between two edges the difference may be larger: with D at the edges and the bin's masses f and g it is at most
    min(D_upper + g, D_lower + f), and its negative likewise, which bounds the error.

    Raises
    ------
    ValueError
        One side has no events.

    Examples
    --------
    >>> ks((np.array([1, 2]), np.array([1, 1])), (np.array([2]), np.array([4]))).value
    0.5
    """
    _needs_events(a, b)
    _, counts = stack([a, b])
    f, g = counts / counts.sum(axis=1, keepdims=True)
    upper = np.cumsum(f - g)
    lower = upper - (f - g)
    value = float(np.abs(upper).max())
    inside = np.maximum(np.minimum(upper + g, lower + f), np.minimum(f - upper, g - lower))
    return Distance(min(value, 1.0), max(0.0, float(inside.max()) - value))


def ks_leave_one_out(blocks: Sequence[Histogram]) -> Floats:
    """Give the distance of each block from all others together: how much a stretch differs from itself.

    Raises
    ------
    ValueError
        There are fewer than two blocks, or one has no events.
    """
    if len(blocks) < 2:
        raise ValueError(f"leaving one out needs two blocks, not {len(blocks)}")
    _needs_events(*blocks)
    _, counts = stack(blocks)
    cumulated = np.cumsum(counts, axis=1)
    others = cumulated[:, -1].sum() - cumulated[:, -1:]
    distance: Floats = np.abs(
        cumulated / cumulated[:, -1:] - (cumulated.sum(axis=0, keepdims=True) - cumulated) / others
    ).max(axis=1)
    return distance


def ks_noise(n: float | Floats, m: float | Floats, level: float = 0.95) -> Floats:
    """Give the distance that samples of n and m from one distribution exceed with probability 1 - level.

    Kolmogorov's limit, conservative where the distribution has atoms.

    Examples
    --------
    >>> round(float(ks_noise(1000, np.inf)), 4)
    0.0429
    """
    noise: Floats = special.kolmogi(1 - level) * np.sqrt(1 / np.asarray(n) + 1 / np.asarray(m))
    return noise


def wasserstein(a: Histogram, b: Histogram, scale: Scale = "real") -> Distance:
    """Give the Wasserstein-1 distance, in the unit of the values: how far mass has to be moved on average.

    Raises
    ------
    ValueError
        One side has no events.
    """
    _needs_events(a, b)
    bins, counts = stack([a, b])
    f, g = counts / counts.sum(axis=1, keepdims=True)
    x = midpoints(bins, scale)
    value = float(np.abs(np.cumsum(f - g))[:-1] @ np.diff(x))
    return Distance(value, float((f + g) @ (upper_edges(bins, scale) - x)))


def wasserstein_noise(n: float, m: float, of: Histogram, scale: Scale = "real", level: float = 0.95) -> float:
    """Give a Wasserstein-1 distance that samples of n and m from one distribution exceed with probability 1 - level at most.

    Times √(nm/(n+m)) it tends to ∫|B(F(x))| dx, B a Brownian bridge (del Barrio, Giné and Matrán 1999), of which no
    quantile has a closed form. A bound has: it is a convex function of something Gaussian, so that its median is at most its
    mean √(2/π)·∫√(F(1-F)) dx (Kwapień 1994), and beyond the median it falls off as a normal variable whose standard
    deviation is the largest of ∫hB(F) for |h| ≤ 1 (Borell 1975): that of the values themselves, as Hoeffding's formula
    for a variance says. It is about 1.4 times the quantile itself.

    Parameters
    ----------
    of
        What stands for F, such as the larger of the samples.

    Raises
    ------
    ValueError
        A side has no events, or the level is not in [½, 1).

    Examples
    --------
    >>> even = np.arange(128), np.ones(128, dtype=np.int64)
    >>> even = even[0] + 130816, even[1]  # from .5 to 1
    >>> round(wasserstein_noise(1000, 1e12, even), 4)
    0.0125
    """
    if not (n > 0 and m > 0 and 0.5 <= level < 1):
        raise ValueError(f"no distance can be told of {n} and {m} events at the level {level}")
    _needs_events(of)
    below = np.cumsum(of[1])[:-1] / size(of)
    mean = np.sqrt(2 / np.pi) * np.sqrt(below * (1 - below)) @ np.diff(midpoints(of[0], scale))
    beyond = special.ndtri(level) * moments(of, scale)[1]
    return float((mean + beyond) * np.sqrt(1 / n + 1 / m))


def _shares(*counts: Ints) -> list[Floats]:
    if any(c.sum() == 0 for c in counts):
        raise ValueError(f"a distance needs events on both sides, not {[int(c.sum()) for c in counts]}")
    return [c / c.sum() for c in counts]


def jensen_shannon(p: Ints, q: Ints) -> float:
    """Give the Jensen-Shannon distance in base 2, in [0, 1], between counts over the same buckets.

    Raises
    ------
    ValueError
        One side has no events.

    Examples
    --------
    >>> jensen_shannon(np.array([4, 0]), np.array([0, 9]))
    1.0
    """
    f, g = _shares(p, q)
    middle = (f + g) / 2
    divergence = special.rel_entr(f, middle).sum() + special.rel_entr(g, middle).sum()
    return float(np.sqrt(max(0.0, divergence / 2 / np.log(2))))


def hellinger(p: Ints, q: Ints) -> float:
    """Give the Hellinger distance, √(½·Σ(√f - √g)²) in [0, 1], between counts over the same buckets.

    Raises
    ------
    ValueError
        One side has no events.

    Examples
    --------
    >>> hellinger(np.array([4, 0]), np.array([0, 9]))
    1.0
    """
    f, g = _shares(p, q)
    return float(np.sqrt(((np.sqrt(f) - np.sqrt(g)) ** 2).sum() / 2))


def chi_square(p: Ints, q: Ints) -> float:
    """Give the chi-square distance, ½·Σ(f - g)²/(f + g) in [0, 1], between counts over the same buckets.

    For two samples of n each, 2n times this is Pearson's statistic of homogeneity.

    Raises
    ------
    ValueError
        One side has no events.

    Examples
    --------
    >>> chi_square(np.array([3, 1]), np.array([1, 3]))
    0.25
    """
    f, g = _shares(p, q)
    some = f + g > 0
    return float(((f[some] - g[some]) ** 2 / (f[some] + g[some])).sum() / 2)


def total_variation(p: Ints, q: Ints) -> float:
    """Give the total variation distance, ½·Σ|f - g|: the share that would have to change its bucket.

    Raises
    ------
    ValueError
        One side has no events.

    Examples
    --------
    >>> total_variation(np.array([3, 1]), np.array([1, 3]))
    0.5
    """
    f, g = _shares(p, q)
    return float(np.abs(f - g).sum() / 2)


def bucket_cuts(reference: Histogram, buckets: int = BUCKETS) -> Ints:
    """Cut the reference into buckets of about equal mass, at edges of the grid.

    Returns
    -------
    array of int64, shape (at most buckets - 1,)
        The last bin of each bucket but the last. A value so common that it fills buckets of its own makes them fewer.

    Raises
    ------
    ValueError
        The reference has no events.
    """
    _needs_events(reference)
    cumulated = np.cumsum(reference[1])
    ranks = np.arange(1, buckets) * (cumulated[-1] / buckets)
    cuts: Ints = np.unique(reference[0][np.searchsorted(cumulated, ranks)])
    inner: Ints = cuts[cuts < reference[0][-1]]
    return inner


def bucket_counts(histogram: Histogram, cuts: Ints) -> Ints:
    """Count events by bucket, shape (len(cuts) + 1,).

    Examples
    --------
    >>> bucket_counts((np.array([1, 2, 3]), np.array([5, 6, 7])), np.array([2])).tolist()
    [11, 7]
    """
    counts = np.zeros(cuts.size + 1, dtype=np.int64)
    np.add.at(counts, np.searchsorted(cuts, histogram[0]), histogram[1])
    return counts


def psi(current: Ints, reference: Ints) -> float:
    """Give the population stability index between counts over the same buckets.

    Every share is smoothed as (c + ½) / (n + B/2): clipping empty buckets at a small number instead, as is common,
    makes a false alarm of every small window.

    Raises
    ------
    ValueError
        One side has no events: smoothed, nothing would look like a reference of equal buckets.

    Examples
    --------
    >>> psi(np.array([10, 10]), np.array([500, 500]))
    0.0
    """
    _shares(current, reference)
    buckets = current.size
    p = (current + 0.5) / (current.sum() + buckets / 2)
    q = (reference + 0.5) / (reference.sum() + buckets / 2)
    return float((p - q) @ np.log(p / q))


def psi_noise(n: float, m: float, buckets: int = BUCKETS, level: float = 0.95) -> float:
    """Give the PSI that samples of n and m from one distribution exceed with probability 1 - level.

    PSI is then distributed as (1/n + 1/m) times chi-square with B - 1 degrees of freedom; ask for n of 20·B or more.

    Examples
    --------
    >>> round(psi_noise(1000, 1e12), 4)
    0.0169
    """
    return psi_threshold(n, m, buckets, level=level)


def psi_threshold(n: float, m: float, buckets: int = BUCKETS, *, floor: float = 0.0, level: float = 0.95) -> float:
    """Give the PSI that samples exceed with probability 1 - level where that of their distributions is the floor.

    With N = nm/(n+m), N·PSI is about noncentral chi-square with B - 1 degrees of freedom and noncentrality N·floor: a
    PSI above this is certain, at that level, to be more than the floor, however many or few events there are. About d²
    is the PSI of a mean shift by d standard deviations.

    Raises
    ------
    ValueError
        A side has no events, the floor is negative, or the level not inside (0, 1).

    Examples
    --------
    >>> round(psi_threshold(1000, 1e12, floor=0.1), 4)
    0.1442
    """
    if not (n > 0 and m > 0 and floor >= 0 and 0 < level < 1):
        raise ValueError(f"no PSI can be told of {n} and {m} events with the floor {floor} at the level {level}")
    both = n * m / (n + m)
    return float(special.chndtrix(level, max(buckets - 1, 1), both * floor) / both)
