"""Rules on pairs: a model against its partner, request by request, by evidence that keeps the page budget.

Two statistics, each with half of the pair's budget, since each sees what the other cannot: the mean of the difference,
and the share of requests on which the two disagree more than they used to (a fault that permutes scores moves no mean).
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
from pydantic import Field

from birdwatch.detect.alarm import Step, step
from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.reference import MIN_BLOCKS, ReferenceChoice
from birdwatch.detect.tolerance import learn, level, normal_noise
from birdwatch.detect.verdict import Severity, Subject, Verdict
from birdwatch.stats.grid import bins_of, lower_edges, upper_edges
from birdwatch.stats.means import bounded_mean
from birdwatch.stats.quantiles import moments, quantiles
from birdwatch.stats.rates import bernoulli
from birdwatch.windows.pane import FIXED_POINT, PAIR_COUNTERS, Counts, Pane, counters, total

__all__ = ["PairedRule"]

_USUAL: Final = 0.1
"""The share of differences that lie beyond their 90 % quantile while nothing has changed."""

_SMALL: Final = 0.2
"""Cohen's small effect, in standard deviations."""


class _Sums(NamedTuple):
    """Differences, model minus partner, in the unit of the scores."""

    n: int
    total: float
    squares: float
    clipped: int

    @classmethod
    def of(cls, pair: Counts, unit: float) -> "_Sums":
        found = counters(pair, PAIR_COUNTERS)
        part = unit / FIXED_POINT
        return cls(found["n"], found["sum"] * part, found["sum_of_squares"] * part * unit, found["clipped"])

    @property
    def mean(self) -> float:
        return self.total / max(self.n, 1)

    @property
    def spread(self) -> float:
        return float(np.sqrt(max(0.0, self.squares / max(self.n, 1) - self.mean**2)))


class _Part(NamedTuple):
    """One of the two statistics: what was measured, what is in order, and what came of it."""

    statistic: str
    value: float
    tolerance: float
    floor: float
    decision: Step

    @property
    def effect(self) -> float:
        return max(0.0, self.value - self.tolerance)


