"""The tolerance that a reference teaches: how much it differs from itself, block by block, beyond sampling noise.

Real streams are never independent draws: days differ. What the blocks of the reference did among themselves is in
order, the largest of it for rules that page, its .95 quantile for those that open tickets.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from birdwatch.detect.verdict import Severity
from birdwatch.stats import special

__all__ = ["TICKET_LEVEL", "in_order", "learn", "level", "normal_noise"]

Floats = NDArray[np.float64]

TICKET_LEVEL: Final = 0.95


def level(severity: Severity, blocks: int) -> float:
    """Give the quantile of the blocks that is still in order; the largest of k stands at k/(k+1).

    Examples
    --------
    >>> level("ticket", 28), level("page", 9)
    (0.95, 0.9)
    """
    return blocks / (blocks + 1) if severity == "page" else TICKET_LEVEL


def normal_noise(spread: Floats, at: float) -> Floats:
    """Give what the size of a normal error of this standard deviation exceeds with probability 1 - ``at``."""
    noise: Floats = special.ndtri((1 + at) / 2) * spread
    return noise


def learn(distances: Floats, noise: Floats, severity: Severity) -> float:
    """Give the tolerance that the blocks' distances from the rest of the reference teach.

    Parameters
    ----------
    distances : array of float, shape (k,)
        Not negative.
    noise : array of float, shape (k,)
        What sampling alone would exceed, at the `level` of the severity, with as many events as each block has.
        It is taken out as independent errors add, in squares: without that, small blocks would teach a tolerance that
        hides everything, and subtracting it outright would forget real differences that are larger.

    Examples
    --------
    >>> learn(np.array([0.05, 0.13]), np.array([0.05, 0.05]), "page").__round__(6)
    0.12
    """
    beyond = np.sqrt(np.maximum(np.square(distances) - np.square(noise), 0.0))
    return float(beyond.max() if severity == "page" else np.quantile(beyond, TICKET_LEVEL))


def in_order(strayed: Floats, severity: Severity) -> NDArray[np.bool_]:
    """Tell which blocks count as in order: all of them for a page; for a ticket, all but the twentieth that strayed most.

    Examples
    --------
    >>> in_order(np.arange(20.0), "ticket").sum(), in_order(np.arange(20.0), "page").sum()
    (np.int64(19), np.int64(20))
    """
    kept: NDArray[np.bool_] = strayed <= (np.inf if severity == "page" else np.quantile(strayed, TICKET_LEVEL))
    return kept
