"""Inhibition: one alert says that the inputs changed, instead of forty that follow from it.

Which alert explains which is read off their causes (`birdwatch.detect.attribution`), and off nothing else: a model that
changed by itself is told whatever the inputs do. What is explained is never more urgent than what explains it, and what
was told already stays told. When the alert that explains ends, what still fires is told then; of several with the
same cause the first explains the others.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from birdwatch.alerts.held import Firing, free, hold, read_firing
from birdwatch.detect.attribution import INPUT_MOVED, INPUTS_CHANGED, INPUTS_CHANGED_AND_DIFFER
from birdwatch.windows.store import Store

__all__ = ["EXPLAINED_BY", "explainers", "inhibit"]

EXPLAINED_BY: Final = {
    INPUTS_CHANGED_AND_DIFFER: (INPUTS_CHANGED, INPUTS_CHANGED_AND_DIFFER),
    INPUT_MOVED: (INPUTS_CHANGED,),
}
"""A cause, and the causes of alerts that explain it, the best first."""

_URGENCY: Final = {"page": 0, "ticket": 1, "info": 2}


def explainers(firing: Sequence[Firing], ts: float) -> dict[int, str]:
    """Say of what began to fire at ``ts``, or is inhibited, which alert explains it.

    Returns
    -------
    dict[int, str]
        By the firing's place in the history, the fingerprint of the alert that explains it; empty where none does.
    """
    open_ = [f for f in firing if f.alert.attribution in EXPLAINED_BY and (f.inhibited or f.alert.ts == ts)]
    numbers = {f.number for f in open_}
    told = [f for f in firing if f.number not in numbers]
    found: dict[int, str] = {}
    for one in sorted(open_, key=lambda f: (_URGENCY[f.alert.severity], f.number)):
        found[one.number] = _explained(one, told)
        if not found[one.number]:
            told.append(one)
    return found


def _explained(one: Firing, told: Iterable[Firing]) -> str:
    causes = EXPLAINED_BY[one.alert.attribution]
    loud = [
        (causes.index(f.alert.attribution), f.number, f.alert.fingerprint)
        for f in told
        if f.alert.attribution in causes and _URGENCY[f.alert.severity] <= _URGENCY[one.alert.severity]
    ]
    return min(loud)[2] if loud else ""


def inhibit(store: Store, ts: float) -> None:
    """Hold back what began to fire at ``ts`` and is explained, and tell what nothing explains any more."""
    firing = read_firing(store)
    was = {f.number: f.inhibited for f in firing}
    for number, by in sorted(explainers(firing, ts).items()):
        if by:
            hold(store, number, "inhibited", by, ts)
        elif was[number]:
            free(store, number, "inhibited", ts)