class PairedRule(Rule):
    """A model against its partner by request: the mean difference, and the share of large ones.

    What is in order is learned from the reference: the standing mean difference and the most that any block strayed
    from it; the 90 % quantile of the difference's size and the largest share that any block had beyond it. It alarms
    when the evidence reaches the level that keeps the page budget *and* the effect beyond the tolerance exceeds a
    floor, since enough data make any difference certain.
    """

    spends: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"reference": {"trailing": "28d"}}

    kind: Literal["paired"] = Field(default="paired", description="A model against its partner, by request.")
    severity: Severity = Field(default="page", description="The most it may raise: page, ticket or info.")
    partner: str = Field(default="*", description="The partners it is about; `*` and `?` stand for any text.")
    reference: ReferenceChoice = Field(
        default=ReferenceChoice(trailing=28 * 86_400), description="`{trailing: 28d}` or `{frozen: NAME}`."
    )
    tolerance: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        default="auto", description="How far the mean difference may stray, in the unit of the scores."
    )
    floor: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        default="auto", description="How far beyond that it must be; `auto` is .2 standard deviations of the partner."
    )
    disagreement_tolerance: Literal["auto"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        default="auto", description="The share that may disagree more than usual."
    )
    disagreement_floor: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="How far beyond that the share must be."
    )

    @property
    def stream(self) -> str:
        """Pairs come of scores."""
        return "scores (of two models for the same requests)"

    @property
    def compares_with(self) -> ReferenceChoice:
        """The reference."""
        return self.reference

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name every version and the partner it met."""
        del known
        return [s for s in self.versions(pane, "pair") if self.matches_partner(s.partner)]

    def matches_partner(self, partner: str) -> bool:
        """Tell whether the rule is about this partner."""
        return self.model_copy(update={"model": self.partner}).matches(partner)

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare the window's differences with the reference's."""
        sums = _Sums.of(case.counts("pair"), case.unit)
        who = f"{case.subject.model} {case.subject.version}".strip() + f" and {case.subject.partner}"
        model, partner = case.subject.model, case.subject.partner
        past = case.reference.counts("difference", model, partner) if case.reference else []
        if sums.n < self.min_events:
            reason = f"{who} both scored {sums.n} requests, fewer than {self.min_events}"
            return self.say(case, "no data", reason, statistic="disagreement", n=sums.n), state
        if len(past) < MIN_BLOCKS and self.tolerance == "auto":
            reason = f"the reference has {len(past)} of {MIN_BLOCKS} blocks of {who}"
            return self.say(case, "no data", reason, statistic="disagreement", n=sums.n), state
        parts: dict[str, _Part] = {}
        details: dict[str, Any] = {"mean": sums.mean, "spread": sums.spread, "clipped": sums.clipped}
        if len(past) >= MIN_BLOCKS:
            parts["disagreement"] = self._disagreement(case, past, state, threshold, details)
        parts["mean"] = self._mean(case, sums, state, threshold, details)
        return self._verdict(case, who, sums, parts, details, threshold), {
            name: part.decision.state for name, part in parts.items()
        }

    def _disagreement(
        self, case: Case, past: list[Counts], state: State, threshold: float, details: dict[str, Any]
    ) -> _Part:
        """Count the differences that are larger than nine in ten used to be."""
        sizes = [_sizes(block) for block in past]
        usual = quantiles(total(sizes), [1 - _USUAL])[0].upper
        last = int(bins_of([quantiles(total(sizes), [1 - _USUAL])[0].lower])[0])
        n = np.array([s.counts.sum() for s in sizes], dtype=np.float64)
        beyond = np.array([_beyond(s, last) for s in sizes], dtype=np.float64)
        share = max(_USUAL, float(beyond.sum() / n.sum()))
        if self.disagreement_tolerance == "auto":
            noise = normal_noise(np.sqrt(share * (1 - share) / n), level(self.severity, len(past)))
            tolerance = share + learn(np.maximum(beyond / n - share, 0.0), noise, self.severity)
        else:
            tolerance = self.disagreement_tolerance
        tolerance = min(tolerance, 0.999)
        now = _sizes(case.counts("difference"))
        k, of = _beyond(now, last), int(now.counts.sum())
        value = k / max(of, 1)
        details.update(
            usual_difference=usual, disagreement=value, disagreement_tolerance=tolerance, reference_blocks=len(past)
        )
        decision = step(
            state.get("disagreement", {}),
            bernoulli(k, of, tolerance),
            threshold=threshold,
            effect=value - tolerance,
            floor=self.disagreement_floor,
            weight=0.5,
        )
        return _Part("disagreement", value, tolerance, self.disagreement_floor, decision)

    def _mean(self, case: Case, sums: _Sums, state: State, threshold: float, details: dict[str, Any]) -> _Part:
        """Compare the mean difference with the one that has always been there."""
        model, partner = case.subject.model, case.subject.partner
        blocks = [
            _Sums.of(c, case.unit) for c in (case.reference.counts("pair", model, partner) if case.reference else [])
        ]
        known = len(blocks) >= MIN_BLOCKS
        n = np.array([b.n for b in blocks], dtype=np.float64)
        totals = np.array([b.total for b in blocks])
        centre = float(totals.sum() / n.sum()) if known else 0.0
        if self.tolerance == "auto":
            others = (totals.sum() - totals) / (n.sum() - n)
            noise = normal_noise(np.array([b.spread for b in blocks]) / np.sqrt(n), level(self.severity, len(blocks)))
            tolerance = learn(np.abs(totals / n - others), noise, self.severity)
        else:
            tolerance = self.tolerance
        scores = case.reference.counts("score", partner) if case.reference else []
        spread = moments(total(scores), case.scale)[1] if scores else sums.spread
        floor = _SMALL * spread if self.floor == "auto" else self.floor
        value = abs(sums.mean - centre)
        details.update(usual_mean=centre, mean_shift=value, mean_tolerance=tolerance, mean_floor=floor)
        if case.scale == "probability" and _within_one(case.counts("difference")):
            ratios = bounded_mean(sums.n, sums.total, sums.squares, centre=centre, margin=tolerance)
        else:
            # Without bounds on the scores there is no such evidence on their mean: disagreement decides alone.
            ratios = np.zeros(1)
        decision = step(
            state.get("mean", {}), ratios, threshold=threshold, effect=value - tolerance, floor=floor, weight=0.5
        )
        return _Part("mean", value, tolerance, floor, decision)

    def _verdict(
        self, case: Case, who: str, sums: _Sums, parts: dict[str, _Part], details: dict[str, Any], threshold: float
    ) -> Verdict:
        # Disagreement speaks for the pair, unless only the mean alarms.
        order = sorted(parts.values(), key=lambda p: (not p.decision.drifting, p.statistic != "disagreement"))
        part = order[0]
        drifting = part.decision.drifting
        if part.statistic == "disagreement":
            reason = (
                f"{who} differ by more than {details['usual_difference']:.3g} on {part.value:.0%} of {sums.n} requests;"
                f" up to {part.tolerance:.0%} has been usual"
            )
        else:
            reason = (
                f"the scores of {who} differ by {sums.mean:+.3g} on average over {sums.n} requests;"
                f" {details['usual_mean']:+.3g} ± {part.tolerance:.2g} has been usual"
            )
        if not drifting and part.effect > 0:
            reason += ", which is too little, or not yet certain enough, to alarm"
        details["largest"] = [
            {"request_id": e.request_id, "score": e.score, "partner_score": e.partner_score} for e in case.extremes
        ]
        return self.say(
            case,
            "drifting" if drifting else "ok",
            reason,
            statistic=part.statistic,
            value=part.value,
            tolerance=part.tolerance,
            effect=part.effect,
            evidence=part.decision.evidence,
            threshold=threshold,
            n=sums.n,
            details=details,
        )


def _sizes(difference: Counts) -> Counts:
    """Fold a histogram of differences into one of their sizes: the grid is symmetric, -x lies at -1 - bin(x)."""
    return Counts.of(np.where(difference.bins < 0, -1 - difference.bins, difference.bins), difference.counts)


def _beyond(sizes: Counts, last: int) -> int:
    return int(sizes.counts[sizes.bins > last].sum())


def _within_one(difference: Counts) -> bool:
    edges = np.concatenate([lower_edges(difference.bins[:1]), upper_edges(difference.bins[-1:])])
    return bool((np.abs(edges) <= upper_edges(bins_of([1.0]))).all())
