"""What rules on a share have in common: k of n against the most that is in order, by evidence."""

from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birdwatch.detect.alarm import Measured, Window, step
from birdwatch.detect.duration import say_moment
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
        """Judge k of n against ``most``; ``what`` completes the sentence "12 of 900 (1.3 %) …".

        A window of few events adds to the evidence like any other, and by itself it says nothing.
        """
        if not n:
            return self.say(case, "no data", f"no event, of which a share {what}"), state

        def measure(counted: NDArray[np.float64], _which: int) -> Measured:
            return Measured(float(counted[0] / counted[1]), most, self.floor)

        window = Window(case.start, n, bernoulli(k, n, most), [k, n], measure)
        found = step(state, window, threshold=threshold, min_events=self.min_events)
        share = found.measured.value
        reason = f"{round(share * found.n):,} of {found.n:,} ({share:.2%}) {what}; {most:.2%} is in order"
        if found.drifting and found.since < case.start:
            reason += f"; since {say_moment(found.since)}"
        elif not found.drifting and n < self.min_events:
            reason = f"{n} events, fewer than {self.min_events}: by itself that tells no share of {what}"
            return self.say(case, "no data", reason, evidence=found.evidence, threshold=threshold, n=n), found.state
        elif not found.drifting and share > most:
            reason += ", and it is not yet certain that it is more"
        verdict = self.say(
            case,
            "drifting" if found.drifting else "ok",
            reason,
            statistic="share",
            **found.said(threshold),
            details={"since": found.since},
        )
        return verdict, found.state
