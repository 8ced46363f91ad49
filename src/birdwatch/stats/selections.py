"""Evidence that an arm is selected more often, or less, than the propensities that were logged for it say.

A bandit changes its propensities as it learns, so a test that takes them to be fixed, such as the Dirichlet-multinomial
of Lindon and Malek (arXiv 2011.03567), alarms on every healthy one. Here each decision is weighed by its own propensity
θ: with x = 1 where the arm was selected, exp(η·x) / (1 + θ·(e^η - 1)) is expected to be 1, whatever θ depends on.

Propensities are counted in `STEPS` steps, and what was θ lies up to half a step from what is counted. Each ratio takes
the end of that interval that speaks least for it, so the bound holds all the same: an arm whose θ rounds to 0 may be
selected now and then, and one whose θ rounds to 1 passed over.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ODDS", "STEPS", "selection_odds"]

Floats = NDArray[np.float64]

STEPS: Final = 1024
"""A propensity θ is counted as round(θ · 1024)."""

ODDS: Final = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""By how much the odds of a selection may have grown, or shrunk: e^η, an alternative on either side each."""


def selection_odds(steps: ArrayLike, decisions: ArrayLike, selected: ArrayLike, odds: ArrayLike = ODDS) -> Floats:
    """Give the log likelihood ratios of selections against the logged propensities.

    ln L = c·η - Σ ln(1 + θ·(e^η - 1)) over all decisions, c of which selected the arm; η = ± ln of the odds.

    Parameters
    ----------
    steps : array_like of int, shape (s,)
        Propensities as round(θ · `STEPS`).
    decisions : array_like of int, shape (..., s)
        How many decisions were made at each.
    selected : array_like of int, shape (..., s)
        In how many of them the arm was selected.
    odds : array_like, shape (a,)
        Each larger than 1.

    Returns
    -------
    array of float, shape (..., 2 · a)
        First for an arm selected too often, then for one selected too rarely.

    Raises
    ------
    ValueError
        A step is no propensity, not 0 ≤ selected ≤ decisions, or odds are not larger than 1.

    Examples
    --------
    >>> selection_odds([512], [100], [80], odds=[3.0]).round(1).tolist()
    [18.5, -47.4]
    """
    at = np.asarray(steps, dtype=np.float64)
    n, c = (np.asarray(x, dtype=np.float64) for x in (decisions, selected))
    by = np.asarray(odds, dtype=np.float64)
    if not ((at >= 0) & (at <= STEPS)).all():
        raise ValueError(f"a propensity is counted in steps of 0 to {STEPS}, unlike {steps!r}")
    if not ((c >= 0) & (c <= n)).all():
        raise ValueError(f"an arm cannot be selected {selected!r} times in {decisions!r} decisions")
    if not (by > 1).all():
        raise ValueError(f"an alternative multiplies or divides the odds: they lie above 1, unlike {odds!r}")
    # More often is least surprising where θ is as large as it can be; less often, where it is as small.
    largest = np.minimum(at + 0.5, STEPS) / STEPS
    smallest = np.maximum(at - 0.5, 0.0) / STEPS
    times = c.sum(axis=-1)[..., None]
    often = times * np.log(by) - n @ np.log1p(largest[:, None] * (by - 1))
    rarely = -times * np.log(by) - n @ np.log1p(smallest[:, None] * (1 / by - 1))
    return np.concatenate([often, rarely], axis=-1)
