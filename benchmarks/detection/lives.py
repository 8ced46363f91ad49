"""A fleet of models that see the same requests, and are never quite the same from one hour to the next.

Traffic rises and falls within the day; what is asked wobbles from hour to hour and from day to day, for all models
alike; and each model wobbles by itself beside that, a little. One is the champion, one the canary, which the champion is
compared with; all others are compared with the champion.

Panes are counted as the tail counts them. What a model does is drawn by seeds of its own, so that a month in which it
breaks is the same month until then, and for all others.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import expit

from birdwatch.detect.reference import DAY
from birdwatch.stats.grid import bins_of
from birdwatch.windows.joint import joint_bins
from birdwatch.windows.pane import COUNTERS, FIXED_POINT, Counts, Pane, Series

__all__ = ["CANARY", "CHAMPION", "FAULTS", "HOUR", "Fleet"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR: Final = 3_600
CHAMPION: Final = "champion"
CANARY: Final = "canary"

PERMUTED: Final = "permuted scores"
ERRORS: Final = "errors tripled"
LATENCY: Final = "latency tripled"
FAULTS: Final = (PERMUTED, ERRORS, LATENCY)
"""How a model breaks; scores that are permuted go to another request of their hour."""

_TRAFFIC_SWING: Final = 0.6
_INPUT_SWING: Final = 0.2
_INPUTS: Final = (-1.5, 0.8)
"""Mean and standard deviation of what is asked, as the log odds that an ideal model would give."""

_WOBBLES: Final = ((1, 0.8, 0.05), (24, 0.5, 0.05))
"""What the inputs wobble by: over how many hours, how much of it is left after as many, its standard deviation."""

_OWN: Final = 0.3
"""How much a model wobbles by itself, beside that."""

_NOISE: Final = {CHAMPION: 0.1, CANARY: 0.3}
_CHALLENGERS_NOISE: Final = 0.15
_ERRORS: Final = (0.005, 3.0)
"""Which share of its scores are errors, and by how much more than the scores that wobbles."""

_SECONDS: Final = (0.04, 0.55)
"""The median of the time inside a model, and the spread of its logarithm."""


class Fleet:
    """Models, and what they are asked.

    Parameters
    ----------
    models
        How many, champion and canary among them.
    days
        For how long they live.
    requests
        How many are asked in an hour, on average.
    seed
        What is drawn is the same for the same seed; of more models the first are the same.
    most
        How far each wobble goes, in its standard deviations: where it would go further, it stays there. Without such a
        bound every month has an hour that no month before it had.
    """

    def __init__(self, models: int, days: int, requests: int, seed: int, most: float = np.inf) -> None:
        self.names = (CHAMPION, CANARY, *(f"challenger-{i}" for i in range(1, models - 1)))
        self._seed, self._most = seed, most
        rng = np.random.default_rng([seed, 0])
        hours = np.arange(days * 24)
        rhythm = np.sin(2 * np.pi * (hours % 24 - 9) / 24)
        self._hours = np.repeat(hours, rng.poisson(requests * (1 + _TRAFFIC_SWING * rhythm)))
        mean, deviation = _INPUTS
        asked = mean + _INPUT_SWING * rhythm + _wobble(rng, hours.size, most)
        self._asked = asked[self._hours] + rng.normal(0, deviation, self._hours.size)
        self._partners = {name: self._scores(name, 1.0) for name in (CHAMPION, CANARY)}

    def life(self, name: str, fault: str = "", since: int = 0) -> dict[int, list[Pane]]:
        """Give the panes of a model, from its first day on, by the length of a window: an hour or a day.

        Parameters
        ----------
        fault
            One of `FAULTS`, if it breaks.
        since
            The day on which it does.
        """
        bad = self._hours >= since * 24 if fault else np.zeros(self._hours.size, dtype=np.bool_)
        scores = self._scores(name, np.where(bad & (fault == ERRORS), 3.0, 1.0))
        if fault == PERMUTED:
            shuffled = np.lexsort((self._rng(name, "permuted").random(scores.size), self._hours))
            scores = np.where(bad, scores[shuffled], scores)
        there, days, own = np.isfinite(scores), self._hours // 24, (name, "1")
        seconds = self._seconds(name) * np.where(bad & (fault == LATENCY), 3.0, 1.0)
        events, errors = COUNTERS.index("events"), COUNTERS.index("errors")
        which = np.concatenate([np.full(days.size, events), np.full(int((~there).sum()), errors)])
        daily = {
            Series("counts", *own): _by_window(np.concatenate([days, days[~there]]), which),
            Series("score", *own): _by_window(days[there], bins_of(scores[there], "probability")),
            Series("latency.model", *own): _by_window(days, bins_of(seconds)),
        }
        return {DAY: _panes(daily), HOUR: _panes(self._pair(name, scores))}

    def _pair(self, name: str, scores: Floats) -> dict[Series, dict[int, Counts]]:
        """Count a model beside its partner, by the hour."""
        if name == CANARY:
            return {}
        partner = CANARY if name == CHAMPION else CHAMPION
        met = np.isfinite(scores) & np.isfinite(self._partners[partner])
        hours, ours, theirs = self._hours[met], scores[met], self._partners[partner][met]
        d = ours - theirs
        terms = np.stack([np.ones_like(d), np.rint(d * FIXED_POINT), np.ceil(d * d * FIXED_POINT)]).astype(np.int64)
        at, first = np.unique(hours, return_index=True)
        sums = np.add.reduceat(terms, first, axis=1)
        apart = bins_of(ours, "probability") - bins_of(theirs, "probability")
        who = (name, "1", partner)
        return {
            Series("pair", *who): {int(hour): Counts.of(range(3), sums[:, i]) for i, hour in enumerate(at)},
            Series("apart", *who): _by_window(hours, apart),
            Series("joint", *who): _by_window(hours, joint_bins(ours, theirs, "probability")),
        }

    def _scores(self, name: str, times: float | Floats) -> Floats:
        """Draw the scores of a model, NaN where it failed: ``times`` as often as is usual."""
        rng = self._rng(name, "scores")
        own = rng.normal(0, 0.05) + _OWN * _wobble(rng, int(self._hours[-1]) + 1, self._most)
        noise = rng.normal(0, _NOISE.get(name, _CHALLENGERS_NOISE), self._hours.size)
        share, strength = _ERRORS
        usual = share * np.exp(strength * _wobble(rng, own.size, self._most))
        failed = rng.random(self._hours.size) < usual[self._hours] * times
        found: Floats = np.where(failed, np.nan, expit(self._asked + own[self._hours] + noise))
        return found

    def _seconds(self, name: str) -> Floats:
        """Draw the time inside a model."""
        rng = self._rng(name, "seconds")
        median, spread = _SECONDS
        usual = np.log(median) + _wobble(rng, int(self._hours[-1]) + 1, self._most)
        found: Floats = np.exp(usual[self._hours] + rng.normal(0, spread, self._hours.size))
        return found

    def _rng(self, name: str, what: str) -> np.random.Generator:
        purpose = ("scores", "seconds", "permuted").index(what)
        return np.random.default_rng([self._seed, 1 + self.names.index(name), purpose])


def _wobble(rng: np.random.Generator, hours: int, most: float) -> Floats:
    """Draw what comes and goes, by the hour and by the day: normal and autoregressive, but for the bound."""
    total = np.zeros(hours)
    for length, stays, deviation in _WOBBLES:
        shocks = rng.normal(0, deviation * np.sqrt(1 - stays**2), -(-hours // length))
        shocks[0] /= np.sqrt(1 - stays**2)
        normal = lfilter([1.0], [1.0, -stays], shocks)
        total += np.repeat(np.clip(normal, -most * deviation, most * deviation), length)[:hours]
    return total


def _by_window(windows: Ints, bins: Ints) -> dict[int, Counts]:
    """Count bins by window."""
    low = int(bins.min(initial=0))
    span = int(bins.max(initial=0)) - low + 1  # of the joint histogram 2**40, so that there is room for the windows
    keys, counts = np.unique(windows * span + (bins - low), return_counts=True)
    windows, bins = np.divmod(keys, span)
    at, starts = np.unique(windows, return_index=True)
    ends = [*starts[1:], windows.size]
    return {int(w): Counts(bins[i:j] + low, counts[i:j]) for w, i, j in zip(at, starts, ends, strict=True)}


def _panes(found: dict[Series, dict[int, Counts]]) -> list[Pane]:
    """Lay measures of the same windows side by side."""
    last = max((max(of) for of in found.values()), default=-1)
    return [{series: of[window] for series, of in found.items() if window in of} for window in range(last + 1)]
