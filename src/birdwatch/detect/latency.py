"""Rules on latency: a percentile of one of its stages, by model, against an objective."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from birdwatch.detect.duration import Seconds
from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.stats.quantiles import PERCENTILES, quantiles, size
from birdwatch.windows.pane import Pane

__all__ = ["LatencyRule"]


class LatencyRule(Rule):
    """A percentile of the time spent waiting for a model, inside it, or until the answer, against an objective."""

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
        """Compare the percentile with the objective; where the grid leaves it open, it is in order."""
        del threshold
        found = case.counts(f"latency.{self.stage}")
        name = f"{case.subject.model} {case.subject.version}".strip()
        statistic, n = f"p{self.percentile * 100:g}", size(found)
        # The p99 of fifty events is their largest: ask for one event, at the least, that may lie beyond.
        needed = max(self.min_events, round(1 / (1 - self.percentile)))
        if n < needed:
            reason = f"{n} latencies of {name} were measured ({self.stage}), fewer than {needed}"
            return self.say(case, "no data", reason, statistic=statistic, n=n), state
        at, *others = quantiles(found, [self.percentile, *PERCENTILES])
        slow = at.lower > self.objective
        verdict = self.say(
            case,
            "drifting" if slow else "ok",
            f"{statistic} of {name} ({self.stage}) was {at.value:.3g} s over {n} requests,"
            f" {'over' if slow else 'within'} the objective of {self.objective:g} s",
            statistic=statistic,
            value=at.value,
            tolerance=self.objective,
            effect=max(0.0, at.lower - self.objective),
            n=n,
            details={f"p{p * 100:g}": q.value for p, q in zip(PERCENTILES, others, strict=True)},
        )
        return verdict, state
