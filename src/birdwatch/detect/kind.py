"""What every kind of rule has in common: a frozen configuration, and a pure function from a window to a verdict."""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from birdwatch.detect.duration import Duration
from birdwatch.detect.reference import Reference, ReferenceChoice
from birdwatch.detect.verdict import CLEAN_WINDOWS, FLAP_WINDOWS, Finding, Severity, Status, Subject, Verdict
from birdwatch.detect.window import once
from birdwatch.stats.grid import Scale
from birdwatch.windows.pane import Counts, Pane, Series, total
from birdwatch.windows.store import Extreme

__all__ = ["Case", "Keeps", "Rule", "State", "fleet_counts"]

State = dict[str, Any]
"""What a rule remembers of a subject from window to window: any JSON."""


class Case(NamedTuple):
    """What a rule is asked to judge: one subject in the window [start, end).

    Attributes
    ----------
    pane
        The sum of the window's panes, of all models: a rule picks what it needs.
    reference
        What it compares with, for rules that name one.
    scale, unit
        How scores are counted, see the settings.
    extremes
        The requests on which the subject and its partner disagreed most.
    taught
        What the rule learned from the reference (see `Rule.learned`), where that is known already.
    """

    subject: Subject
    start: int
    end: int
    pane: Mapping[Series, Counts]
    reference: Reference | None = None
    scale: Scale = "probability"
    unit: float = 1.0
    extremes: tuple[Extreme, ...] = ()
    taught: Mapping[str, float] | None = None

    def counts(self, measure: str) -> Counts:
        """Give one measure of the subject."""
        model, version, partner = self.subject.model, self.subject.version, self.subject.partner
        return self.pane.get(Series(measure, model, version, partner)) or Counts.of([])

    def taught_by(self, rule: "Rule") -> Mapping[str, float]:
        """Give what the reference teaches a rule."""
        if self.taught is not None:
            return self.taught
        return rule.learned(self.reference, self.subject) if self.reference else {}

    @property
    def against(self) -> str:
        """Name the reference."""
        return self.reference.name if self.reference else "the reference"


def fleet_counts(pane: Mapping[Series, Counts], measure: str) -> Counts:
    """Add up one measure over all models."""

    def work(of: Mapping[Series, Counts]) -> Counts:
        return total(c for s, c in of.items() if s.measure == measure and not s.segment)

    return once(pane, f"all {measure}", work)


Keeps = Literal["blocks", "sum", "nothing"]
"""What of a reference: its blocks as they are, the sum of them, or nothing."""


class Rule(BaseModel):
    """A rule: what to look at, over which window, and how loudly to speak.

    A kind is a subclass in a file of its own, named in `birdwatch.detect.rules.KINDS`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    spends: ClassVar[bool] = False
    """Its alarms are decided by evidence, and share the page budget."""
    judges_ended: ClassVar[bool] = True
    """A version that was taken out of service is still judged on its last window."""
    keeps: ClassVar[Keeps] = "blocks"
    """What it goes on to need of its reference, once it has learned from it (`learned`)."""
    example: ClassVar[Mapping[str, Any]] = {}
    """What a rule of this kind needs beside name and kind."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="What verdicts and alerts call it.")]
    kind: str = Field(description="What it measures.")
    window: Duration = Field(default=86_400, description="How much event time is judged at once: `1h`, `1d`.")
    model: str = Field(default="*", description="The models it is about; `*` and `?` stand for any text.")
    min_events: Annotated[int, Field(ge=1)] = Field(default=100, description="Fewer events than these are no data.")
    severity: Severity = Field(default="ticket", description="The most it may raise: page, ticket or info.")
    for_windows: Annotated[int, Field(ge=1)] = Field(
        default=1, alias="for", description="How many windows in a row must show it before it fires."
    )
    keep_firing_for: Annotated[int, Field(ge=1)] = Field(
        default=CLEAN_WINDOWS, description="How many windows in a row must be clean before it resolves."
    )
    flap_windows: Annotated[int, Field(ge=0)] = Field(
        default=FLAP_WINDOWS,
        description="When it fires for the fourth time in so many windows, as many must be clean before it resolves;"
        " 0: however often it fires.",
    )
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1.0, description="Its share of the page budget, beside the other rules': 2 is twice as much."
    )
    must_have_data: bool = Field(default=False, description="No data is then a finding, of the rule's own severity.")
    muted: bool = Field(default=False, description="Judge, and keep the verdicts, but tell nobody.")
    dry_run: bool = Field(default=False, description="Judge, show as info what it would have raised, and wake nobody.")
    description: str = Field(default="", description="What it is for.")
    runbook: str = Field(default="", description="What whoever is on call should do.")

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name whom the rule judges in a window; ``known`` are those it judged before."""
        raise NotImplementedError

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Judge one subject over one window; ``threshold`` is ln A. Pure: neither the case nor the state is changed."""
        raise NotImplementedError

    def learned(self, reference: Reference, subject: Subject) -> dict[str, float]:
        """Learn from a reference what is in order for a subject, by name; nothing by a rule that learns nothing."""
        del reference, subject
        return {}

    @property
    def stream(self) -> str:
        """The stream without which there is nothing to judge."""
        return "scores"

    @property
    def compares_with(self) -> ReferenceChoice | None:
        """The reference that it needs, or none."""
        return None

    def needs(self, subject: Subject) -> tuple[str, ...] | None:
        """Name the measures that it reads of its reference, those of the subject's model and partner; None is all."""
        del subject
        return None

    def alarms(self, verdict: Verdict) -> bool:
        """Tell whether an operator hears of a verdict."""
        return verdict.status in ("drifting", "error")

    def severity_of(self, verdict: Verdict) -> Severity:
        """Say how loudly to speak of a verdict: as loudly as it may, unless the kind knows of less."""
        del verdict
        return self.severity

    def matches(self, model: str) -> bool:
        """Tell whether the rule is about a model."""
        return fnmatchcase(model, self.model)

    def versions(self, pane: Pane, measure: str) -> list[Subject]:
        """Name the versions, and pairs, of which a measure was counted."""
        return sorted(
            Subject(s.model, s.version, s.partner)
            for s in pane
            if s.measure == measure and s.model and not s.segment and self.matches(s.model)
        )

    def say(self, case: Case, status: Status, reason: str, **more: Any) -> Verdict:
        """Give a verdict."""
        return Verdict(
            rule=self.name,
            kind=self.kind,
            start=case.start,
            end=case.end,
            subject=case.subject,
            status=status,
            reason=reason,
            **more,
        )

    def tell(self, subject: Subject, ts: int, *, active: bool, reason: str, **more: Any) -> Finding:
        """Give a finding: as urgent as the rule may be, unless ``more`` says otherwise."""
        told = {
            "severity": self.severity,
            "for_windows": self.for_windows,
            "keep_firing_for": self.keep_firing_for,
            "flap_windows": self.flap_windows,
            "runbook": self.runbook,
        }
        return Finding(rule=self.name, subject=subject, ts=ts, active=active, reason=reason, **(told | more))
