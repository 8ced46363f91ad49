"""What the rewards so far say of each arm of a bandit: a Beta distribution, in which older evidence counts less.

Evidence fades by *forward decay* (Cormode, Shkapenyuk, Srivastava and Xu 2009): each reward is weighed once, by how long
after a fixed landmark its request came, and the sums are scaled when they are asked for. So rewards may come in any
order, hours late, and what is known in the end is the same.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, Self

__all__ = ["Posterior"]

_MOST_HALF_LIVES: Final = 64


class Posterior:
    """The Beta distributions of all arms that had a reward.

    Parameters
    ----------
    half_life_seconds
        The age, in event time, at which a reward counts half; None: all count alike for ever.
    prior
        α and β of an arm before its first reward.

    Attributes
    ----------
    latest
        The event time of the newest evidence; minus infinity before there is any.

    Examples
    --------
    >>> posterior = Posterior(half_life_seconds=60)
    >>> posterior.add("a", 1.0, ts=0.0)
    >>> posterior.add("a", 0.25, ts=60.0)
    >>> posterior.at(60.0)
    {'a': (1.75, 1.75)}
    """

    def __init__(self, half_life_seconds: float | None = None, prior: tuple[float, float] = (1.0, 1.0)) -> None:
        if half_life_seconds is not None and not 0 < half_life_seconds < math.inf:
            raise ValueError(f"a half-life is a positive number of seconds, not {half_life_seconds}; None for no decay")
        if not all(0 < parameter < math.inf for parameter in prior):
            raise ValueError(f"a prior has positive α and β, not {prior}")
        self.latest = -math.inf
        self._half_life = half_life_seconds
        self._prior = prior
        self._landmark = 0.0
        self._sums: dict[str, list[float]] = {}

    def add(self, arm: str, reward: float, ts: float) -> None:
        """Take a reward into account.

        Parameters
        ----------
        reward
            In [0, 1]; a fraction counts as that much success, and the rest as failure.
        ts
            The event time of the request that it is for.

        Raises
        ------
        ValueError
            The reward is outside [0, 1], or the time is not finite.
        """
        if not 0 <= reward <= 1:
            raise ValueError(f"a reward lies between 0 and 1, not at {reward}")
        if not math.isfinite(ts):
            raise ValueError(f"the time of a reward is finite, not {ts}")
        if self.latest == -math.inf:
            self._landmark = ts
        self.latest = max(self.latest, ts)
        self._move_landmark()
        weight = _weight(ts, self._landmark, self._half_life)
        sums = self._sums.setdefault(arm, [0.0, 0.0])
        sums[0] += weight * reward
        sums[1] += weight * (1 - reward)

    def at(self, now: float) -> dict[str, tuple[float, float]]:
        """Give α and β of every arm that had a reward.

        Parameters
        ----------
        now
            Event time. Before `latest` it is as at `latest`: evidence is never worth more than when it was new.
        """
        scale = _weight(self._landmark, max(now, self.latest), self._half_life) if self._sums else 1.0
        a, b = self._prior
        return {arm: (a + scale * wins, b + scale * losses) for arm, (wins, losses) in self._sums.items()}

    def state(self) -> dict[str, Any]:
        """Give all that is known, as plain JSON."""
        return {
            "half_life_seconds": self._half_life,
            "landmark": self._landmark,
            "latest": self.latest if self._sums else None,
            "sums": {arm: list(sums) for arm, sums in self._sums.items()},
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], half_life_seconds: float | None = None, prior: tuple[float, float] = (1.0, 1.0)
    ) -> Self:
        """Go on from what was known; under another half-life, that counts what it did at its latest evidence."""
        posterior = cls(half_life_seconds, prior)
        if state["latest"] is not None:
            landmark, latest, kept = float(state["landmark"]), float(state["latest"]), state["half_life_seconds"]
            scale = 1.0
            if kept != half_life_seconds:
                scale, landmark = _weight(landmark, latest, kept), latest
            posterior.latest, posterior._landmark = latest, landmark
            posterior._sums = {arm: [scale * wins, scale * losses] for arm, (wins, losses) in state["sums"].items()}
        return posterior

    def _move_landmark(self) -> None:
        """Keep the weights within what a float can hold: by whole half-lives, since a power of two rounds nothing."""
        if self._half_life is None:
            return
        behind = math.floor((self.latest - self._landmark) / self._half_life)
        if behind > _MOST_HALF_LIVES:
            self._landmark += behind * self._half_life
            self._sums = {arm: [math.ldexp(each, -behind) for each in sums] for arm, sums in self._sums.items()}


def _weight(ts: float, until: float, half_life_seconds: float | None) -> float:
    """Give what a reward of ``ts`` counts at ``until``."""
    return 1.0 if half_life_seconds is None else 2.0 ** ((ts - until) / half_life_seconds)
