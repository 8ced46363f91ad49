"""What is known of rates after some successes and failures: independent Beta distributions, and which is the largest.

In Thompson sampling an arm is chosen as often as its draw is the largest, so the probability of that is the propensity
which the decision has to carry::

    P(i is best) = ∫ f_i(x) · Π_{j≠i} F_j(x) dx

It is integrated over the log-odds t = ln(x / (1 - x)), where every Beta density is smooth and has one mode, however
close to 0 or 1 it lies and though α or β be below 1. The panels are laid around each arm by its own mean and standard
deviation, so that a wide arm and one a thousand times narrower are both resolved; where α or β is below 1, also around
the bend between its two tails. In each panel the densities are polynomials through Gauss–Legendre nodes, and the
distribution functions are the integrals of the same polynomials.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, polygamma, psi

__all__ = ["best_probabilities", "draw"]

Floats = NDArray[np.float64]

_NODES: Final = 10

# In standard deviations from the mean. The tails fall at least like exp(-distance), so beyond the last is nothing.
_EDGES: Final = np.array([0.0, 0.75, 1.5, 2.25, 3.0, 4.0, 5.5, 8.0, 12.0, 18.0, 36.0])
_PANELS: Final = np.concatenate([-_EDGES[:0:-1], _EDGES])
_BEND: Final = np.array([-12.0, -8.0, -5.5, -3.5, -2.0, -1.0, 0.0, 1.0, 2.0, 3.5, 5.5, 8.0])


def best_probabilities(alpha: ArrayLike, beta: ArrayLike) -> Floats:
    """Give, for each of k independent Beta(α, β) arms, the probability that its draw is the largest.

    Returns
    -------
    array of float, shape (k,)
        They sum to 1, and are right to about 1e-11, or to (α + β)·1e-16 where that is more.

    Raises
    ------
    ValueError
        There is no arm, the shapes differ, or a parameter is not positive and finite.

    Examples
    --------
    Of two arms that had one try each, the one that failed is still the better one in one case out of six.

    >>> best_probabilities([2, 1], [1, 2]).round(6).tolist()
    [0.833333, 0.166667]
    """
    a, b = _parameters(alpha, beta)
    if a.size == 0:
        raise ValueError("of no arms none is the best: give one at least")
    nodes, weights, inner = _rule()
    edges = _edges(a, b)
    half = np.diff(edges) / 2
    t = (edges[:-1] + half)[:, None] + half[:, None] * nodes
    log_density = -a[:, None, None] * np.logaddexp(0, -t) - b[:, None, None] * np.logaddexp(0, t)
    density = np.exp(log_density - log_density.max(axis=(1, 2), keepdims=True))
    # Each panel's mass, the mass before it, and the mass within it up to each node.
    mass = density @ weights * half
    before = np.cumsum(mass, axis=1) - mass
    below = (before[:, :, None] + density @ inner.T * half[:, None]) / mass.sum(axis=1)[:, None, None]
    found: Floats = (density * _product_of_others(np.clip(below, 0, 1)) @ weights * half).sum(axis=1) / mass.sum(axis=1)
    found /= found.sum()
    return found


def draw(alpha: ArrayLike, beta: ArrayLike, u: ArrayLike) -> Floats:
    """Turn uniform numbers into draws of Beta(α, β), by the inverse of its distribution function.

    The same ``u`` gives the same draw, so a decision can be repeated from what it was drawn from. With α or β below
    about 0.03, draws that differ can both be so close to 0 or 1 that they round to it.

    Parameters
    ----------
    alpha, beta, u
        Of one shape, or shapes that broadcast; ``u`` in [0, 1].

    Raises
    ------
    ValueError
        A parameter is not positive and finite, or ``u`` is not in [0, 1].

    Examples
    --------
    >>> draw([1.0, 2.0], [1.0, 1.0], [0.25, 0.25]).round(6).tolist()
    [0.25, 0.5]
    """
    a, b = _parameters(alpha, beta)
    uniform = np.asarray(u, dtype=np.float64)
    if not ((uniform >= 0) & (uniform <= 1)).all():
        raise ValueError(f"a draw is made from numbers in 0 to 1, not from {uniform.tolist()}")
    return np.asarray(betaincinv(a, b, uniform), dtype=np.float64)


def _parameters(alpha: ArrayLike, beta: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(alpha, dtype=np.float64), np.asarray(beta, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"each arm has one α and one β, but their shapes are {a.shape} and {b.shape}")
    if not (np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)).all():
        raise ValueError(f"α and β are positive and finite, unlike α={a.tolist()}, β={b.tolist()}")
    return a, b


def _edges(a: Floats, b: Floats) -> Floats:
    """Lay panels over the log-odds, fine enough for each of the densities."""
    mean, spread = psi(a) - psi(b), np.sqrt(polygamma(1, a) + polygamma(1, b))
    long = np.minimum(a, b) < 1  # its one tail is longer than the bend is wide
    bend = np.where(a < b, -np.log(np.maximum(b, 1)), np.log(np.maximum(a, 1)))[long]
    side = np.where(a < b, 1.0, -1.0)[long]
    around = mean[:, None] + spread[:, None] * _PANELS
    return np.unique(np.concatenate([around.ravel(), (bend[:, None] + side[:, None] * _BEND).ravel()]))


def _product_of_others(below: Floats) -> Floats:
    """Multiply, for each arm, the values of all others; without dividing, since some are 0."""
    product = np.ones_like(below)
    np.cumprod(below[:-1], axis=0, out=product[1:])
    product[:-1] *= np.cumprod(below[:0:-1], axis=0)[::-1]
    return product


@cache
def _rule() -> tuple[Floats, Floats, Floats]:
    """Give the nodes and weights on [-1, 1], and the matrix that integrates from -1 up to each node."""
    nodes, weights = (np.asarray(each, dtype=np.float64) for each in legendre.leggauss(_NODES))
    powers = range(_NODES)
    # Columns: Legendre polynomials, and their integrals, at the nodes.
    values = legendre.legvander(nodes, _NODES - 1)
    integrals = np.column_stack(
        [legendre.legval(nodes, legendre.legint(np.eye(_NODES)[power], lbnd=-1)) for power in powers]
    )
    return nodes, weights, integrals @ np.linalg.inv(values)
