"""What rules on a share have in common: k of n against the most that is in order, by evidence."""

from typing import Annotated, ClassVar

from pydantic import Field

from birdwatch.detect.alarm import step
from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.verdict import Verdict
from birdwatch.stats.rates import bernoulli

__all__ = ["ShareRule"]


class ShareRule(Rule):
    """A rule that alarms when the evidence says that a share is too high, and it is so by more than the floor."""

    spends: ClassVar[bool] = True

    min_events: Annotated[int, Field(ge=1)] = Field(default=20, description="Fewer events than these are no data.")
    floor: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="How far beyond what is in order the share must be."
    )

    def weigh(
        self, case: Case, k: int, n: int, most: float, what: str, state: State, threshold: float
    ) -> tuple[Verdict, State]:
        """Judge k of n against ``most``; ``what`` completes the sentence "12 of 900 (1.3 %) …"."""
        if n < self.min_events:
            reason = f"{n} events, fewer than {self.min_events}: no share of {what} can be told"
            return self.say(case, "no data", reason, n=n), state
        value = k / n
        decision = step(state, bernoulli(k, n, most), threshold=threshold, effect=value - most, floor=self.floor)
        reason = f"{k} of {n} ({value:.2%}) {what}; {most:.2%} is in order"
        if not decision.drifting and value > most:
            reason += ", and it is not yet certain that it is more"
        verdict = self.say(
            case,
            "drifting" if decision.drifting else "ok",
            reason,
            statistic="share",
            value=value,
            tolerance=most,
            effect=max(0.0, value - most),
            evidence=decision.evidence,
            threshold=threshold,
            n=n,
        )
        return verdict, decision.state
