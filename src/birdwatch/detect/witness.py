"""Witnesses: what else was to be seen when a pair's alarm was raised, and so whose fault it is.

The rules on scores and on inputs judge windows of their own, which may be longer than a pair's and end at other times.
When a pair alarms they are asked about the window that ends at that moment; what they say then is no verdict of theirs,
and spends nothing.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import islice
from typing import Final

import msgspec

from birdwatch.detect.attribution import Company, Seen, attribute, because
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.kind import Rule, State
from birdwatch.detect.verdict import Subject, Verdict

__all__ = ["Cause", "Witness", "cause_of", "remembering", "standing"]

_KEY: Final = "cause"
_MOST_NAMED: Final = 5


class Cause(msgspec.Struct, frozen=True):
    """Why a pair's alarm is on: what happened, in which words, since which window it is said, and by which rule.

    Two rules on one pair that see the same thing are one alarm: the second leaves the telling to the first, for as long as
    either is on.
    """

    what: str
    why: str
    told: int
    by: str = ""


class Witness:
    """Asks the rules on scores and inputs about the windows that end at one moment, each once.

    Parameters
    ----------
    rules
        All rules in force.
    ask
        From a rule to its verdicts over the window that ends now, judged by itself.
    pairs
        What rules on pairs have said of the windows that end now.
    """

    def __init__(
        self, rules: Sequence[Rule], ask: Callable[[Rule], list[Verdict]], pairs: Sequence[Verdict] = ()
    ) -> None:
        self._pairs = pairs
        self._rules = [rule for rule in rules if isinstance(rule, DistributionRule)]
        self._ask = ask

    @cached_property
    def _scores(self) -> dict[str, list[Verdict]]:
        """What was said of scores, by model."""
        found: dict[str, list[Verdict]] = {}
        for rule in self._rules:
            for verdict in self._ask(rule) if rule.of == "scores" else ():
                found.setdefault(verdict.subject.model, []).append(verdict)
        return found

    @cached_property
    def _met(self) -> dict[str, dict[str, bool]]:
        """Whom each model was compared with at this moment, in order of names, and whether the two differ."""
        found: dict[str, dict[str, bool]] = {}
        for verdict in self._pairs:
            if verdict.status in ("ok", "drifting"):
                two = verdict.subject.model, verdict.subject.partner
                for model, other in (two, two[::-1]):
                    of_model = found.setdefault(model, {})
                    of_model[other] = of_model.get(other, False) or _is_loud(verdict)
        return {model: dict(sorted(others.items())) for model, others in found.items()}

    @cached_property
    def inputs(self) -> tuple[Verdict, ...]:
        """Give the watched inputs that moved."""
        found = [verdict for rule in self._rules if rule.of == "features" for verdict in self._ask(rule)]
        return tuple(verdict for verdict in found if verdict.status == "drifting")

    def seen(self, pair: Subject) -> Seen:
        """Tell what moved beside a pair, and how either stands with third models."""
        return Seen(
            self._moved(pair.model, pair.version),
            self._moved(pair.partner),
            self.inputs,
            self._company(pair.model, pair),
            self._company(pair.partner, pair),
        )

    def _company(self, model: str, pair: Subject) -> Company:
        """Say with whom else a model agrees, and from whom it differs, by all that was judged at this moment."""
        others = self._met.get(model, {}).items()
        beside = {pair.model, pair.partner}
        names = (
            tuple(islice((other for other, is_loud in others if is_loud == loud and other not in beside), _MOST_NAMED))
            for loud in (False, True)
        )
        return Company(*names)

    def _moved(self, model: str, version: str = "") -> bool | None:
        found = [
            verdict.status == "drifting"
            for verdict in self._scores.get(model, ())
            if version in ("", verdict.subject.version) and verdict.status in ("ok", "drifting")
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
    what = attribute(
        alarm=True,
        model=seen.model,
        partner=seen.partner,
        inputs=bool(seen.inputs),
        canary=canary,
        suspect=seen.suspect,
    )
    why = because(verdict.subject, what, seen)
    if known is not None and known.what == what:
        return msgspec.structs.replace(known, why=why)
    return Cause(what, why, verdict.end, verdict.rule)


def _is_loud(verdict: Verdict) -> bool:
    """Tell whether a pair's alarm is on, or half way there."""
    halfway = (
        verdict.evidence is not None and verdict.threshold is not None and verdict.evidence > verdict.threshold / 2
    )
    return verdict.status == "drifting" or halfway


def remembering(state: State, cause: Cause | None) -> State:
    """Put a cause into what a rule remembers of a pair."""
    return state if cause is None else {**state, _KEY: msgspec.to_builtins(cause)}


def standing(states: dict[str, dict[Subject, State]]) -> dict[Subject, dict[str, Cause]]:
    """Give the causes of all alarms that are on, by pair and rule."""
    found: dict[Subject, dict[str, Cause]] = {}
    for rule, of_rule in states.items():
        for subject, state in of_rule.items():
            if _KEY in state:
                found.setdefault(subject, {})[rule] = msgspec.convert(state[_KEY], Cause)
    return found
