"""Rules on a distribution: whether the scores of a model, or a watched input, have moved from their reference."""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birdwatch.detect.alarm import Measured, Window, step
from birdwatch.detect.duration import say_moment
from birdwatch.detect.kind import Case, Keeps, Rule, State
from birdwatch.detect.past import CATEGORY, MISSING, NUMBER, Now, Past
from birdwatch.detect.reference import MIN_BLOCKS, Reference, ReferenceChoice
from birdwatch.detect.tolerance import learn, level
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.stats.distances import ks_leave_one_out, ks_noise
from birdwatch.stats.quantiles import size
from birdwatch.stats.rates import bernoulli
from birdwatch.stats.shapes import Shapes, remember
from birdwatch.stats.steps import Steps
from birdwatch.windows.pane import Counts, Pane

__all__ = ["DistributionRule"]

Floats = NDArray[np.float64]

_LEAST: Final = 0.001
_CERTAIN: Final = 0.98


class DistributionRule(Rule):
    """Scores, or watched inputs, against a reference, by evidence that keeps the budget.

    What is in order is a Kolmogorov-Smirnov distance. By default it is learned: each block of the reference is compared
    with all others, what sampling explains is taken out, and the .95 quantile of the distances (their largest, if the
    rule may page) is in order, though never less than the floor. With no tolerance at all, changes of shape far too small
    for a distance are found; real streams are seldom so still.
    """

    spends: ClassVar[bool] = True
    keeps: ClassVar[Keeps] = "sum"
    example: ClassVar[Mapping[str, Any]] = {"reference": {"trailing": "28d"}}

    kind: Literal["distribution"] = Field(default="distribution", description="Scores or inputs against a reference.")
    of: Literal["scores", "features"] = Field(
        default="scores", description="`scores` of each model, or the `features` that the settings watch."
    )
    feature: str = Field(default="*", description="The watched inputs it is about; `*` and `?` stand for any text.")
    reference: ReferenceChoice = Field(
        default=ReferenceChoice(trailing=28 * 86_400), description="`{trailing: 28d}` or `{frozen: NAME}`."
    )
    tolerance: Literal["auto"] | Annotated[float, Field(ge=0, lt=1)] = Field(
        default="auto", description="The distance that is in order: `auto` learns it from the reference's blocks."
    )
    floor: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.02, description="What the distance must be at the least: smaller changes matter to nobody."
    )

    @property
    def stream(self) -> str:
        """Watched inputs come with the requests."""
        return "scores" if self.of == "scores" else "requests (with features that the settings watch)"

    @property
    def compares_with(self) -> ReferenceChoice:
        """The reference."""
        return self.reference

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name every version that gave scores, or every watched input; one that was watched before stays."""
        if self.of == "scores":
            return self.versions(pane, "score")
        seen = {s.measure.removeprefix(MISSING) for s in pane if s.measure.startswith(MISSING)}
        names = seen | {subject.feature for subject in known if subject.feature}
        return [Subject(feature=name) for name in sorted(names) if fnmatchcase(name, self.feature)]

    def needs(self, subject: Subject) -> tuple[str, ...]:
        """Name the measures that it reads of its reference."""
        if self.of == "scores":
            return ("score",)
        return tuple(kind + subject.feature for kind in (NUMBER, CATEGORY, MISSING)) if subject.feature else ()

    def learned(self, reference: Reference, subject: Subject) -> dict[str, float]:
        """Learn how far the reference's blocks lie from each other; nothing from too few of them."""
        past = Past.of(reference, subject)
        if len(past.blocks) < MIN_BLOCKS:
            return {"blocks": len(past.blocks)}
        sizes = np.array([size(b) for b in past.blocks], dtype=np.float64)
        at = level(self.severity, len(past.blocks))
        noise = ks_noise(sizes, sizes.sum() - sizes, at)
        found = learn(ks_leave_one_out(past.blocks), noise, self.severity)
        gaps = learn(*past.missing_strayed(at), self.severity)
        return {
            "blocks": len(past.blocks),
            "tolerance": max(self.floor, found),
            "missing": past.missing_share,
            "missing_tolerance": max(self.floor, gaps),
        }

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare the window's values with those of the reference."""
        name = case.subject.feature or f"the scores of {case.subject.model} {case.subject.version}".rstrip()
        past, taught = Past.of(case.reference, case.subject), case.taught_by(self)
        now = past.now(case.pane, case.subject)
        n = size(now.values)
        if self.tolerance != "auto":
            tolerance: float | None = self.tolerance
        else:
            tolerance = taught.get("tolerance")
        missing = ""
        if n < self.min_events:
            missing = f"of {name} there are {n} values, fewer than {self.min_events}"
        elif not past.blocks or tolerance is None:
            missing = f"the reference has {past.n} of {MIN_BLOCKS} blocks of {name} to learn from"
        elif case.reference and not case.reference.whole:
            missing = f"{name} are there for a part of the window, and {case.against} has none but whole ones"
        if missing or tolerance is None:
            return self.say(case, "no data", missing, statistic="ks", n=n), state
        return self._weigh(case, state, threshold, name, past, now, tolerance, taught)

    def _weigh(
        self,
        case: Case,
        state: State,
        threshold: float,
        name: str,
        past: Past,
        now: Now,
        tolerance: float,
        taught: Mapping[str, float],
    ) -> tuple[Verdict, State]:
        looks, shares = past.once(f"looks within {tolerance!r}", lambda whole: _looks(whole, tolerance))
        if not looks.weights.size:
            reason = f"{name} may lie {tolerance:.2f} (KS) from {case.against}: so much is in order that nothing could be told"
            return self.say(case, "no data", reason, statistic="ks", tolerance=tolerance, n=size(now.values)), state
        counts, bins = looks.counts(now.values), looks.cuts.size + 1
        if state.get("bins") != bins:  # of another reference: what was counted by its bins cannot be gone on with
            state = {"bins": bins}
        recent = np.asarray(state.get("recent", np.zeros(bins)))
        gap = max(taught.get("missing_tolerance", 0.0), self.floor, _LEAST)
        most = min(past.missing_share + gap, _CERTAIN)
        ratios, weights = looks.log_ratios(counts, recent), np.asarray(looks.weights)
        if now.of:  # scores are there or not: only of an input is there a share that is missing
            gaps = bernoulli(now.missing, now.of, most)
            ratios = np.concatenate([ratios, gaps])
            weights = np.concatenate([weights * 0.9, np.full(gaps.size, 0.1 / gaps.size)])

        def measure(counted: Floats, which: int) -> Measured:
            if which >= looks.weights.size:
                return Measured(float(counted[-2] / max(counted[-1], 1)), most, 0.0)
            apart = np.abs(np.cumsum(counted[:-2] / max(counted[:-2].sum(), 1) - shares)).max()
            return Measured(float(apart), tolerance, 0.0 if tolerance else self.floor)

        window = Window(case.start, size(now.values), ratios, [*counts, now.missing, now.of], measure, weights)
        found = step(state, window, threshold=threshold, min_events=self.min_events)
        if found.leading >= looks.weights.size and not found.drifting and found.measured.effect == 0:
            # No more is missing than is in order: what people ask for then is the distance.
            loudest = int(np.argmax(found.state["kept"][: looks.weights.size]))
            found = found._replace(leading=loudest, measured=measure(np.asarray(window.counted, dtype=float), loudest))
        after = {**found.state, "bins": bins, "recent": remember(recent, counts).tolist()}
        details = past.details(now, case.scale)
        if found.leading >= looks.weights.size:
            statistic, what = "missing", "more is missing"
            reason = (
                f"{name} is missing in {found.measured.value:.1%} of {now.of:,} requests, up to {most:.1%} is in order"
            )
        else:
            statistic, what = "ks", looks.names[found.leading]
            drifting = "beyond" if found.measured.effect > 0 else "within"
            reason = (
                f"{name} lie {found.measured.value:.2f} (KS) from {case.against}, {drifting} the"
                f" {found.measured.tolerance:.2f} in order; {details['told']}"
            )
        if not found.drifting and found.measured.effect > 0:
            reason += ", which is too little, or not yet certain enough, to alarm"
        if found.drifting and found.since < case.start:
            reason += f"; since {say_moment(found.since)}"
        verdict = self.say(
            case,
            "drifting" if found.drifting else "ok",
            reason,
            statistic=statistic,
            **found.said(threshold),
            details={
                "since": found.since,
                "speaks": what,
                "reference": case.reference and case.reference.stretch,
                **details,
            },
        )
        return verdict, after


def _looks(whole: Counts, tolerance: float) -> tuple[Shapes | Steps, Floats]:
    """Say at what of a distribution is looked, and what shares of the reference lie between its cuts."""
    looks = Steps.of(whole, tolerance) if tolerance > 0 else Shapes.of(whole)
    return looks, looks.counts(whole) / size(whole)
