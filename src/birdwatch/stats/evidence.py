"""Evidence that grows with the data and may be looked at after every window: the one primitive behind every page.

A likelihood ratio L of a window, expected to be at most 1 while nothing has changed, is accumulated in the form of
Shiryaev and Roberts (Shin, Ramdas and Rinaldo, arXiv 2203.03532)::

    R = (1 + R) · L        alarm when R ≥ A, then start again at 0

Up to time T at most T/A false alarms are expected, and they add over models and rules however these depend on each
other; so the level A *is* the page budget. Several alternatives are mixed by weights that sum to 1. All is in
logarithms; what is kept between windows is ln(1 + R), finite at every moment.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BEYOND_DOUBT", "accumulate"]

Floats = NDArray[np.float64]

BEYOND_DOUBT: Final = 700.0
"""Evidence is not followed beyond e to this power, nor below its inverse: so R is a number that a machine can hold."""


def accumulate(kept: ArrayLike, ratios: ArrayLike, weights: ArrayLike = 1.0) -> tuple[Floats, Floats]:
    """Add one window's evidence.

    Parameters
    ----------
    kept : array of float, shape (..., k)
        ln(1 + R) of each alternative so far; zeros at the start and after an alarm.
    ratios : array of float, shape (..., k)
        ln L of each alternative over this window.
    weights : array of float, shape (k,), or float
        The share of the budget that each alternative holds; a single number is what they hold together, and share
        equally.

    Returns
    -------
    evidence : array of float, shape (...)
        ln of the weighted sum of R: alarm where it reaches ln A.
    kept : array of float, shape (..., k)

    Raises
    ------
    ValueError
        Something is not finite: evidence that is NaN never alarms, and a silenced detector must not look calm. Or
        the weights are not positive, or add up to more than the whole budget.

    Examples
    --------
    >>> float(accumulate([0.0], np.log([3.0]))[0].round(6))
    1.098612
    >>> accumulate(np.zeros((2, 2)), np.log([[3.0, 1.0], [1.0, 5.0]]), [0.75, 0.25])[0].round(6).tolist()
    [0.916291, 0.693147]
    """
    grown: Floats = np.asarray(kept, dtype=np.float64) + np.asarray(ratios, dtype=np.float64)
    if not np.isfinite(grown).all():
        place = np.argwhere(~np.isfinite(grown))[0]
        raise ValueError(f"evidence is not finite: {grown[tuple(place)]} at {place.tolist()} of shape {grown.shape}")
    shares = np.asarray(weights, dtype=np.float64)
    if shares.ndim == 0:
        shares = np.full(grown.shape[-1], shares / max(grown.shape[-1], 1))
    if not ((shares > 0).all() and shares.sum() <= 1 + 1e-9):
        raise ValueError(f"weights are positive and add up to at most 1, not to {shares.sum()}: {shares.tolist()}")
    r = np.exp(np.clip(grown, -BEYOND_DOUBT, BEYOND_DOUBT))
    return np.log(np.maximum(r @ shares, np.exp(-BEYOND_DOUBT))), np.log1p(r)
