"""A distribution and what it was: the values of a window and of the blocks of a reference, numbers or categories.

Categories become numbers by the rank of their share in the reference, the most frequent first; what the reference never
had comes after all of them. So every distance and every bet is the same for both.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from birdwatch.detect.reference import Reference
from birdwatch.detect.tolerance import normal_noise
from birdwatch.detect.verdict import Subject
from birdwatch.detect.window import once
from birdwatch.stats.contributions import Contributions, contributions
from birdwatch.stats.distances import bucket_counts, bucket_cuts, jensen_shannon, ks, psi, wasserstein
from birdwatch.stats.grid import Scale
from birdwatch.stats.quantiles import quantiles, size
from birdwatch.windows.pane import PRESENCE, Counts, Series, total

__all__ = ["CATEGORY", "MISSING", "NUMBER", "Now", "Past"]

NUMBER: Final = "feature."
CATEGORY: Final = "category."
MISSING: Final = "missing."

_MOST_TOLD: Final = 3

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_Found = TypeVar("_Found")


class Now(NamedTuple):
    """The values of a window, how many of how many requests had none (or none of the right type), and new categories."""

    values: Counts
    missing: int = 0
    of: int = 0
    new: tuple[str, ...] = ()


class Past(NamedTuple):
    """The same of each block of a reference.

    Attributes
    ----------
    blocks
        Values by block.
    gaps
        How many requests of how many had none.
    categories
        Their names by rank; None for numbers.
    measure
        Where they are counted.
    summed
        Of how many blocks the only one is the sum; None where they are as they were.
    sums
        That sum, of which what is asked again and again is worked out once (see `once`).
    """

    blocks: list[Counts]
    gaps: list[tuple[int, int]]
    categories: tuple[str, ...] | None
    measure: str
    summed: int | None = None
    sums: Mapping[Series, Counts] = MappingProxyType({})

    @classmethod
    def of(cls, reference: Reference | None, subject: Subject) -> Self:
        """Read what a reference has of a subject."""
        if reference is None:
            return cls([], [], None, NUMBER + subject.feature if subject.feature else "score")
        if not subject.feature:
            return cls(reference.counts("score", subject.model), [], None, "score", reference.summed, _sums(reference))
        gaps = [_gap(c) for c in reference.counts(MISSING + subject.feature)]
        numbers = reference.counts(NUMBER + subject.feature)
        if numbers:
            return cls(numbers, gaps, None, NUMBER + subject.feature, reference.summed, _sums(reference))
        measure = CATEGORY + subject.feature
        blocks = [_by_category(block.pane, measure) for block in reference.blocks]
        names: dict[str, int] = {}
        for block in blocks:
            for name, n in block.items():
                names[name] = names.get(name, 0) + n
        ranked = tuple(sorted(names, key=lambda name: (-names[name], name)))
        ranks = [_ranks(block, ranked) for block in blocks if block]
        return cls(ranks, gaps, ranked, measure, reference.summed, _sums(reference))

    def now(self, pane: Mapping[Series, Counts], subject: Subject) -> Now:
        """Read a window's values."""
        if self.measure == "score":
            series = Series("score", subject.model, subject.version)
            return Now(pane.get(series) or Counts.of([]))
        missing, of = _gap(pane.get(Series(MISSING + subject.feature)) or Counts.of([]))
        if self.categories is None:
            return Now(pane.get(Series(self.measure)) or Counts.of([]), missing, of)
        found = _by_category(pane, self.measure)
        new = tuple(sorted(found.keys() - set(self.categories), key=lambda name: (-found[name], name)))
        return Now(_ranks(found, self.categories), missing, of, new)

    @property
    def n(self) -> int:
        """Give the number of its blocks."""
        return len(self.blocks) if self.summed is None else self.summed

    @property
    def missing_share(self) -> float:
        """Give the share of the reference's requests that had no value."""
        return sum(k for k, _ in self.gaps) / max(sum(n for _, n in self.gaps), 1)

    def missing_strayed(self, at: float) -> tuple[Floats, Floats]:
        """Give how far that share strayed upwards by block, and what sampling explains of it."""
        k, n = np.array(self.gaps or [(0, 1)], dtype=np.float64).T
        share = self.missing_share
        return np.maximum(k / np.maximum(n, 1) - share, 0), normal_noise(
            np.sqrt(share * (1 - share) / np.maximum(n, 1)), at
        )

    def once(self, name: str, work: Callable[[Counts], _Found]) -> _Found:
        """Give what ``work`` makes of its sum; where its blocks were summed up, it is made once, and known by its name."""
        return once(self.sums, f"{self.measure}: {name}", lambda _: work(total(self.blocks)))

    def told(self, now: Now, scale: Scale) -> str:
        """Say in words what is different."""
        if self.categories is None:
            return _of_medians(*self._medians(now, scale))
        return _of_shares(self.moved(now, scale))

    def moved(self, now: Now, scale: Scale) -> list[dict[str, Any]]:
        """Name the values whose share changed most: which, what it is now, what it was."""
        names, told = self.by_value(now, scale)
        return [
            {"value": names[i], "now": float(told.now[i]), "before": float(told.before[i])}
            for i in told.largest(_MOST_TOLD)
            if told.now[i] != told.before[i]
        ]

    def by_value(self, now: Now, scale: Scale) -> tuple[list[str], Contributions]:
        """Tell what is different value by value: what each bucket of them is called, and its shares."""
        whole = total(self.blocks)
        if self.categories is None:
            told = contributions(now.values, whole, self._buckets()[0], self._on(scale))
            return [_between(*edges) for edges in zip(told.lower, told.upper, strict=True)], told
        names = [*self.categories, f"new ({', '.join(now.new[:_MOST_TOLD])})"]
        return names, contributions(now.values, whole, np.arange(len(self.categories)))

    def details(self, now: Now, scale: Scale) -> dict[str, Any]:
        """Give what else helps to explain: other distances, percentiles, the values that moved most, and all that in words."""
        whole = total(self.blocks)
        on = self._on(scale)
        cuts, theirs = self._buckets()
        ours = bucket_counts(now.values, cuts)
        distance, moved = ks(now.values, whole), self.moved(now, scale)
        found: dict[str, Any] = {
            "ks": distance.value,
            "ks_error": distance.error,
            "psi": psi(ours, theirs),
            "jensen_shannon": jensen_shannon(ours, theirs),
            "moved": moved,
            "told": _of_shares(moved),
            "reference_blocks": self.n,
            "reference_events": size(whole),
        }
        if self.categories is None:
            middle, was = self._medians(now, scale)
            found |= {
                "wasserstein": wasserstein(now.values, whole, on).value,
                "median": middle,
                "reference_median": was,
                "told": _of_medians(middle, was),
            }
        return found

    def _buckets(self) -> tuple[Ints, Ints]:
        """Give the cuts between the buckets, and how many values were in each."""

        def work(whole: Counts) -> tuple[Ints, Ints]:
            cuts = bucket_cuts(whole)
            return cuts, bucket_counts(whole, cuts)

        return self.once("buckets", work)

    def _medians(self, now: Now, scale: Scale) -> tuple[float, float]:
        on = self._on(scale)
        was = self.once(f"median, {on}", lambda whole: quantiles(whole, [0.5], on)[0].value)
        return quantiles(now.values, [0.5], on)[0].value, was

    def _on(self, scale: Scale) -> Scale:
        return scale if self.measure == "score" else "real"


