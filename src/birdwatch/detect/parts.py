"""In which part of the traffic it is: an alarm looked into by the segments that the settings name.

Segments are not watched one by one, which would multiply what the budget has to pay for; they explain an alarm that is on.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from birdwatch.detect.disagreement import DisagreementRule, measured_by, share_apart
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.kind import Rule
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.reference import Reference
from birdwatch.detect.verdict import Verdict
from birdwatch.stats.distances import ks
from birdwatch.stats.grid import Scale
from birdwatch.stats.quantiles import size
from birdwatch.windows.pane import FIXED_POINT, PAIR_COUNTERS, Counts, Pane, counters, total
from birdwatch.windows.segments import bands, fold, segments
from birdwatch.windows.store import Store

__all__ = ["Part", "with_parts"]

_FEWEST: Final = 20
"""A part with fewer requests, now or before, says nothing."""

_MOST_TOLD: Final = 5


class Part(NamedTuple):
    """One segment of an alarm: how much it shows, how much it usually does, and of how many requests."""

    segment: str
    value: float
    usual: float
    n: int


Look = Callable[[Counts, Counts], tuple[float, float]]
"""From what a segment has now and had before to what it shows, and usually does."""


def with_parts(store: Store, rule: Rule, verdict: Verdict, reference: Reference | None, scale: Scale) -> Verdict:
    """Add to a verdict that alarmed which segments moved most, the first of them in words."""
    looked = _look(rule, verdict, scale)
    if looked is None or reference is None:
        return verdict
    measure, look, says = looked
    since = int(verdict.details.get("since", verdict.start))
    found = _parts(store, verdict, measure, look, (since, verdict.end), (reference.since, reference.until))
    if not found:
        return verdict
    first = found[0]
    told = f"; most in {first.segment} ({says(first)})" if first.value > first.usual else ""
    return msgspec.structs.replace(
        verdict,
        reason=verdict.reason + told,
        details={**verdict.details, "segments": [part._asdict() for part in found[:_MOST_TOLD]]},
    )


def _parts(
    store: Store, verdict: Verdict, measure: str, look: Look, now: tuple[int, int], before: tuple[int, int]
) -> list[Part]:
    """Give the segments, that with the surest difference first."""
    whom = verdict.subject
    asked = store.pane(*before, measure="counts", model="")
    edges = {name: bands(asked, name) for name in segments(asked)}
    ours, theirs = (_folded(store.pane(*which, measure=measure, model=whom.model), edges) for which in (now, before))
    found: list[tuple[float, Part]] = []
    for segment in sorted({s.segment for s in ours if s.segment}):
        mine = total(
            c
            for s, c in ours.items()
            if s.segment == segment and (s.version, s.partner) == (whom.version, whom.partner)
        )
        was = total(c for s, c in theirs.items() if s.segment == segment and s.partner == whom.partner)
        n, m = (_requests(measure, counts) for counts in (mine, was))
        if min(n, m) >= _FEWEST:
            value, usual = look(mine, was)
            found.append(((value - usual) * float(np.sqrt(n)), Part(segment, value, usual, n)))
    return [part for _, part in sorted(found, key=lambda each: -each[0])]


def _folded(pane: Pane, edges: Mapping[str, list[float]]) -> Pane:
    """Give what was counted by segment, numbers folded into the quarters of what they were before."""
    return {series: counts for name, of in edges.items() for series, counts in fold(pane, name, of).items()}


def _requests(measure: str, counts: Counts) -> int:
    return counters(counts, PAIR_COUNTERS)["n"] if measure == "pair" else size(counts)


def _look(rule: Rule, verdict: Verdict, scale: Scale) -> tuple[str, Look, Callable[[Part], str]] | None:
    if isinstance(rule, DisagreementRule) and "usual" in verdict.details:
        usual = int(verdict.details["usual"])
        return (
            measured_by(scale),
            lambda now, was: (share_apart(now, usual, scale), share_apart(was, usual, scale)),
            _of_share,
        )
    if isinstance(rule, PairedRule):
        return "pair", lambda now, was: (abs(_mean(now) - _mean(was)), 0.0), _of_mean
    if isinstance(rule, DistributionRule) and rule.of == "scores":
        return "score", lambda now, was: (ks(now, was).value, 0.0), _of_distance
    return None


def _mean(pair: Counts) -> float:
    sums: Mapping[str, Any] = counters(pair, PAIR_COUNTERS)
    return float(sums["sum"] / FIXED_POINT / max(sums["n"], 1))


def _of_share(part: Part) -> str:
    return f"{part.value:.0%} of {part.n:,}, usually {part.usual:.0%}"


def _of_mean(part: Part) -> str:
    return f"{part.value:.3g} off on {part.n:,}"


def _of_distance(part: Part) -> str:
    return f"KS {part.value:.2f} on {part.n:,}"
