"""Dithering of rankings: the deeper results are reordered more than the top ones, so that something is learned of them.

A ranking that is always shown alike teaches nothing of what it never shows on its first page. Dunning (mahout-user, 25
January 2014; Dunning and Friedman, "Practical Machine Learning: Innovations in Recommendation", 2014) sorts by::

    log(rank) + N(0, log ε)

with ranks from 1 and log ε for the variance. Item 2k then comes before item k about as often for every k.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, TypeVar

from birdwatch.serving.control.policy import unit

__all__ = ["dither"]

T = TypeVar("T")

_NORMAL: Final = NormalDist()
_SMALLEST: Final = 2.0**-54


def dither(items: Sequence[T], epsilon: float, seed: str) -> list[T]:
    """Reorder a ranking a little.

    Parameters
    ----------
    items
        The best first.
    epsilon
        At least 1, which leaves the order as it is. At 1.5 an item comes before one of half its rank in 22 % of all
        rankings, at 3 in 32 %.
    seed
        The same one gives the same order: the request's id, or a user and a span of time.

    Returns
    -------
    list
        The same items.

    Raises
    ------
    ValueError
        ``epsilon`` is below 1 or not finite.

    Examples
    --------
    >>> dither(["a", "b", "c", "d", "e", "f"], epsilon=1.5, seed="r1")
    ['b', 'c', 'a', 'e', 'f', 'd']
    """
    if not 1 <= epsilon < math.inf:
        raise ValueError(f"epsilon is at least 1, which leaves a ranking as it is, and finite; not {epsilon}")
    deviation = math.sqrt(math.log(epsilon))
    scores = [
        math.log(rank) + deviation * _NORMAL.inv_cdf(max(unit(seed, "dither", str(rank)), _SMALLEST))
        for rank in range(1, len(items) + 1)
    ]
    return [items[place] for place in sorted(range(len(items)), key=scores.__getitem__)]
