"""Rules with a number on a distance, window by window, as other tools have them."""

from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from birdwatch.detect.kind import Case, Keeps, Rule, State
from birdwatch.detect.past import CATEGORY, MISSING, NUMBER, Now, Past
from birdwatch.detect.reference import ReferenceChoice
from birdwatch.detect.verdict import Severity, Subject, Verdict
from birdwatch.stats.distances import (
    bucket_counts,
    bucket_cuts,
    chi_square,
    hellinger,
    jensen_shannon,
    ks,
    psi,
    total_variation,
    wasserstein,
)
from birdwatch.stats.grid import Scale
from birdwatch.stats.quantiles import moments, size
from birdwatch.windows.pane import Counts, Pane, counters, total

__all__ = ["ThresholdRule"]

_BUCKETED: Final[Mapping[str, Callable[[NDArray[np.int64], NDArray[np.int64]], float]]] = {
    "psi": psi,
    "jensen_shannon": jensen_shannon,
    "hellinger": hellinger,
    "chi_square": chi_square,
    "total_variation": total_variation,
}

_Level = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ThresholdRule(Rule):
    """A number on how far a window lies from a reference, by any distance.

    It spends none of the page budget and knows nothing of chance: how often it alarms though nothing changed is up to
    whoever set the number.
    """

    keeps: ClassVar[Keeps] = "sum"
    example: ClassVar[Mapping[str, Any]] = {"statistic": "psi", "warn": 0.1, "fail": 0.2}

    kind: Literal["threshold"] = Field(default="threshold", description="A number on a distance.")
    statistic: Literal[
        "psi",
        "ks",
        "wasserstein",
        "jensen_shannon",
        "hellinger",
        "chi_square",
        "total_variation",
        "mean",
        "null_rate",
    ] = Field(
        description="The distance; `mean` is how far the mean has moved, `null_rate` by how much the share of nulls grew."
    )
    of: Literal["scores", "features", "queue", "model", "answer"] = Field(
        default="scores",
        description="Of what: `scores`, the `features` that the settings watch, or the latency of a stage.",
    )
    feature: str = Field(default="*", description="The watched inputs it is about; `*` and `?` stand for any text.")
    warn: _Level | None = Field(default=None, description="Beyond it, a finding of severity `info`.")
    fail: _Level | None = Field(default=None, description="Beyond it, a finding of the rule's severity.")
    reference: ReferenceChoice = Field(
        default=ReferenceChoice(trailing=28 * 86_400), description="`{trailing: 28d}` or `{frozen: NAME}`."
    )
    min_events: Annotated[int, Field(ge=1)] = Field(
        default=200, description="Fewer events than these are no data: small windows lie far from anything."
    )

    @model_validator(mode="after")
    def _levels(self) -> "ThresholdRule":
        if self.warn is None and self.fail is None:
            raise ValueError("write `warn`, `fail`, or both")
        if self.warn is not None and self.fail is not None and self.warn > self.fail:
            raise ValueError(f"`warn: {self.warn:g}` lies beyond `fail: {self.fail:g}`")
        if self.statistic == "null_rate" and self.of not in ("scores", "features"):
            raise ValueError("`null_rate` is of scores or features")
        return self

    @property
    def stream(self) -> str:
        """Answers are on the stream of metrics, and watched inputs come with the requests."""
        streams = {"answer": "metrics", "features": "requests (with features that the settings watch)"}
        return streams.get(self.of, "scores")

    @property
    def compares_with(self) -> ReferenceChoice:
        """The reference."""
        return self.reference

    @property
    def _measure(self) -> str:
        if self.statistic == "null_rate":
            return "counts"
        return "score" if self.of == "scores" else f"latency.{self.of}"

    def severity_of(self, verdict: Verdict) -> Severity:
        """Say how loudly to speak: a warning is information."""
        return "info" if verdict.details.get("level") == "warn" else self.severity

    def needs(self, subject: Subject) -> tuple[str, ...]:
        """Name the measures that it reads of its reference."""
        name = subject.feature
        return (NUMBER + name, CATEGORY + name, MISSING + name) if name else (self._measure,)

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name every version of which it was counted, or every watched input."""
        del known
        if self.of != "features":
            return self.versions(pane, self._measure)
        seen = sorted({s.measure.removeprefix(MISSING) for s in pane if s.measure.startswith(MISSING)})
        return [Subject(feature=name) for name in seen if fnmatchcase(name, self.feature)]

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare the window's distance from the reference with the numbers."""
        del threshold
        name = case.subject.feature or f"{case.subject.model} {case.subject.version} ({self.of})"
        past, now = self._compared(case)
        if self.statistic == "null_rate":
            n, m = now.of, sum(of for _, of in past.gaps)
        else:
            n, m = size(now.values), size(total(past.blocks))
        missing = ""
        if n < self.min_events:
            missing = f"{n} events of {name}, fewer than {self.min_events}"
        elif not m:
            missing = f"{case.against} has nothing of {name}"
        elif case.reference and not case.reference.whole:
            missing = f"{name} was there for a part of the window, and {case.against} has none but whole ones"
        elif past.categories is not None and self.statistic in ("mean", "wasserstein"):
            missing = f"{name} is a category: it has no {self.statistic}"
        if missing:
            return self.say(case, "no data", missing, statistic=self.statistic, n=n), state
        value = self._distance(past, now, case.scale if self.of == "scores" else "real")
        beyond = [level for level in ("warn", "fail") if (most := getattr(self, level)) is not None and value > most]
        level = beyond[-1] if beyond else "warn" if self.warn is not None else "fail"
        most = float(getattr(self, level))
        verdict = self.say(
            case,
            "drifting" if beyond else "ok",
            f"{self.statistic} of {name} is {value:.3g} from {case.against},"
            f" {'beyond' if beyond else 'within'} `{level}: {most:g}`",
            statistic=self.statistic,
            value=value,
            tolerance=most,
            effect=max(0.0, value - most),
            n=n,
            details={"level": level if beyond else "", "reference_events": m},
        )
        return verdict, state

    def _compared(self, case: Case) -> tuple[Past, Now]:
        """Give what it was, by block, and what it is."""
        if self.of == "features" or (self.of == "scores" and self.statistic != "null_rate"):
            past = Past.of(case.reference, case.subject)
            return past, past.now(case.pane, case.subject)
        found = case.reference.counts(self._measure, case.subject.model) if case.reference else []
        now = case.counts(self._measure)
        if self.statistic == "null_rate":
            return Past([], [_nulls(c) for c in found], None, self._measure), Now(Counts.of([]), *_nulls(now))
        return Past(found, [], None, self._measure), Now(now)

    def _distance(self, past: Past, now: Now, scale: Scale) -> float:
        if self.statistic == "null_rate":
            return max(0.0, now.missing / now.of - past.missing_share)
        whole = total(past.blocks)
        if self.statistic == "mean":
            return abs(moments(now.values, scale)[0] - moments(whole, scale)[0])
        if self.statistic == "ks":
            return ks(now.values, whole).value
        if self.statistic == "wasserstein":
            return wasserstein(now.values, whole, scale).value
        cuts = bucket_cuts(whole) if past.categories is None else np.arange(len(past.categories))
        return _BUCKETED[self.statistic](bucket_counts(now.values, cuts), bucket_counts(whole, cuts))


def _nulls(counts: Counts) -> tuple[int, int]:
    found = counters(counts)
    return found["nulls"], found["events"]
