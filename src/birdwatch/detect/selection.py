"""Rules on selection: which tier and which models answer, and why."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from birdwatch.detect.kind import Case, State
from birdwatch.detect.share import ShareRule
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.windows.pane import Pane, selection_of

__all__ = ["SelectionRule"]

_Share = Annotated[float, Field(gt=0, lt=1)]


class SelectionRule(ShareRule):
    """The share of answers that come from some models, a tier of the schedule, or for a reason: at least, or at most."""

    example: ClassVar[Mapping[str, Any]] = {"reason": "first choice", "at_least": 0.95}

    kind: Literal["selection"] = Field(default="selection", description="Who answers, and why.")
    reason: Literal["first choice", "timed out", "explored", "override", "all failed", "default"] | None = Field(
        default=None, description="Only answers chosen for this reason, such as `first choice`."
    )
    tier: Annotated[int, Field(ge=-1)] | None = Field(
        default=None, description="Only answers of this tier of the schedule, from 0; -1 is the default."
    )
    at_least: _Share | None = Field(default=None, description="The share of all answers that they must reach.")
    at_most: _Share | None = Field(default=None, description="The share of all answers that they must not exceed.")

    @model_validator(mode="after")
    def _one_bound(self) -> "SelectionRule":
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("write either `at_least` or `at_most`, a share in 0 to 1")
        return self

    @property
    def stream(self) -> str:
        """Answers are on the stream of metrics."""
        return "metrics"

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name the fleet, where there were answers."""
        del known
        return [Subject()] if any(s.measure == "selection" for s in pane) else []

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Count the answers that the rule is about, and weigh their share."""
        answers: Counter[tuple[str, int, str]] = Counter()
        for series, counts in case.pane.items():
            if series.measure == "selection" and not series.segment:
                for bin_, count in zip(counts.bins.tolist(), counts.counts.tolist(), strict=True):
                    answers[(series.model, *selection_of(bin_))] += count
        n = answers.total()
        k = sum(
            count
            for (model, tier, reason), count in answers.items()
            if self.matches(model) and self.tier in (None, tier) and self.reason in (None, reason)
        )
        named: list[str] = [self.reason] if self.reason else []
        named += [f"tier {self.tier}"] if self.tier is not None else []
        named += [self.model] if self.model != "*" else []
        which = ", ".join(named) or "any model"
        if self.at_least is not None:
            what, most, k = f"answers were not {which}", 1 - self.at_least, n - k
        else:
            what, most = f"answers were {which}", self.at_most or 0.0
        verdict, after = self.weigh(case, k, n, most, what, state, threshold)
        shares = {f"{model}, tier {tier}, {reason}": c / n for (model, tier, reason), c in sorted(answers.items())}
        return _with_details(verdict, shares), after


def _with_details(verdict: Verdict, shares: dict[str, float]) -> Verdict:
    return Verdict(
        **{name: getattr(verdict, name) for name in verdict.__struct_fields__} | {"details": {"shares": shares}}
    )
