"""The page budget: at most so many expected false pages in so much time, for the whole fleet.

Evidence of the form of Shiryaev and Roberts that alarms at A gives at most one false alarm in A windows on average, and
these add over models and rules however they depend on each other. So with N pairs of a model and a rule, each looking
at W windows in the budget's time, A = N·W / pages keeps the promise. When pairs come or go, A changes from then on.

The budget holds for what the tolerances call unchanged: change that stays within what the reference has seen.
"""

from collections.abc import Iterable, Mapping
from math import log
from typing import Annotated, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from birdwatch.detect.duration import Duration

__all__ = ["Budget", "Spending", "Watch"]


class Watch(NamedTuple):
    """A rule that spends: how many subjects it watches, over windows of which length."""

    rule: str
    subjects: int
    window_seconds: int


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """How the budget of one severity is spent.

    Attributes
    ----------
    alarms, per_seconds
        The promise: at most so many expected false alarms in so much time.
    level
        A: evidence has to reach it. ``threshold`` is its natural logarithm.
    subjects
        How many subjects each rule watches.
    expected
        How many false alarms were to be expected up to now, at the most.
    """

    alarms: float
    per_seconds: int
    level: float
    threshold: float
    subjects: Mapping[str, int]
    expected: float = 0.0


class Budget(BaseModel):
    """``budget: {pages: 1, per: 30d}``. Rules that open tickets by evidence have a budget of the same size of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pages: Annotated[float, Field(gt=0)] = Field(default=1.0, description="Expected false pages, at the most.")
    per: Duration = Field(default=30 * 86_400, description="In how much event time: `30d`.")

    def spend(self, watches: Iterable[Watch], expected: float = 0.0) -> Spending:
        """Set the level for all that is watched at one severity.

        Examples
        --------
        >>> Budget().spend([Watch("pairs", 3, 86_400)]).level
        90.0
        """
        found = [w for w in watches if w.subjects]
        level = max(1.0, sum(w.subjects * self.per / w.window_seconds for w in found) / self.pages)
        return Spending(
            alarms=self.pages,
            per_seconds=self.per,
            level=level,
            threshold=log(level),
            subjects={w.rule: w.subjects for w in found},
            expected=expected,
        )
