"""Rules on the distribution of a model's scores: how far they lie from a reference, and whether that is usual."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.reference import MIN_BLOCKS, Reference, ReferenceChoice
from birdwatch.detect.tolerance import learn, level
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.stats.distances import (
    bucket_counts,
    bucket_cuts,
    jensen_shannon,
    ks,
    ks_leave_one_out,
    ks_noise,
    psi,
    psi_noise,
    wasserstein,
)
from birdwatch.stats.quantiles import quantiles, size
from birdwatch.windows.pane import Counts, Pane, total

__all__ = ["DistributionRule"]


class DistributionRule(Rule):
    """Scores against a reference, by the Kolmogorov-Smirnov distance or by PSI.

    They have moved when the distance, less what a sample of this size may show by chance, exceeds the tolerance. By
    default that is learned: each block of the reference is compared with all others, and the .95 quantile of these
    distances (their largest, if the rule may page) is in order, though never less than the floor.
    """

    example: ClassVar[Mapping[str, Any]] = {"reference": {"trailing": "28d"}}

    kind: Literal["distribution"] = Field(default="distribution", description="Scores against a reference.")
    reference: ReferenceChoice = Field(
        default=ReferenceChoice(trailing=28 * 86_400), description="`{trailing: 28d}` or `{frozen: NAME}`."
    )
    statistic: Literal["ks", "psi"] = Field(default="ks", description="The distance that decides: `ks` or `psi`.")
    tolerance: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        default="auto", description="How far is in order: `auto` learns it from the reference's blocks."
    )
    floor: Annotated[float, Field(ge=0)] = Field(
        default=0.02, description="What a learned tolerance is at the least: smaller changes matter to nobody."
    )

    @property
    def compares_with(self) -> ReferenceChoice:
        """The reference."""
        return self.reference

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name every version that gave scores."""
        del known
        return self.versions(pane, "score")

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare the window's scores with the reference's."""
        del threshold
        scores, n = case.counts("score"), size(case.counts("score"))
        name = f"{case.subject.model} {case.subject.version}".strip()
        blocks = case.reference.counts("score", case.subject.model) if case.reference else []
        needed = MIN_BLOCKS if self.tolerance == "auto" else 1
        missing = ""
        if n < self.min_events:
            missing = f"{name} gave {n} scores, fewer than {self.min_events}"
        elif len(blocks) < needed:
            missing = f"the reference has {len(blocks)} of {needed} blocks of {name}"
        elif case.reference and not case.reference.whole:
            missing = f"{name} was there for a part of the window, and {case.reference.name} has none but whole ones"
        if missing or case.reference is None:
            return self.say(case, "no data", missing or "there is no reference", statistic=self.statistic, n=n), state
        return self._compare(case, case.reference, scores, blocks, name), state

    def _compare(self, case: Case, reference: Reference, scores: Counts, blocks: list[Counts], name: str) -> Verdict:
        whole = total(blocks)
        n, m = size(scores), size(whole)
        cuts = bucket_cuts(whole)
        ours, theirs = bucket_counts(scores, cuts), bucket_counts(whole, cuts)
        distance, moved = ks(scores, whole), wasserstein(scores, whole, case.scale)
        stability = psi(ours, theirs)
        if self.statistic == "ks":
            value, noise = distance.value, float(ks_noise(n, m))
        else:
            value, noise = stability, psi_noise(n, m, ours.size)
        learned = self._learned(blocks) if self.tolerance == "auto" else self.tolerance
        tolerance = learned + noise
        drifting = value > tolerance
        middle, was = (quantiles(h, [0.5], case.scale)[0].value for h in (scores, whole))
        usual = f"the {tolerance:.2f} that {reference.name} and {n} scores allow"
        return self.say(
            case,
            "drifting" if drifting else "ok",
            f"the scores of {name} lie {value:.2f} ({self.statistic.upper()}) from {reference.name},"
            f" {'beyond' if drifting else 'within'} {usual}; their median is {middle:.3g}, it was {was:.3g}",
            statistic=self.statistic,
            value=value,
            tolerance=tolerance,
            effect=max(0.0, value - tolerance),
            n=n,
            details={
                "learned_tolerance": learned,
                "noise": noise,
                "ks": distance.value,
                "ks_error": distance.error,
                "psi": stability,
                "psi_noise": psi_noise(n, m, ours.size),
                "wasserstein": moved.value,
                "jensen_shannon": jensen_shannon(ours, theirs),
                "median": middle,
                "reference_median": was,
                "reference": reference.name,
                "reference_blocks": len(blocks),
                "reference_events": m,
            },
        )

    def _learned(self, blocks: list[Counts]) -> float:
        sizes = np.array([size(b) for b in blocks], dtype=np.float64)
        others, at = sizes.sum() - sizes, level(self.severity, len(blocks))
        if self.statistic == "ks":
            return max(self.floor, learn(ks_leave_one_out(blocks), ks_noise(sizes, others, at), self.severity))
        distances, noise = [], []
        for i, block in enumerate(blocks):
            rest = total(blocks[:i] + blocks[i + 1 :])
            cuts = bucket_cuts(rest)
            # PSI is a squared distance: learn() works in the unit of its root.
            distances.append(psi(bucket_counts(block, cuts), bucket_counts(rest, cuts)))
            noise.append(psi_noise(float(sizes[i]), float(others[i]), cuts.size + 1, at))
        return max(self.floor, learn(np.sqrt(distances), np.sqrt(noise), self.severity) ** 2)
