"""What a distribution may change into: density ratios on rank bins, whatever the reference.

On normal scores, as if any reference were N(0, 1): shifts of the mean, wider and narrower, skewed to either side
(a cubic Hermite polynomial, clipped); and mixtures: a share of all events falls in a tail, beyond anything in the
reference, or between two of its quantiles, wherever it may be that a value gets stuck. The last alternative adapts
(`birdwatch.stats.shapes`).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats import special

__all__ = ["density_ratios"]

Floats = NDArray[np.float64]

SHIFTS: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
STRETCHES: Final = (1.1, 1.25, 1.6)
SKEWS: Final = (0.05, 0.12)
TAILS: Final = (0.01, 0.05)
CONTAMINATIONS: Final = (0.01, 0.05)
STRAYS: Final = 0.01
SPIKE: Final = 0.05
SPIKED_MASS: Final = 0.02
"""A bin holds at least so much to have an alternative of its own."""

WEIGHTS: Final = (0.4, 0.25, 0.15, 0.2)
"""Of all shifts, other deformations, spikes, and the alternative that adapts."""

_LEAST: Final = 0.01  # no bet is staked so high on a bin staying empty that a hundred stray events could not be borne


def density_ratios(masses: Floats) -> tuple[tuple[str, ...], Floats, Floats]:
    """Lay alternatives around a reference.

    Parameters
    ----------
    masses : array of float, shape (b,)
        Of the reference in each rank bin, of which there are two at least; each above 0.

    Returns
    -------
    names : tuple of str, length k
        What each alternative says, for people.
    ratios : array of float, shape (k - 1, b)
        Density ratios r, each with Σ masses·r = 1; the alternative that adapts has none of its own.
    weights : array of float, shape (k,)
        They sum to 1.

    Examples
    --------
    >>> names, ratios, _ = density_ratios(np.array([0.5, 0.5]))
    >>> names[9], ratios[9].round(6).tolist()
    ('location +0.05 sd', [0.960122, 1.039878])
    """
    groups = [_locations(masses), _deformations(masses), _spikes(masses)]
    ratios = np.maximum(np.concatenate([ratios for _, ratios in groups]), _LEAST)
    ratios /= (ratios @ masses)[:, None]
    sizes = [*(len(names) for names, _ in groups), 1]
    weights = np.repeat(np.array(WEIGHTS) / np.maximum(sizes, 1), sizes)
    return (*(name for names, _ in groups for name in names), "as of late"), ratios, weights / weights.sum()


def _locations(masses: Floats) -> tuple[list[str], Floats]:
    """Name shifts, and give their density ratios, shape (shifts, b)."""
    shifts = [sign * shift for shift in reversed(SHIFTS) for sign in (-1, 1)]
    return [f"location {shift:+g} sd" for shift in shifts], _normal(masses, shifts, [1.0] * len(shifts))


def _deformations(masses: Floats) -> tuple[list[str], Floats]:
    """Name what makes scores wider, narrower or skewed, or adds to a tail, and give the density ratios."""
    scales = [scale for stretch in STRETCHES for scale in (stretch, 1 / stretch)]
    wider = _normal(masses, [0.0] * len(scales), scales)
    skews = [sign * skew for skew in SKEWS for sign in (-1, 1)]
    # The third Hermite polynomial z³ - 3z, on average over each bin: its integral is -(z² - 1)·φ(z).
    z = _normal_scores(masses)
    finite = np.where(np.isfinite(z), z, 0.0)
    integral = np.where(np.isfinite(z), -(finite**2 - 1) * np.exp(-(finite**2) / 2) / np.sqrt(2 * np.pi), 0.0)
    skewed = 1 + np.array(skews)[:, None] * (np.diff(integral) / masses)
    bins, upto = np.arange(masses.size), np.cumsum(masses)[:-1]
    tails: list[tuple[str, float, NDArray[np.bool_]]] = [
        (f"{share:.0%} more in the {side} {tail:.0%}", share, inside)
        for tail in TAILS
        for side, inside in (
            ("lowest", bins <= np.abs(upto - tail).argmin()),
            ("highest", bins > np.abs(1 - upto - tail).argmin()),
        )
        for share in CONTAMINATIONS
    ]
    tails += [
        (f"{STRAYS:.0%} {side} than anything in the reference", STRAYS, bins == end)
        for side, end in (("lower", 0), ("higher", bins[-1]))
    ]
    added = _more([share for _, share, _ in tails], np.array([inside for *_, inside in tails]), masses)
    names = [*(f"scale {scale:.3g}" for scale in scales), *(f"skew {skew:+g}" for skew in skews)]
    return [*names, *(name for name, *_ in tails)], np.concatenate([wider, skewed, added])


def _spikes(masses: Floats) -> tuple[list[str], Floats]:
    """Name where a value could come up too often, wherever it may lie, and give the density ratios."""
    upto = 100 * np.concatenate([[0.0], np.cumsum(masses)])
    common = np.flatnonzero(masses >= SPIKED_MASS)
    names = [f"{SPIKE:.0%} more between the {upto[i]:.3g}% and {upto[i + 1]:.3g}% quantiles" for i in common]
    return names, _more([SPIKE] * common.size, np.arange(masses.size) == common[:, None], masses)


def _more(shares: list[float], inside: NDArray[np.bool_], masses: Floats) -> Floats:
    """Give density ratios of mixtures: a share of all events falls in some bins, as if it had another source."""
    share = np.array(shares)[:, None]
    ratios: Floats = 1 - share + share * inside / (inside @ masses)[:, None]
    return ratios


def _normal_scores(masses: Floats) -> Floats:
    """Give where the bins would end, were the reference N(0, 1), shape (b + 1,)."""
    ends: Floats = special.ndtri(np.concatenate([[0.0], np.cumsum(masses)[:-1], [1.0]]))
    return ends


def _normal(masses: Floats, means: list[float], deviations: list[float]) -> Floats:
    """Give density ratios of normals to N(0, 1): any reference is looked at as if it were that."""
    z = (_normal_scores(masses) - np.array(means)[:, None]) / np.array(deviations)[:, None]
    # From whichever tail is nearer, so that small masses keep their digits.
    below, above = np.diff(special.ndtr(z)), -np.diff(special.ndtr(-z))
    ratios: Floats = np.where(z[:, :-1] < 0, below, above) / masses
    return ratios
