"""What rules on pairs have in common: a model against its partner, request by request, pane by pane."""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from pydantic import Field

from birdwatch.detect.alarm import Step
from birdwatch.detect.duration import say_moment
from birdwatch.detect.kind import Case, Keeps, Rule
from birdwatch.detect.reference import MIN_BLOCKS, ReferenceChoice
from birdwatch.detect.verdict import Severity, Subject, Verdict
from birdwatch.windows.pane import Pane

__all__ = ["PairRule"]


class PairRule(Rule):
    """A rule that compares the scores of two models for the same requests.

    What changes the inputs changes both, so it may wake somebody. The evidence grows from window to window, and a short
    window is seen to the sooner. What is in order is what the reference shows: the least tolerance under which the
    reference itself raises no evidence beyond chance (`birdwatch.stats.calibration`). For a ticket, its worst
    twentieth is left out of that.
    """

    spends: ClassVar[bool] = True
    keeps: ClassVar[Keeps] = "nothing"
    example: ClassVar[Mapping[str, Any]] = {"reference": {"trailing": "91d"}}

    severity: Severity = Field(default="page", description="The most it may raise: page, ticket or info.")
    partner: str = Field(default="*", description="The partners it is about; `*` and `?` stand for any text.")
    reference: ReferenceChoice = Field(
        default=ReferenceChoice(trailing=91 * 86_400), description="`{trailing: 91d}` or `{frozen: NAME}`."
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
        return fnmatchcase(partner, self.partner)

    def untold(self, case: Case, statistic: str, reason: str) -> Verdict:
        """Say that there is nothing to judge by."""
        return self.say(case, "no data", reason, statistic=statistic)

    def too_short(self, case: Case, statistic: str, blocks: int) -> Verdict:
        """Say that the reference is too short to learn from."""
        return self.untold(
            case, statistic, f"the reference has {blocks} of {MIN_BLOCKS} blocks of {who(case.subject)} to learn from"
        )

    def decided(
        self, case: Case, step: Step, threshold: float, statistic: str, reason: str, details: Mapping[str, Any]
    ) -> Verdict:
        """Give the verdict that a step of the evidence comes to."""
        if not step.drifting and step.measured.effect > 0:
            reason += ", which is too little, or not yet certain enough, to alarm"
        largest = [
            {"request_id": e.request_id, "score": e.score, "partner_score": e.partner_score} for e in case.extremes
        ]
        return self.say(
            case,
            "drifting" if step.drifting else "ok",
            reason,
            statistic=statistic,
            **step.said(threshold),
            details={**details, "since": step.since, "largest": largest},
        )


def who(subject: Subject) -> str:
    """Name a pair."""
    return f"{subject.model} {subject.version}".strip() + f" and {subject.partner}"


def of_requests(step: Step) -> str:
    """Say of which requests a step speaks."""
    return f"of {step.n:,} requests" + (f" since {say_moment(step.since)}" if step.drifting else "")
