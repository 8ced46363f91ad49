"""How well scores separate labels: the area under the ROC curve, with a standard error, and what missing labels could make of it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

__all__ = ["Auc", "auc", "auc_bounds"]


class Auc(NamedTuple):
    """The area under the curve and its standard error; NaN where one of the labels does not occur."""

    value: float
    error: float


def auc(labels: ArrayLike, scores: ArrayLike) -> Auc:
    """Give the probability that a positive has a larger score than a negative, ties half.

    The standard error is that of DeLong, DeLong and Clarke-Pearson (1988), from the placements.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).value
    0.75
    """
    positive, x = np.asarray(labels, dtype=np.float64) > 0.5, np.asarray(scores, dtype=np.float64)
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return Auc(np.nan, np.nan)
    ranks = rankdata(x)
    above = (ranks[positive] - rankdata(x[positive])) / m  # share of negatives below each positive
    below = 1 - (ranks[~positive] - rankdata(x[~positive])) / n
    variance = sum(float(v.var(ddof=1)) / v.size for v in (above, below) if v.size > 1)
    return Auc(float(above.mean()), float(np.sqrt(variance)) if min(n, m) > 1 else np.nan)


def auc_bounds(labels: ArrayLike, scores: ArrayLike, unlabelled: ArrayLike) -> tuple[float, float]:
    """Give the least and the largest area that any labels of the unlabelled could make.

    For k positives among them it is least if these have the k lowest scores, and largest if the k highest: all k are tried.

    Examples
    --------
    >>> auc_bounds([0, 1], [0.2, 0.8], [0.5])
    (1.0, 1.0)
    >>> auc_bounds([0, 1], [0.2, 0.8], [0.1])
    (0.5, 1.0)
    """
    positive, x = np.asarray(labels, dtype=np.float64) > 0.5, np.asarray(scores, dtype=np.float64)
    missing = np.sort(np.asarray(unlabelled, dtype=np.float64))
    least = _least(x[positive], x[~positive], missing)
    # Turned around, a positive is a negative and high is low: the largest area is one less the least of that.
    largest = _least(-x[positive], -x[~positive], np.sort(-missing))
    return least, 1 - largest


def _least(positives: NDArray[np.float64], negatives: NDArray[np.float64], missing: NDArray[np.float64]) -> float:
    """Give the least area when the k lowest of the missing (rising) are positive, over all k."""

    def lower(of: NDArray[np.float64], than: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = np.sort(of)
        return (np.searchsorted(ordered, than, "left") + np.searchsorted(ordered, than, "right")) / 2

    n, m, size = positives.size, negatives.size, missing.size
    known = float(lower(negatives, positives).sum())
    as_positive = np.append(0.0, np.cumsum(lower(negatives, missing)))
    as_negative = np.cumsum((n - lower(positives, missing))[::-1])[::-1]
    pairs = known + as_positive + np.append(as_negative, 0.0)
    # Ties across the cut count half: the missing are in order, so all of them have the value at the cut.
    k = np.arange(size + 1)
    first = np.searchsorted(missing, missing[np.minimum(k, size - 1)], "left") if size else k
    last = np.searchsorted(missing, missing[np.minimum(k, size - 1)], "right") if size else k
    pairs += np.maximum(k - first, 0) * np.maximum(last - k, 0) / 2
    of = (n + k) * (m + size - k)
    return float(np.min(pairs[of > 0] / of[of > 0])) if (of > 0).any() else np.nan
