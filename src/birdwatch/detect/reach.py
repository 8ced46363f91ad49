"""How far back rules look, and whether what they look at is still kept by then."""

import math
from collections.abc import Iterable
from typing import Final

from birdwatch.detect.duration import say_duration
from birdwatch.detect.kind import Rule
from birdwatch.detect.reference import DAY
from birdwatch.errors import SettingsError
from birdwatch.windows.rollups import Keep, levels

__all__ = ["STEPS", "refuse_dropped", "step_of"]

STEPS: Final = 13
"""A reference of short windows moves on by a thirteenth of its length, by whole days: a quarter of a year by weeks."""


def step_of(rule: Rule, back: int) -> int | None:
    """Give by how many seconds a rule's trailing reference moves on at once; None where it moves with every window."""
    choice = rule.compares_with
    by_hour = choice is not None and choice.by is not None
    return DAY * max(1, back // (STEPS * DAY)) if rule.window < DAY and DAY % rule.window == 0 and not by_hour else None


def refuse_dropped(rules: Iterable[Rule], keep: Keep, pane_seconds: int, *, windows_start_seconds: int = 0) -> None:
    """See that no rule compares with windows whose panes would be gone: what is kept longer must serve them.

    Raises
    ------
    SettingsError
        One does, and what to set.
    """
    for rule in rules:
        back = rule.compares_with.trailing if rule.compares_with else None
        if not back:
            continue
        reach = back + rule.window + (step_of(rule, back) or 0)
        whole = math.gcd(rule.window, windows_start_seconds)
        serving = [level for level in levels(pane_seconds) if whole % level == 0] or [pane_seconds]
        kept = [keep.of(level, pane_seconds) for level in serving]
        if all(seconds is not None and seconds < reach for seconds in kept):
            hours = serving[-1] != pane_seconds
            setting, what = ("keep_hours_days", "sums of hours") if hours else ("keep_panes_days", "panes")
            raise SettingsError(
                f"the rule {rule.name!r} compares windows of {say_duration(rule.window)} with those of the {say_duration(back)}"
                f" before, and {what} are dropped after {say_duration(max(filter(None, kept)))}: set {setting} to"
                f" {-(-reach // DAY)}, shorten its `trailing`, or let it judge windows that are a multiple of what is kept"
                " longer"
            )
