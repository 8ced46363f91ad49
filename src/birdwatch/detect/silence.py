"""Rules on silence: no requests where there used to be some, and models that stopped answering them."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.windows.pane import Pane, Series, counters

__all__ = ["SilenceRule"]


class SilenceRule(Rule):
    """No data, as a finding of its own: the fleet was asked nothing, or a live model scored too few of the requests.

    Over streams without requests, the model that scored most stands for how many there were.
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

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name the fleet, and every model seen in this window or an earlier one."""
        seen = {Subject(s.model) for s in pane if s.measure == "counts" and s.model and self.matches(s.model)}
        return sorted({Subject(), *seen, *known})

    def alarms(self, verdict: Verdict) -> bool:
        """Tell whether an operator hears of it: a silence does, being too few to tell does not."""
        return verdict.status == "error" or verdict.effect > 0

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare who spoke with who was expected to."""
        del threshold
        by_model: dict[str, int] = {}
        for series, counts in case.pane.items():
            if series.measure == "counts" and series.model and not series.segment:
                by_model[series.model] = by_model.get(series.model, 0) + counters(counts)["events"]
        asked = counters(case.pane.get(Series("counts")))["requests"] or max(by_model.values(), default=0)
        if not case.subject.model:
            if asked or not state.get("seen"):
                reason = f"{asked} requests" if asked else "nothing has come yet"
                return self.say(case, "ok", reason, statistic="requests", value=float(asked), n=asked), {"seen": True}
            reason = "no request came in the whole window"
            return self.say(case, "no data", reason, statistic="requests", value=0.0, tolerance=1.0, effect=1.0), state
        model, scored = case.subject.model, by_model.get(case.subject.model, 0)
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
