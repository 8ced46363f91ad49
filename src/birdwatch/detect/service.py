"""Which versions are out of service, as the control stream tells it up to a moment."""

from collections.abc import Iterable
from typing import NamedTuple

from birdwatch.detect.verdict import Subject
from birdwatch.detect.window import by_model
from birdwatch.records import Control
from birdwatch.windows.pane import Pane

__all__ = ["Gone", "gone", "why_over"]


class Gone(NamedTuple):
    """Versions out of service as (model, version); an empty version stands for the whole model.

    ``rolled_back`` are those that were bad: references leave out what they did. A version that was only succeeded by
    another is a predecessor, whose scores its successor is compared with.
    """

    retired: frozenset[tuple[str, str]]
    rolled_back: frozenset[tuple[str, str]]

    def has(self, model: str, version: str) -> bool:
        """Tell whether a version is out of service."""
        return (model, version) in self.retired or (model, "") in self.retired


def gone(controls: Iterable[Control], at: float) -> Gone:
    """Read the control records before a moment of event time, in their order.

    A version that is registered, or rolled back *to*, is in service again.
    """
    retired: set[tuple[str, str]] = set()
    rolled_back: set[tuple[str, str]] = set()
    current: dict[str, str] = {}
    for control in controls:
        if control.ts >= at or control.action not in ("register", "rollback", "retire"):
            continue
        model, version = control.model, control.version
        if control.action != "register":
            retired.add((model, version))
        if control.action == "retire":
            # With the version that serves its model goes too.
            retired |= {(model, "")} if current.get(model) == version else set()
            continue
        if control.action == "rollback":
            rolled_back.add((model, version))
        current[model] = str(control.params.get("to", "")) if control.action == "rollback" else version
        back = {(model, current[model]), (model, "")}
        retired, rolled_back = retired - back, rolled_back - back
    return Gone(frozenset(retired), frozenset(rolled_back))


def why_over(subject: Subject, pane: Pane, out: Gone) -> str:
    """Say why nothing more will be seen of a subject; empty while something may be.

    Beside what the control stream says, a version is over when another of its model scored in its place, and a pair
    when its model was compared with another partner.
    """
    model, version, partner = subject.model, subject.version, subject.partner
    if not model:
        return ""
    name = f"{model} {version}".strip()
    its = by_model(pane).get(model, {})
    scored = {s.version for s in its if s.measure == "counts"}
    partners = {s.partner for s in its if (s.version, s.measure) == (version, "pair")}
    reasons = {
        f"{name} was rolled back": (model, version) in out.rolled_back,
        f"{name} was retired": out.has(model, version),
        f"{partner} was retired": bool(partner) and (partner, "") in out.retired,
        f"{name} was succeeded by {model} {max(scored, default='')}": version and scored and version not in scored,
        f"{name} is compared with {max(partners, default='')} now": partner and partners and partner not in partners,
    }
    return next((reason for reason, true in reasons.items() if true), "")
