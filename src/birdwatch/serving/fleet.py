"""What the control stream says of the fleet: the schedule in force, who is expected to score, who may not answer.

Every operational change is a record on ``control``. A `Fleet` is the sum of those read so far, so that any process that
reads the stream from its beginning knows the same.
"""

from birdwatch.errors import SettingsError
from birdwatch.records import Control, Score
from birdwatch.serving.schedule import Schedule, parse_schedule

__all__ = ["Fleet"]


class Fleet:
    """The state that control records add up to.

    A model is *live*, and its score expected, when the schedule names it, when it was registered, or when it has been
    heard from; until it is retired. The canary is live like any other, but never in the schedule.

    Parameters
    ----------
    schedule
        The one in force until a control record brings another.

    Examples
    --------
    >>> fleet = Fleet(Schedule(default=0.5, tiers=[{"models": ["a"]}]))
    >>> fleet.hear("c", canary=True)
    >>> fleet.live
    ('a', 'c')
    >>> fleet.apply(Control(ts=0, action="champion", model="c", author="me", reason="a mistake"))
    "champion 'c' by me: it is the canary, which never answers"
    """

    def __init__(self, schedule: Schedule) -> None:
        self.canaries: set[str] = set(schedule.canary)
        self._barred: set[tuple[str, str]] = set()
        self._given = schedule
        self._known: set[str] = set()
        self._retired: set[str] = set()
        self._settle()

    def _settle(self) -> None:
        out = self.canaries | self._retired
        self.schedule = self._given.without(out)
        """The schedule in force: without the canary and those retired."""
        self.live: tuple[str, ...] = tuple(
            sorted((set(self._given.models) | self._known | self.canaries) - self._retired)
        )
        """The models whose scores are expected, sorted."""

    def admits(self, score: Score) -> bool:
        """Say whether a score may answer: not the canary's, not a retired model's, not of a version rolled back."""
        return (
            score.model not in self.canaries
            and score.model not in self._retired
            and (score.model, score.version) not in self._barred
        )

    def hear(self, model: str, *, canary: bool = False) -> None:
        """Take note of a model that scores; one heard on the canary's stream never answers from then on."""
        if model not in self._known or (canary and model not in self.canaries):
            self._known.add(model)
            if canary:
                self.canaries.add(model)
            self._settle()

    def apply(self, control: Control) -> str | None:
        """Take a control record into account; one that cannot be is left out, and the reason given.

        Returns
        -------
        str or None
            Why it was refused.
        """
        model = control.model
        refused: str | None = None
        if control.action == "schedule":
            refused = self._take_schedule(control)
        elif not model:
            refused = "no model is named"
        elif control.action == "register":
            self._known.add(model)
            self._retired.discard(model)
            self._barred.discard((model, control.version))
            if control.params.get("role") == "canary":
                self.canaries.add(model)
        elif control.action == "champion":
            refused = self._promote(model)
        elif control.action == "rollback":
            self._barred.add((model, control.version))
            self._barred.discard((model, str(control.params.get("to", ""))))
        elif not control.version:
            self._retired.add(model)
        else:
            self._barred.add((model, control.version))
        self._settle()
        return f"{control.action} {model!r} by {control.author}: {refused}" if refused else None

    def _promote(self, model: str) -> str | None:
        if model in self.canaries:
            return "it is the canary, which never answers"
        try:
            self._given = self._given.promote(model)
        except SettingsError as error:
            return str(error)
        self._retired.discard(model)
        return None

    def _take_schedule(self, control: Control) -> str | None:
        # What the record leaves out stays as it is in force.
        values = self._given.model_dump() | control.params | {"version": control.version or self._given.version}
        try:
            schedule = parse_schedule(values, place="params")
        except SettingsError as error:
            return str(error)
        canaries = sorted(self.canaries.intersection(schedule.models))
        if canaries:
            return f"it names {', '.join(canaries)}, the canary, which never answers"
        self.canaries.update(schedule.canary)
        self._given = schedule
        return None
