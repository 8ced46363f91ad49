"""What happens to scores: mixtures of normals, as they are or as they come to be."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import integrate
from scipy.stats import norm

__all__ = ["NAMED", "UNCHANGED", "UNNAMED", "Change"]

Floats = NDArray[np.float64]


class Change(NamedTuple):
    """From N(0, 1) to a mixture of normals; one without spread is a value that is stuck."""

    name: str
    parts: tuple[tuple[float, float, float], ...]
    """Share, mean and standard deviation of each."""

    ramp: int = 0
    """Over how many panes the means come to be."""

    def at(self, pane: int) -> tuple[tuple[float, float, float], ...]:
        """Give the parts in the pane'th pane since the change began, from 1."""
        grown = min(1.0, pane / self.ramp) if self.ramp else 1.0
        return tuple((share, grown * mean, deviation) for share, mean, deviation in self.parts)

    def below(self, x: Floats, pane: int) -> Floats:
        """Give P(score < x)."""
        total = np.zeros_like(x)
        for share, mean, deviation in self.at(pane):
            total += share * (norm.cdf(x, mean, deviation) if deviation else x > mean)
        return total

    def sample(self, rng: np.random.Generator, n: int, pane: int) -> Floats:
        """Draw the events of a pane."""
        shares, means, deviations = (np.array(each) for each in zip(*self.at(pane), strict=True))
        which = rng.choice(shares.size, size=n, p=shares)
        return rng.normal(means[which], deviations[which])

    def divergence(self) -> float:
        """Give the Kullback-Leibler divergence from N(0, 1) that an event brings: infinite for a value that is stuck."""
        if any(deviation == 0 for *_, deviation in self.parts):
            return np.inf

        def density(x: float) -> float:
            return sum(share * norm.pdf(x, mean, deviation) for share, mean, deviation in self.parts)

        bends = [m + s * d for _, m, d in self.parts for s in (-3, 0, 3)]
        found, _ = integrate.quad(
            lambda x: density(x) * (np.log(density(x)) - norm.logpdf(x)), -12, 14, points=bends, limit=500
        )
        return float(found)


UNCHANGED: Final = Change("nothing", ((1, 0, 1),))

NAMED: Final = (
    Change("mean .10 sd", ((1, 0.10, 1),)),
    Change("mean .25 sd", ((1, 0.25, 1),)),
    Change("scale 1.25", ((1, 0, 1.25),)),
    Change("5 % from N(4, .5)", ((0.95, 0, 1), (0.05, 4, 0.5))),
)
"""Those with a target."""

UNNAMED: Final = (
    Change("mean -.05 sd", ((1, -0.05, 1),)),
    Change("mean .15 sd", ((1, 0.15, 1),)),
    Change("mean -.70 sd", ((1, -0.70, 1),)),
    Change("scale 1.15", ((1, 0, 1.15),)),
    Change("scale .90", ((1, 0, 0.90),)),
    Change("two modes, N(±.8, .6)", ((0.5, -0.8, 0.6), (0.5, 0.8, 0.6))),
    Change("skew, 70 % N(-.3, .8), 30 % N(.7, 1.1)", ((0.7, -0.3, 0.8), (0.3, 0.7, 1.1))),
    Change("stuck at .3", ((1, 0.3, 0),)),
    Change("5 % stuck at .3", ((0.95, 0, 1), (0.05, 0.3, 0))),
    Change("1 % from N(4, .5)", ((0.99, 0, 1), (0.01, 4, 0.5))),
    Change("one segment of ten by 1 sd", ((0.9, 0, 1), (0.1, 1, 1))),
    Change("mean .50 sd, a ramp of 200 panes", ((1, 0.50, 1),), ramp=200),
)
"""Those that no alternative was made for."""
