"""Witnesses: what else was to be seen when a pair's alarm was raised, and so whose fault it is.

The rules on scores and on inputs judge windows of their own, which may be longer than a pair's and end at other times.
When a pair alarms they are asked about the window that ends at that moment; what they say then is no verdict of theirs,
and spends nothing.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from birdwatch.detect.attribution import Seen, attribute, because
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.kind import Rule, State
from birdwatch.detect.verdict import Subject, Verdict

__all__ = ["Cause", "Witness", "cause_of", "remembering", "standing"]

_KEY: Final = "cause"


class Cause(msgspec.Struct, frozen=True):
    """Why a pair's alarm is on: what happened, in which words, and since which window it is said."""

    what: str
    why: str
    told: int


class Witness:
    """Asks the rules on scores and inputs about the windows that end at one moment, each once.

    Parameters
    ----------
    rules
        All rules in force.
    ask
        From a rule to its verdicts over the window that ends now, judged by itself.
    """

    def __init__(self, rules: Sequence[Rule], ask: Callable[[Rule], list[Verdict]]) -> None:
        self._rules = [rule for rule in rules if isinstance(rule, DistributionRule)]
        self._ask = ask

    @cached_property
    def _scores(self) -> list[Verdict]:
        return [verdict for rule in self._rules if rule.of == "scores" for verdict in self._ask(rule)]

    @cached_property
    def inputs(self) -> tuple[Verdict, ...]:
        """Give the watched inputs that moved."""
        found = [verdict for rule in self._rules if rule.of == "features" for verdict in self._ask(rule)]
        return tuple(verdict for verdict in found if verdict.status == "drifting")

    def seen(self, pair: Subject) -> Seen:
        """Tell what moved beside a pair."""
        return Seen(self._moved(pair.model, pair.version), self._moved(pair.partner), self.inputs)

    def _moved(self, model: str, version: str = "") -> bool | None:
        found = [
            verdict.status == "drifting"
            for verdict in self._scores
            if verdict.subject.model == model
            and version in ("", verdict.subject.version)
            and verdict.status in ("ok", "drifting")
        ]
        return any(found) if found else None


def cause_of(verdict: Verdict, before: State, witness: Witness, *, canary: bool) -> Cause | None:
    """Say why a pair's alarm is on, and None if it is not.

    The cause is read when the evidence was enough, and again each time it is: a model whose fault it is looks guiltier
    once the inputs are themselves again.
    """
    if verdict.status != "drifting":
        return None
    known = msgspec.convert(before[_KEY], Cause) if _KEY in before else None
    if not verdict.alarmed and known is not None:
        return known
    seen = witness.seen(verdict.subject)
    what = attribute(alarm=True, model=seen.model, partner=seen.partner, inputs=bool(seen.inputs), canary=canary)
    same = known is not None and known.what == what
    return Cause(what, because(verdict.subject, what, seen), known.told if known and same else verdict.end)


def remembering(state: State, cause: Cause | None) -> State:
    """Put a cause into what a rule remembers of a pair."""
    return state if cause is None else {**state, _KEY: msgspec.to_builtins(cause)}


def standing(states: dict[str, dict[Subject, State]]) -> dict[Subject, dict[str, Cause]]:
    """Give the causes of all alarms that are on, by pair and rule, the one that is told longest first."""
    found: dict[Subject, list[tuple[int, str, Cause]]] = {}
    for rule, of_rule in states.items():
        for subject, state in of_rule.items():
            if _KEY in state:
                cause: Any = msgspec.convert(state[_KEY], Cause)
                found.setdefault(subject, []).append((cause.told, rule, cause))
    return {
        subject: {rule: cause for _, rule, cause in sorted(each, key=lambda e: e[:2])}
        for subject, each in found.items()
    }
