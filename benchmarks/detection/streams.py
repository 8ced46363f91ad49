"""Many streams of panes side by side, each against a reference of its own.

A reference is 50,000 events drawn from N(0, 1) and counted on the grid. A pane is drawn as its counts between the cuts
of that reference, multinomial with the probabilities that the true distribution has there: the same law as that of
counting n events, a thousand times faster.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats.evidence import accumulate
from birdwatch.stats.grid import bins_of, upper_edges
from birdwatch.stats.shapes import Shapes, remember
from birdwatch.stats.steps import Steps
from birdwatch.windows.pane import Counts

__all__ = ["FORMS", "REFERENCE", "A", "Evidence", "Streams", "references"]

Floats = NDArray[np.float64]
Alternatives = Shapes | Steps

REFERENCE: Final = 50_000
A: Final = 525_600.0
"""One false page a model-year, at one pane a minute."""

FORMS: Final[dict[str, Callable[[Counts], Alternatives]]] = {
    "δ0 = 0": Shapes.of,
    "δ0 = .02": lambda reference: Steps.of(reference, 0.02),
}
"""Ours: without a tolerance, and with one."""


def references(number: int, seed: int) -> list[Counts]:
    """Draw references from N(0, 1)."""
    rng = np.random.default_rng(seed)
    return [Counts.of(bins_of(rng.normal(size=REFERENCE))) for _ in range(number)]


class Streams(NamedTuple):
    """Streams, and the alternatives that each is tested against."""

    alternatives: Alternatives
    """Of all, stacked: arrays have an axis for streams in front."""

    edges: Floats
    """Where the cuts of each lie, in the unit of scores, shape (streams, b - 1)."""

    @classmethod
    def against(cls, drawn: list[Counts], form: Callable[[Counts], Alternatives]) -> "Streams":
        """Lay alternatives around references; the few with other bins than most are left out."""
        each = [form(reference) for reference in drawn]
        sizes = [(alternatives.cuts.size, len(alternatives.names)) for alternatives in each]
        usual = max(set(sizes), key=sizes.count)
        alike = [alternatives for alternatives, size in zip(each, sizes, strict=True) if size == usual]
        edges = np.array([upper_edges(alternatives.cuts) for alternatives in alike])
        return cls(stacked(alike), edges)

    def probabilities(self, below: Callable[[Floats], Floats]) -> Floats:
        """Give the probability of each rank bin, shape (streams, b), of a distribution."""
        ends = np.zeros((len(self.edges), 1)), np.ones((len(self.edges), 1))
        return np.clip(np.diff(np.concatenate([ends[0], below(self.edges), ends[1]], axis=1)), 0, 1)


def stacked(each: list[Any]) -> Any:
    """Stack the arrays of several; weights and names are those of the first."""
    first = each[0]
    shared = {"weights", "names", "events"}
    arrays = {f: np.stack([getattr(one, f) for one in each]) for f in first._fields if f not in shared}
    return first._replace(**arrays)


class Evidence:
    """What a detector remembers of each stream, for one or several levels."""

    def __init__(self, streams: Streams, levels: tuple[float, ...] = (A,)) -> None:
        self._alternatives = streams.alternatives
        number, bins = len(streams.edges), streams.edges.shape[1] + 1
        self._levels = np.log(levels)
        self._kept = np.zeros((len(levels), number, len(self._alternatives.names)))
        self._recent = np.zeros((number, bins))

    def add(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Add a pane to each stream; give which alarm, shape (levels, streams). Those start again."""
        ratios = self._alternatives.log_ratios(counts, self._recent)
        self._recent = remember(self._recent, counts)
        evidence, self._kept = accumulate(self._kept, ratios, self._alternatives.weights)
        alarms = evidence >= self._levels[:, None]
        self._kept[alarms] = 0
        return alarms


def panes(
    rng: np.random.Generator, n: int, probabilities: Callable[[int], Floats], number: int
) -> Iterator[NDArray[np.int64]]:
    """Draw panes of n events, one after the other, from 1."""
    for pane in range(1, number + 1):
        yield rng.multinomial(n, probabilities(pane))
