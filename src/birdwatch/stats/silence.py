"""How much traffic is expected, and how surprising it is to see less, or more, or nothing.

The count of a window is expected from those of the same stream some windows ago, log-linearly (Dunning and Friedman,
"A New Look at Anomaly Detection", 2014: one, two and 24 hours ago)::

    ln E(count) = w_0 + Σ_i w_i · ln(count_i windows ago + ½)

fitted as a Poisson regression. Traffic varies by more than chance, so counts are taken to have the variance
λ + α·λ² (negative binomial), α from how far the expectation used to miss. What is reported is a surprise, -ln of how
probable a count so far off would be: it compares with ln A as evidence does, since an alarm at surprise ln A is false
in at most one window of A, as far as this model of traffic holds. The surprise of a silence of t seconds where λ
events a second were expected is λ·t.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdwatch.stats import special

__all__ = ["LAG_HOURS", "Traffic", "count_surprise", "fit_traffic", "silence_surprise"]

Floats = NDArray[np.float64]

LAG_HOURS: Final = (1, 2, 24)
"""How many hours ago the counts are from which one is expected."""

_STEPS: Final = 50
_RIDGE: Final = 1e-3
"""A prior of next to nothing, for streams so even that their past counts are all the same."""


_LARGEST: Final = 45.0
"""No stream has more than e^45 events in a window."""

_LEAST: Final = 1e-300
"""Less is nothing in floating point: no surprise is larger than 690."""


class Traffic(NamedTuple):
    """What the count of a window is expected to be.

    Attributes
    ----------
    weights : array of float, shape (1 + lags,)
        w_0 and one for each lag.
    excess : float
        α: the squared relative error of the expectation beyond chance.
    windows : int
        From how many it was learned.
    """

    weights: Floats
    excess: float
    windows: int

    def expect(self, before: ArrayLike) -> Floats:
        """Give the expected counts of windows.

        Parameters
        ----------
        before : array_like, shape (..., lags)
            The counts so many windows ago, in the order of the lags.

        Returns
        -------
        array of float, shape (...)
        """
        expected: Floats = np.exp(np.minimum(_terms(before) @ self.weights, _LARGEST))
        return expected


def _terms(before: ArrayLike) -> Floats:
    logs = np.log(np.asarray(before, dtype=np.float64) + 0.5)
    return np.concatenate([np.ones((*logs.shape[:-1], 1)), logs], axis=-1)


def fit_traffic(counts: ArrayLike, lags: ArrayLike) -> Traffic:
    """Learn what to expect from a stretch of windows.

    Parameters
    ----------
    counts : array_like, shape (t,)
        Events by window, in order and without gaps: 0 where there were none.
    lags : array_like of int, shape (l,)
        How many windows ago the counts are from which one is expected; each at least 1. Without any, all windows are
        expected to be alike.

    Raises
    ------
    ValueError
        There are not twice as many windows after the longest lag as there are weights, a lag is less than 1, or a count
        is negative.

    Examples
    --------
    >>> traffic = fit_traffic([100, 200] * 30, [2])
    >>> traffic.expect([[100], [200]]).round().tolist()
    [100.0, 200.0]
    """
    seen, back = np.asarray(counts, dtype=np.float64), np.asarray(lags, dtype=np.int64)
    if not (back >= 1).all() or not (np.isfinite(seen) & (seen >= 0)).all():
        raise ValueError(f"windows have 0 events or more, and lags are 1 or more: {counts!r}, {lags!r}")
    first = int(back.max(initial=0))
    y = seen[first:]
    if y.size < 2 * (back.size + 1):
        raise ValueError(f"{seen.size} windows are too few to expect one from {lags!r} windows before")
    before = np.array([seen[first - lag : seen.size - lag] for lag in back.tolist()]).reshape(back.size, y.size)
    x = _terms(before.T)
    weights = _poisson_regression(x, y)
    expected = np.exp(np.minimum(x @ weights, _LARGEST))
    lost = y.size / (y.size - weights.size)
    beyond = ((y - expected) ** 2 * lost - expected).sum() / max(float((expected**2).sum()), 1e-300)
    return Traffic(weights, max(0.0, float(beyond)), y.size)


def _poisson_regression(x: Floats, y: Floats) -> Floats:
    """Maximise the Poisson likelihood by Newton's method; a step that makes it worse is halved."""
    weights = np.zeros(x.shape[1])
    weights[0] = np.log(y.mean() + 0.5)
    prior = weights.copy()
    ridge = _RIDGE * np.eye(x.shape[1])

    def loss(w: Floats) -> float:
        eta = np.minimum(x @ w, _LARGEST)
        return float(np.exp(eta).sum() - y @ eta + (w - prior) @ ridge @ (w - prior) / 2)

    best = loss(weights)
    for _ in range(_STEPS):
        mean = np.exp(np.minimum(x @ weights, _LARGEST))
        slope = x.T @ (mean - y) + ridge @ (weights - prior)
        step = np.linalg.solve((x.T * mean) @ x + ridge, slope)
        while (now := loss(weights - step)) > best + 1e-9 * abs(best):
            step = step / 2
        weights = weights - step
        if best - now <= 1e-12 * (1 + abs(best)):
            break
        best = now
    return weights


def count_surprise(count: ArrayLike, expected: ArrayLike, excess: ArrayLike = 0.0) -> Floats:
    """Give how surprising counts are: -ln of the probability of one as far off, on either side.

    Parameters
    ----------
    count, expected, excess : array_like, shapes that broadcast to (...)
        Events, how many were expected, and α as in `Traffic`.

    Returns
    -------
    array of float, shape (...)
        0 for what is not surprising at all; finite, whatever happened.

    Raises
    ------
    ValueError
        A count or an excess is negative, or nothing was expected.

    Examples
    --------
    >>> count_surprise([0, 10], 10.0).round(4).tolist()
    [9.3069, 0.0]
    """
    k, rate, alpha = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (count, expected, excess)))
    if not ((k >= 0) & (rate > 0) & (alpha >= 0) & np.isfinite(rate * alpha)).all():
        raise ValueError(f"no surprise can be told of {count!r} where {expected!r} ± {excess!r} were expected")
    # Below this, negative binomial and Poisson are the same to as many digits as matter.
    even = alpha * rate < 1e-7
    size = 1 / np.where(even, 1.0, alpha)
    p = size / (size + rate)
    few = np.where(even, special.gammaincc(k + 1, rate), special.betainc(size, k + 1, p))
    above = np.where(even, special.gammainc(np.maximum(k, 1), rate), special.betainc(np.maximum(k, 1), size, 1 - p))
    many = np.where(k > 0, above, 1.0)
    surprise: Floats = np.maximum(-np.log(np.maximum(2 * np.minimum(few, many), _LEAST)), 0.0)
    return surprise


def silence_surprise(rate: ArrayLike, seconds: ArrayLike) -> Floats:
    """Give how surprising a silence is: λ·t, -ln of the probability that nothing comes for so long.

    Parameters
    ----------
    rate : array_like, shape (...)
        Events expected a second.
    seconds : array_like, shape that broadcasts to (...)
        Since the last event, by a clock that goes on when events do not.

    Examples
    --------
    >>> silence_surprise(0.5, 60).tolist()
    30.0
    """
    surprise: Floats = np.asarray(rate, dtype=np.float64) * np.asarray(seconds, dtype=np.float64)
    if not (surprise >= 0).all():
        raise ValueError(f"a silence lasts 0 seconds or more, not {seconds!r} at {rate!r} events a second")
    return surprise
