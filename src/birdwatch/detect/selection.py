"""Rules on selection: which tier and which models answer, and why; and whether arms are drawn as their odds were logged."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from birdwatch.detect.alarm import Measured, Window, step
from birdwatch.detect.duration import say_moment
from birdwatch.detect.kind import Case, State
from birdwatch.detect.share import ShareRule
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.stats.selections import selection_odds
from birdwatch.windows.pane import PROPENSITY_PARTS, Pane, selection_of

__all__ = ["SelectionRule"]

Floats = NDArray[np.float64]

_Share = Annotated[float, Field(gt=0, lt=1)]


class SelectionRule(ShareRule):
    """The share of answers that come from some models, a tier of the schedule, or for a reason: at least, or at most.

    Or, ``of: propensities``, how often each arm was drawn against the probabilities that were logged for it, decision
    by decision. These may change as a bandit learns; an arm that is drawn more or less often than they say is a fault of
    the server, or of what it logs, and spoils all that is estimated from them.
    """

    example: ClassVar[Mapping[str, Any]] = {"reason": "first choice", "at_least": 0.95}

    kind: Literal["selection"] = Field(default="selection", description="Who answers, and why.")
    of: Literal["answers", "propensities"] = Field(
        default="answers", description="`answers`: their share; `propensities`: each arm against those logged for it."
    )
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
        if self.of == "propensities":
            if any(said is not None for said in (self.reason, self.tier, self.at_least, self.at_most)):
                raise ValueError(
                    "`of: propensities` needs no bound, reason or tier: what was logged says what is in order"
                )
        elif (self.at_least is None) == (self.at_most is None):
            raise ValueError("write either `at_least` or `at_most`, a share in 0 to 1")
        return self

    @property
    def stream(self) -> str:
        """Answers are on the stream of metrics."""
        return "metrics"

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name the fleet, where there were answers; or every arm whose propensities were logged."""
        del known
        if self.of == "propensities":
            return self.versions(pane, "propensity")
        return [Subject()] if any(s.measure == "selection" for s in pane) else []

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Count the answers that the rule is about, and weigh their share; or weigh an arm's draws."""
        if self.of == "propensities":
            return self._draws(case, state, threshold)
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

    def _draws(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare how often an arm was drawn with how likely it was said to be each time."""
        counts, arm = case.counts("propensity"), case.subject.model
        n = int(counts.counts.sum())
        if not n:
            return self.say(case, "no data", f"no decision with a propensity of {arm}"), state
        steps, where = np.unique(counts.bins // 2, return_inverse=True)
        decisions, drawn = np.zeros((2, steps.size), dtype=np.int64)
        np.add.at(decisions, where, counts.counts)
        np.add.at(drawn, where, counts.counts * (counts.bins % 2))
        ratios = selection_odds(steps, decisions, drawn)

        def measure(sums: Floats, which: int) -> Measured:
            share, said, chance = _shares(sums)
            often = which < ratios.size // 2
            return Measured(share - said if often else said - share, chance, self.floor)

        theta = steps / PROPENSITY_PARTS
        counted = np.array([n, drawn.sum(), decisions @ theta, decisions @ (theta * (1 - theta))])
        window = Window(case.start, n, ratios, counted, measure)
        decision = step(state, window, threshold=threshold, min_events=self.min_events)
        share, said, _ = _shares(counted)
        reason = f"{arm} was drawn in {drawn.sum():,} of {n:,} decisions ({share:.2%}); its propensities say {said:.2%}"
        if decision.drifting and decision.since < case.start:
            reason += f"; out of step since {say_moment(decision.since)}"
        elif not decision.drifting and n < self.min_events:
            reason = (
                f"{n} decisions with propensities of {arm}, fewer than {self.min_events}: by itself that tells nothing"
            )
            return self.say(
                case, "no data", reason, evidence=decision.evidence, threshold=threshold, n=n
            ), decision.state
        elif not decision.drifting and decision.measured.effect:
            reason += ", and it is not yet certain that this is no chance"
        verdict = self.say(
            case,
            "drifting" if decision.drifting else "ok",
            reason,
            statistic="drawn beyond said" if decision.leading < ratios.size // 2 else "said beyond drawn",
            **decision.said(threshold),
            details={"drawn": share, "said": said, "since": decision.since},
        )
        return verdict, decision.state


def _shares(sums: Floats) -> tuple[float, float, float]:
    """Give the share that was drawn, the share that was said, and what of their difference chance explains.

    That is two standard errors, and half a step in which propensities are counted.
    """
    n, drawn, said, variance = sums.tolist()
    return drawn / n, said / n, 2 * float(np.sqrt(variance)) / n + 0.5 / PROPENSITY_PARTS


def _with_details(verdict: Verdict, shares: dict[str, float]) -> Verdict:
    return Verdict(
        **{name: getattr(verdict, name) for name in verdict.__struct_fields__} | {"details": {"shares": shares}}
    )