def _sums(reference: Reference) -> Mapping[Series, Counts]:
    return reference.blocks[0].pane if reference.summed and reference.blocks else MappingProxyType({})


def _gap(missing: Counts) -> tuple[int, int]:
    """Give how many requests had no value, or none of the right type, of how many."""
    present = int(missing.counts[missing.bins == PRESENCE.index("present")].sum())
    return size(missing) - present, size(missing)


def _by_category(pane: Mapping[Series, Counts], measure: str) -> dict[str, int]:
    return {s.segment: int(c.counts.sum()) for s, c in pane.items() if s.measure == measure}


def _ranks(categories: Mapping[str, int], ranked: Sequence[str]) -> Counts:
    places = {name: place for place, name in enumerate(ranked)}
    return Counts.of([places.get(name, len(ranked)) for name in categories], list(categories.values()))


def _of_medians(middle: float, was: float) -> str:
    return f"their median is {_say(middle)}, it was {_say(was)}"


def _of_shares(moved: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['value']} is {one['now']:.0%} of all, it was {one['before']:.0%}" for one in moved[:2])


def _between(low: float, high: float) -> str:
    if not np.isfinite(low):
        return f"up to {_say(high)}"
    return f"{_say(low)} to {_say(high)}" if np.isfinite(high) else f"from {_say(low)}"


def _say(number: float) -> str:
    """Write a number off the grid, whose bin of zeros is a hair wide.

    >>> _say(8.69e-311), _say(0.123456)
    ('0', '0.123')
    """
    return "0" if abs(number) < np.finfo(np.float64).tiny else f"{number:.3g}"
