"""Rules on rates: missed deadlines, errors, nulls, unknown requests, fallbacks."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from pydantic import Field

from birdwatch.detect.kind import Case, Keeps, State, fleet_counts
from birdwatch.detect.reference import MIN_BLOCKS, Reference, ReferenceChoice
from birdwatch.detect.share import ShareRule
from birdwatch.detect.tolerance import in_order
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.stats.calibration import least_tolerance
from birdwatch.stats.rates import bernoulli
from birdwatch.windows.pane import Counts, Pane, Series, counters, selection_of, total

__all__ = ["RateRule"]

_MOST: Final = 0.95
_TRIED: Final = 64

_FALLBACKS: Final = ("timed out", "all failed", "default")

_WORDS: Final = {
    "sla_misses": "answers came after their deadline",
    "fallbacks": "answers came from a fallback",
    "errors": "scores of {} were errors",
    "nulls": "scores of {} were null or not a number",
    "orphans": "scores of {} were for requests that nobody knows",
}


class RateRule(ShareRule):
    """The share of answers, or of a model's scores, that went wrong in one way."""

    example: ClassVar[Mapping[str, Any]] = {"of": "errors", "tolerance": 0.01}
    keeps: ClassVar[Keeps] = "nothing"

    kind: Literal["rate"] = Field(default="rate", description="A share of what went wrong.")
    of: Literal["sla_misses", "fallbacks", "errors", "nulls", "orphans"] = Field(
        description="`sla_misses` and `fallbacks` of all answers; `errors`, `nulls`, `orphans` of a model's scores."
    )
    tolerance: Literal["auto"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        default="auto", description="The share that is in order; `auto` learns it from the reference's blocks."
    )
    reference: ReferenceChoice = Field(
        default=ReferenceChoice(trailing=28 * 86_400), description="`{trailing: 28d}` or `{frozen: NAME}`."
    )
    least: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.001, description="What a learned tolerance is at the least: where nothing ever failed, one may."
    )

    @property
    def stream(self) -> str:
        """Answers are on the stream of metrics."""
        return "metrics" if self._of_fleet else "scores"

    @property
    def _of_fleet(self) -> bool:
        return self.of in ("sla_misses", "fallbacks")

    @property
    def compares_with(self) -> ReferenceChoice | None:
        """The reference, where the tolerance is learned from it."""
        return self.reference if self.tolerance == "auto" else None

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name the fleet, where there were answers; or every version that gave scores."""
        del known
        if not self._of_fleet:
            return self.versions(pane, "counts")
        return [Subject()] if counters(pane.get(Series("counts")))["decisions"] else []

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare the window's share with the most that is in order."""
        what = _WORDS[self.of].format(f"{case.subject.model} {case.subject.version}".strip())
        k, n = self._count(case.counts("counts"), fleet_counts(case.pane, "selection"))
        most = self.tolerance
        if most == "auto":
            taught = case.taught_by(self)
            if "tolerance" not in taught:
                blocks = int(taught.get("blocks", 0))
                reason = f"the reference has {blocks} of {MIN_BLOCKS} blocks that tell how many {what}"
                return self.say(case, "no data", reason, n=n), state
            most = taught["tolerance"]
        return self.weigh(case, k, n, most, what, state, threshold)

    def _count(self, counts: Counts, selection: Counts) -> tuple[int, int]:
        if self.of == "fallbacks":
            pairs = zip(selection.bins.tolist(), selection.counts.tolist(), strict=True)
            return sum(c for b, c in pairs if selection_of(b)[1] in _FALLBACKS), int(selection.counts.sum())
        found = counters(counts)
        return found[self.of], found["decisions" if self._of_fleet else "events"]

    def needs(self, subject: Subject) -> tuple[str, ...]:
        """Name the measures that it reads of its reference."""
        del subject
        return ("counts", "selection")

    def learned(self, reference: Reference, subject: Subject) -> dict[str, float]:
        """Learn the share that is in order; nothing from too few blocks."""
        blocks: list[tuple[int, int]] = []
        for block in reference.blocks:
            if subject.model in block.left_out:
                continue
            counts = total(
                c for s, c in block.pane.items() if (s.measure, s.model, s.segment) == ("counts", subject.model, "")
            )
            k, n = self._count(counts, fleet_counts(block.pane, "selection"))
            if n:
                blocks.append((k, n))
        if len(blocks) < MIN_BLOCKS:
            return {"blocks": len(blocks)}
        k_of, n_of = np.array(blocks, dtype=np.float64).T
        kept = in_order(k_of / n_of, self.severity)
        tried = np.geomspace(np.clip(k_of.sum() / n_of.sum(), self.least, _MOST), _MOST, _TRIED)
        tolerance = least_tolerance(tried, lambda p0: bernoulli(k_of[kept], n_of[kept], p0))
        return {"blocks": len(blocks), "tolerance": tolerance}
