"""Rules on latency: an objective on a percentile of one of its stages, by model, judged by evidence.

"p99 under 200 ms" says that at most 1 % take longer than 200 ms: a share, to be judged as any other, window after window.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from pydantic import Field

from birdwatch.detect.duration import Seconds
from birdwatch.detect.kind import Case, State
from birdwatch.detect.share import ShareRule
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.stats.grid import lower_edges
from birdwatch.stats.quantiles import PERCENTILES, quantiles, size
from birdwatch.windows.pane import Pane

__all__ = ["LatencyRule"]


class LatencyRule(ShareRule):
    """An objective on the time spent waiting for a model, inside it, or until the answer."""

    example: ClassVar[Mapping[str, Any]] = {"stage": "model", "objective": "200ms"}

    kind: Literal["latency"] = Field(default="latency", description="A percentile of latency.")
    stage: Literal["queue", "model", "answer"] = Field(
        description="`queue` (waiting for the model), `model` (inside it), `answer` (from receipt to answer)."
    )
    percentile: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.99, description="Which: .99 is p99.")
    objective: Seconds = Field(description="What it must not exceed, such as `200ms`.")

    @property
    def stream(self) -> str:
        """Answers are on the stream of metrics."""
        return "metrics" if self.stage == "answer" else "scores"

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name every version whose latency was measured."""
        del known
        return self.versions(pane, f"latency.{self.stage}")

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Weigh how many took longer than the objective; where the grid leaves it open, they did not."""
        found = case.counts(f"latency.{self.stage}")
        name = f"{case.subject.model} {case.subject.version}".strip()
        longer = int(found.counts[lower_edges(found.bins) > self.objective].sum())
        what = f"took longer than the objective of {self.objective:g} s"
        # 1 - .99 is not quite .01.
        most = round(1 - self.percentile, 12)
        verdict, after = self.weigh(case, longer, size(found), most, what, state, threshold)
        statistic = f"p{self.percentile * 100:g}"
        if verdict.status == "no data":
            return msgspec.structs.replace(verdict, statistic=statistic), after
        at, *others = quantiles(found, [self.percentile, *PERCENTILES])
        told = msgspec.structs.replace(
            verdict,
            reason=f"{statistic} of {name} ({self.stage}) was {at.value:.3g} s: {verdict.reason}",
            n=size(found),
            statistic=statistic,
            value=at.value,
            tolerance=self.objective,
            effect=max(0.0, at.lower - self.objective),
            details={
                "stage": self.stage,
                "percentile": self.percentile,
                **{f"p{p * 100:g}": q.value for p, q in zip(PERCENTILES, others, strict=True)},
            },
        )
        return told, after
