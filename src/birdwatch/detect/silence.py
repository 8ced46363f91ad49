"""Rules on silence: no requests where there used to be some, and models that stopped answering them."""

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.reference import ReferenceChoice
from birdwatch.detect.traffic import expected_requests, requests_of, scored_by
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.stats.silence import silence_surprise
from birdwatch.windows.pane import Pane

__all__ = ["SilenceRule"]

_SURPRISE: Final = math.log(1_000)
"""A silence that is longer by chance once in a thousand windows is one."""


class SilenceRule(Rule):
    """No data, as a finding of its own: the fleet was asked nothing, or a live model scored too few of the requests.

    Over streams without requests, the model that scored most stands for how many there were. Where it knows a reference,
    the fleet is silent only if requests were expected at this hour: an empty night is none.
    """

    judges_ended: ClassVar[bool] = False
    example: ClassVar[Mapping[str, Any]] = {"share": 0.5}

    kind: Literal["silence"] = Field(default="silence", description="Requests or scores that do not come.")
    min_events: Annotated[int, Field(ge=1)] = Field(
        default=20, description="Among fewer requests than these no model is called silent."
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="The share of the requests that a live model must score."
    )

    reference: ReferenceChoice | None = Field(
        default=None,
        description="From where it knows how many requests to expect, `{trailing: 14d}`; without it, always some.",
    )

    @property
    def compares_with(self) -> ReferenceChoice | None:
        """The reference, if it has one."""
        return self.reference

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name the fleet, and every model seen in this window or an earlier one."""
        seen = {Subject(s.model) for s in pane if s.measure == "counts" and s.model and self.matches(s.model)}
        return sorted({Subject(), *seen, *known})

    def needs(self, subject: Subject) -> tuple[str, ...]:
        """Name the measures that it reads of its reference."""
        del subject
        return ("counts",)

    def alarms(self, verdict: Verdict) -> bool:
        """Tell whether an operator hears of it: a silence does, being too few to tell does not."""
        return verdict.status == "error" or verdict.effect > 0

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare who spoke with who was expected to."""
        del threshold
        asked = requests_of(case.pane)
        if not case.subject.model:
            if asked or not state.get("seen"):
                reason = f"{asked} requests" if asked else "nothing has come yet"
                return self.say(case, "ok", reason, statistic="requests", value=float(asked), n=asked), {"seen": True}
            return self._silent(case), state
        model = case.subject.model
        scored = scored_by(case.pane, model)
        after: State = {"seen": True} if scored else state
        share = scored / max(asked, 1)
        measured: dict[str, Any] = {"statistic": "share scored", "value": share, "tolerance": self.share, "n": scored}
        if asked < self.min_events:
            reason = f"{asked} requests are too few to tell whether {model} is silent"
            return self.say(case, "no data", reason, **measured), after
        reason = f"{model} scored {scored} of {asked} requests ({share:.0%})"
        if share >= self.share:
            return self.say(case, "ok", reason, **measured), after
        if not state.get("seen"):
            return self.say(case, "ok", f"{reason}; it is new in this window", **measured), after
        reason += f", fewer than {self.share:.0%}"
        return self.say(case, "no data", reason, effect=self.share - share, **measured), after

    def _silent(self, case: Case) -> Verdict:
        """Say of a window without requests how surprising that is."""
        reason = "no request came in the whole window"
        found = expected_requests(case.reference, case.start) if case.reference else 0
        if not isinstance(found, int):
            window = case.end - case.start
            surprise = float(silence_surprise(found.least / window, window))
            reason += f", where {found}"
            if surprise < _SURPRISE:
                return self.say(case, "ok", reason, statistic="requests", value=0.0)
        return self.say(case, "no data", reason, statistic="requests", value=0.0, tolerance=1.0, effect=1.0)
