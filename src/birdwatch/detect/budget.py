"""The page budget: at most so many expected false pages in so much time, for the whole fleet.

Evidence of the form of Shiryaev and Roberts that alarms at A gives at most one false alarm in A windows on average, and
these add over models and rules however they depend on each other. So with N pairs of a model and a rule, each looking
at W windows in the budget's time, A = N·W / pages keeps the promise. When pairs come or go, A changes from then on.

Rules may have a weight. Each then gets a share of the promise in proportion to weight·N·W, so its own A is the sum of
weight·N·W over all rules, divided by pages·weight: one that weighs twice as much alarms at half the evidence.

The budget holds for what the tolerances call unchanged: change that stays within what the reference has seen.
"""

from collections.abc import Iterable, Mapping
from math import log
from typing import Annotated, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from birdwatch.detect.duration import Duration

__all__ = ["Budget", "Share", "Spending", "Watch"]


class Watch(NamedTuple):
    """A rule that alarms by evidence: how many subjects it watches, over windows of which length.

    Attributes
    ----------
    weight
        How much of the budget a look of this rule gets, beside a look of the others.
    tried
        It only tells what it would do (muted, or a dry run): it takes nothing from the others, and is held to the level
        that it would have if it did.
    """

    rule: str
    subjects: int
    window_seconds: int
    weight: float = 1.0
    tried: bool = False


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A rule's part of a budget.

    Attributes
    ----------
    subjects
        How many it watches.
    level
        A: its evidence has to reach it.
    promised
        How many false alarms are to be expected of it in the budget's time, at the most; none of one that is tried.
    """

    subjects: int
    level: float
    promised: float
    tried: bool = False


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """How the budget of one severity is spent from now on.

    Attributes
    ----------
    alarms, per_seconds
        The promise: at most so many expected false alarms in so much time.
    rules
        Each rule's part of it, by name.
    """

    alarms: float
    per_seconds: int
    rules: Mapping[str, Share]

    def threshold(self, rule: str) -> float:
        """Give ln A of a rule.

        Raises
        ------
        KeyError
            It is none of those that share the budget.
        """
        return log(self.rules[rule].level)


class Budget(BaseModel):
    """``budget: {pages: 1, per: 30d}``. Rules that open tickets by evidence have a budget of the same size of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pages: Annotated[float, Field(gt=0)] = Field(default=1.0, description="Expected false pages, at the most.")
    per: Duration = Field(default=30 * 86_400, description="In how much event time: `30d`.")

    def spend(self, watches: Iterable[Watch]) -> Spending:
        """Set the level of each rule from all that is watched at one severity.

        A level is 1 at least: less evidence than that is none.

        Examples
        --------
        >>> spending = Budget().spend([Watch("pairs", 3, 86_400), Watch("sla", 1, 86_400, weight=3)])
        >>> {rule: (share.level, share.promised) for rule, share in spending.rules.items()}
        {'pairs': (180.0, 0.5), 'sla': (60.0, 0.5)}
        """
        watches = list(watches)
        weighed = {w.rule: w.weight * self._looks(w) for w in watches}
        spent = sum(weighed[w.rule] for w in watches if not w.tried)
        rules = {}
        for watch in watches:
            shared = spent + (weighed[watch.rule] if watch.tried else 0.0)
            level = max(1.0, shared / (self.pages * watch.weight))
            promised = 0.0 if watch.tried else self._looks(watch) / level
            rules[watch.rule] = Share(subjects=watch.subjects, level=level, promised=promised, tried=watch.tried)
        return Spending(alarms=self.pages, per_seconds=self.per, rules=rules)

    def _looks(self, watch: Watch) -> float:
        """Count the windows of all subjects in the budget's time."""
        return watch.subjects * self.per / watch.window_seconds
