"""What the control stream says of the fleet: the schedule in force, who is expected to score, who may not answer.

Every operational change is a record on ``control``. A `Fleet` is the sum of those read so far, so that any process that
reads the stream from its beginning knows the same.
"""

from typing import Any, Final, Literal, NamedTuple

from birdwatch.errors import SettingsError
from birdwatch.records import Control, Score
from birdwatch.serving.control.schedule import Schedule, parse_schedule

__all__ = ["Fleet", "Standing"]

Stage = Literal["canary", "retired", "shadow", "warm", "ramp", "first tier", "later tier"]

_GUARDS: Final = (None, "hold", "rollback")
_WITHOUT_MODEL: Final = ("schedule", "override", "swap", "swapped")
_ANSWERING: Final = ("warm", "ramp", "champion", "override")
"""What is done to a model so that it answers."""


class Standing(NamedTuple):
    """Where a model stands.

    Attributes
    ----------
    version
        The only one that may answer, where control has named it.
    percent
        Of the keys, in a ramp.
    guard
        What happens to its ramp when an alert names it.
    held
        Why its ramp may not be raised.
    """

    model: str
    stage: Stage
    version: str = ""
    percent: float | None = None
    guard: str | None = None
    held: str = ""


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
        self._changes = 0
        self._known: set[str] = set()
        self._retired: set[str] = set()
        self._warm: set[tuple[str, str]] = set()
        self._pinned: dict[str, str] = {}
        self._guards: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._before: dict[str, Schedule] = {}
        self._settle()

    def _settle(self) -> None:
        out = self.canaries | self._retired
        version = self._given.version + (f"+{self._changes}" if self._changes else "")
        self.schedule = self._given.without(out).model_copy(update={"version": version})
        """The schedule in force: without the canary and those retired; ``+n`` after n changes to it on control."""
        self.live: tuple[str, ...] = tuple(
            sorted((set(self._given.models) | self._known | self.canaries) - self._retired)
        )
        """The models whose scores are expected, sorted."""

    def admits(self, score: Score) -> bool:
        """Say whether a score may answer.

        Not the canary's, not a retired model's, not of a version rolled back, and of a model whose version was named
        when it came into service, not of another one.
        """
        model, version = score.model, score.version
        return (
            model not in self.canaries
            and model not in self._retired
            and (model, version) not in self._barred
            and self._pinned.get(model, version) == version
        )

    def hear(self, model: str, *, canary: bool = False) -> None:
        """Take note of a model that scores; one heard on the canary's stream never answers from then on."""
        if model not in self._known or (canary and model not in self.canaries):
            self._known.add(model)
            if canary:
                self.canaries.add(model)
            self._settle()

    def standing(self) -> list[Standing]:
        """Say where each model stands, in the order in which they are preferred."""
        models = dict.fromkeys([*self._given.models, *sorted(self._known), *sorted(self.canaries | self._retired)])
        return [self._standing(model) for model in models]

    def _standing(self, model: str) -> Standing:
        version = self._pinned.get(model, "")
        if model in self._retired:
            return Standing(model, "retired")
        if model in self.canaries:
            return Standing(model, "canary")
        if model in self.ramps:
            held = self._held.get(model, "")
            return Standing(model, "ramp", version, self.ramps[model], self._guards.get(model), held)
        if model in self._given.models:
            return Standing(model, "first tier" if model in self._given.tiers[0].models else "later tier", version)
        warm = [version for known, version in sorted(self._warm) if known == model]
        return Standing(model, "warm", warm[-1]) if warm else Standing(model, "shadow")

    @property
    def ramps(self) -> dict[str, float]:
        """The percentage of the keys that each model has which is being ramped up."""
        return self._given.tiers[0].ramps

    def guard(self, model: str) -> str | None:
        """Give what is to happen to a model's ramp when an alert names it: ``hold``, ``rollback``, or nothing."""
        return self._guards.get(model) if model in self.ramps else None

    def is_held(self, model: str) -> bool:
        """Say whether a model's ramp may not be raised."""
        return model in self._held

    def pinned(self, model: str) -> str:
        """Give the only version of a model that may answer; empty for any."""
        return self._pinned.get(model, "")

    def apply(self, control: Control) -> str | None:
        """Take a control record into account; one that cannot be is left out, and the reason given.

        Returns
        -------
        str or None
            Why it was refused.
        """
        if not control.model and control.action not in _WITHOUT_MODEL:
            refused: str | None = "no model is named"
        elif (refused := self._never_answers(control)) is None:
            try:
                refused = self._do(control)
            except SettingsError as error:
                refused = str(error)
        self._settle()
        return f"{control.action} {control.model!r} by {control.author}: {refused}" if refused else None

    def _never_answers(self, control: Control) -> str | None:
        """Say why a model may not be brought to answer, whoever wants it."""
        model, version = control.model, control.version
        if control.action not in _ANSWERING:
            return None
        if model in self.canaries:
            return "it is the canary, which never answers"
        if control.action == "ramp" and control.params.get("percent") == 0:
            return None  # that ends one
        if model in self._retired:
            return "it is retired: register it again first"
        if (model, version) in self._barred:
            return f"version {version!r} was rolled back: register it again first"
        return None

    def _do(self, control: Control) -> str | None:  # noqa: PLR0911 - one case an action
        match control.action:
            case "register":
                return self._register(control)
            case "warm":
                return self._find_warm(control)
            case "ramp":
                return self._ramp(control)
            case "hold":
                return self._hold(control)
            case "champion":
                return self._promote(control)
            case "schedule":
                return self._take_schedule(control)
            case "override":
                return self._override(control)
            case "rollback":
                return self._roll_back(control)
            case "retire":
                return self._retire(control)
            case _:  # a swap is about no model
                return None

    def _change(self, schedule: Schedule) -> None:
        self._given = schedule
        self._changes += 1

    def _register(self, control: Control) -> str | None:
        model = control.model
        self._known.add(model)
        self._retired.discard(model)
        self._barred.discard((model, control.version))
        if control.params.get("in_place"):
            self._pinned.pop(model, None)
        if control.params.get("role") == "canary":
            self.canaries.add(model)
        return None

    def _find_warm(self, control: Control) -> str | None:
        self._known.add(control.model)
        self._warm.add((control.model, control.version))
        return None

    def _ramp(self, control: Control) -> str | None:
        model, version, params = control.model, control.version, control.params
        percent, guard, anyway = params.get("percent"), params.get("guard"), bool(params.get("anyway"))
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
            return f"percent = {percent!r}: write a number from 0 to 100"
        if guard not in _GUARDS:
            return f"guard = {guard!r}: write hold, rollback or nothing"
        if percent > 0 and (reason := self._no_ramp(model, version, percent)) and not anyway:
            return reason
        self._change(self._given.ramp(model, percent))
        self._known.add(model)
        for of_ramp in (self._pinned, self._guards):
            of_ramp.pop(model, None)
        if percent > 0 and version:
            self._pinned[model] = version
        if percent > 0 and guard:
            self._guards[model] = guard
        if percent == 0 or anyway:
            self._held.pop(model, None)
        return None

    def _no_ramp(self, model: str, version: str, percent: float) -> str | None:
        """Say what speaks against a ramp."""
        if (model, version) not in self._warm:
            return f"version {version!r} is not warm: see `birdwatch deploy warm`, or ramp it anyway"
        if model in self._held and percent > self.ramps.get(model, 0.0):
            return f"it is held ({self._held[model]}): ramp it anyway if that is over"
        return None

    def _hold(self, control: Control) -> str | None:
        if control.model not in self.ramps:
            return "it is not being ramped up"
        self._held[control.model] = control.reason
        return None

    def _promote(self, control: Control) -> str | None:
        model = control.model
        before = self._given
        self._change(before.promote(model))
        self._before[model] = before
        self._known.add(model)
        for of_ramp in (self._pinned, self._guards, self._held):
            of_ramp.pop(model, None)
        if control.version:
            self._pinned[model] = control.version
        return None

    def _take_schedule(self, control: Control) -> str | None:
        # What the record leaves out stays as it is in force.
        values = self._given.model_dump() | control.params | {"version": control.version or self._given.version}
        schedule = parse_schedule(values, place="params")
        canaries = sorted(self.canaries.intersection((*schedule.models, *(rule.model for rule in schedule.overrides))))
        if canaries:
            return f"it names {', '.join(canaries)}, the canary, which never answers"
        self.canaries.update(schedule.canary)
        if "tiers" in control.params:
            self._before.clear()
        self._given = schedule
        self._changes = 0
        return None

    def _override(self, control: Control) -> str | None:
        name = control.params.get("name", control.model)
        rules: list[Any] = [rule for rule in self._given.overrides if rule.name != name]
        if control.params.get("clear"):
            if len(rules) == len(self._given.overrides):
                there = ", ".join(rule.name for rule in rules)
                return f"there is no rule {name!r}: " + (f"there are {there}" if there else "there are none")
        elif not control.model:
            return "no model is named"
        else:
            # The latest first: who adds a rule means it to hold.
            rules.insert(0, {"name": name, "model": control.model, "when": control.params.get("when", {})})
        values = self._given.model_dump() | {"overrides": rules}
        self._change(parse_schedule(values, place="params"))
        return None

    def _roll_back(self, control: Control) -> str | None:
        model, version, to = control.model, control.version, str(control.params.get("to") or "")
        self._barred.add((model, version))
        self._barred.discard((model, to))
        self._warm.discard((model, version))
        if self._pinned.get(model, version) != version:
            return None  # another version is in service, and stays there
        was_pinned = self._pinned.pop(model, None) is not None
        if model in self.ramps:
            self._change(self._given.ramp(model, 0))
            self._guards.pop(model, None)
            self._held.pop(model, None)
        elif was_pinned and to:
            self._pinned[model] = to
        elif was_pinned and model in self._before and model in self._given.tiers[0].models:
            self._change(self._put_back(self._before[model]))  # who was champion before is so again
        return None

    def _put_back(self, before: Schedule) -> Schedule:
        """Give the schedule with the tiers of an earlier one, and all else as it was said since."""
        tiers = before.model_dump()["tiers"]
        try:
            return parse_schedule(self._given.model_dump() | {"tiers": tiers}, place="schedule")
        except SettingsError:  # they no longer fit the deadline, say; a rollback is in force all the same
            return before

    def _retire(self, control: Control) -> str | None:
        if control.version:
            self._barred.add((control.model, control.version))
        else:
            self._retired.add(control.model)
        return None
