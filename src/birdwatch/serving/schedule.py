"""Which model may answer when: tiers that open one after the other, and a default that always answers in time.

::

    version: "3"
    deadline_seconds: 1.0         # the promise to the client
    return_margin_seconds: 0.05   # kept back for the way to the client
    default: 0.2                  # the answer when no model has one
    tiers:
      - models: [champion]        # at once
      - models: [cheap]           # after so many seconds also this one
        after_seconds: 0.4

`decide` is pure: what is in the mailbox, the schedule and the time give the choice, or until when to wait for it.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Protocol, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError, model_validator

from birdwatch.errors import SettingsError
from birdwatch.records import Reason, Score

__all__ = ["DEFAULT_MODEL", "Choice", "Open", "Schedule", "Tier", "Wait", "decide", "load_schedule", "parse_schedule"]

DEFAULT_MODEL: Final = "default"
"""The name under which the default answers; its version is the schedule's."""

ModelName = Annotated[str, StringConstraints(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tier(_Strict):
    """Models that may answer from ``after_seconds`` after receipt on; of several that have, the first named does."""

    models: tuple[ModelName, ...] = Field(min_length=1)
    after_seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.0


class Schedule(_Strict):
    """The tiers in order of preference, the default, and the clock they share.

    Attributes
    ----------
    deadline_seconds
        The service-level objective, counted from the gateway's receipt.
    return_margin_seconds
        How long before the deadline the rendezvous decides at the latest.
    default
        The score when no model has one.
    canary
        Models that must never answer, named so that a mistake is found here.
    """

    version: str = "1"
    deadline_seconds: Annotated[FiniteFloat, Field(gt=0)] = 1.0
    return_margin_seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.05
    default: FiniteFloat
    tiers: tuple[Tier, ...] = Field(min_length=1)
    canary: tuple[ModelName, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        closes = self.deadline_seconds - self.return_margin_seconds
        if closes <= 0:
            raise ValueError(
                f"return_margin_seconds = {self.return_margin_seconds} leaves nothing of the deadline of"
                f" {self.deadline_seconds} s: make it smaller"
            )
        seen: set[str] = set()
        before = 0.0
        for number, tier in enumerate(self.tiers):
            place = f"tiers.{number}"
            if number == 0 and tier.after_seconds != 0:
                raise ValueError(f"{place}.after_seconds = {tier.after_seconds}: the first tier opens at once, at 0")
            if number > 0 and not before < tier.after_seconds < closes:
                raise ValueError(
                    f"{place}.after_seconds = {tier.after_seconds}: must lie after the tier before it ({before}) and"
                    f" before the deadline less the return margin ({closes:g})"
                )
            before = tier.after_seconds
            for model in tier.models:
                if model in self.canary:
                    raise ValueError(f"{place}.models names {model!r}, the canary: it never answers")
                if model == DEFAULT_MODEL:
                    raise ValueError(f"{place}.models names {model!r}: that is what the default is called")
                if model in seen:
                    raise ValueError(f"{place}.models names {model!r} a second time: a model has one place")
                seen.add(model)
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """All models that may answer, the most preferred first."""
        return tuple(model for tier in self.tiers for model in tier.models)

    def without(self, models: Collection[str]) -> Self:
        """Give the schedule without some models; tiers left empty go, and there may be none left.

        Examples
        --------
        >>> both = Schedule(default=0.5, tiers=[{"models": ["a"]}, {"models": ["b"], "after_seconds": 0.1}])
        >>> both.without({"a"}).models
        ('b',)
        """
        kept = [(tuple(m for m in tier.models if m not in models), tier.after_seconds) for tier in self.tiers]
        tiers = tuple(Tier(models=names, after_seconds=after) for names, after in kept if names)
        # Not validated again: what is left of a valid schedule may lack its first tier, or all of them.
        return self.model_copy(update={"tiers": tiers})

    def promote(self, model: str) -> "Schedule":
        """Give the schedule with ``model`` as the only one in the first tier; the others there go on in shadow.

        Examples
        --------
        >>> Schedule(default=0.5, tiers=[{"models": ["a"]}, {"models": ["b"], "after_seconds": 0.1}]).promote("b").models
        ('b',)
        """
        rest = [tier for tier in self.without({model}).tiers if tier.after_seconds > 0]
        return parse_schedule({**self.model_dump(), "tiers": [Tier(models=(model,)), *rest]}, place="champion")


class Open(Protocol):
    """What `decide` looks at: an open request, with the scores of those models that may answer."""

    @property
    def received_ts(self) -> float: ...  # noqa: D102 - as in `birdwatch.records.Request`
    @property
    def deadline_seconds(self) -> float: ...  # noqa: D102
    @property
    def override(self) -> str | None: ...  # noqa: D102
    @property
    def scores(self) -> Mapping[str, Score]: ...  # noqa: D102


class Choice(NamedTuple):
    """The answer: whose, which, and why. Tier -1 is the default."""

    model: str
    version: str
    score: float
    output: Any
    tier: int
    reason: Reason


class Wait(NamedTuple):
    """No answer yet: decide again when a score comes, or at this time."""

    until: float


def decide(
    mailbox: Open, schedule: Schedule, now: float, admits: Callable[[Score], bool] = lambda _: True
) -> Choice | Wait:
    """Choose the answer to a request, or say until when to wait.

    A tier opens at its time, or at once when every model before it has failed. An override is a single tier of its own.
    When the return margin begins, any admissible score is better than the default; once the deadline has passed, only
    the default is given, since that is what the gateway has told the client by then.

    Parameters
    ----------
    mailbox
        The request and the scores that have come, by model.
    now
        The wall clock.
    admits
        Whether a score may answer; one that may not (of a version rolled back, say) counts as failed.
    """
    deadline = mailbox.received_ts + mailbox.deadline_seconds
    closes = deadline - schedule.return_margin_seconds
    default = Choice(DEFAULT_MODEL, schedule.version, schedule.default, None, -1, "default")
    if now >= deadline:
        return default
    tiers = schedule.tiers if mailbox.override is None else (Tier(models=(mailbox.override,)),)
    all_failed = True
    for number, tier in enumerate(tiers):
        opens = min(mailbox.received_ts + tier.after_seconds, closes)
        if not all_failed and now < opens:
            return Wait(opens)
        for model in tier.models:
            score = mailbox.scores.get(model)
            if score is None:
                all_failed = False
            elif score.score is not None and score.error is None and admits(score):
                reason: Reason = "first choice" if number == 0 else "timed out"
                if mailbox.override is not None:
                    reason = "override"
                elif number > 0 and all_failed:
                    reason = "all failed"
                return Choice(model, score.version, score.score, score.output, number, reason)
    if all_failed:
        return default._replace(reason="all failed")
    return default if now >= closes else Wait(closes)


def parse_schedule(values: Any, *, place: str) -> Schedule:
    """Read a schedule from plain values.

    Parameters
    ----------
    place
        Where the values come from, for the error.

    Raises
    ------
    SettingsError
        A value is wrong; the message names the place, the field and the value.
    """
    if isinstance(values, dict) and "version" in values:
        values = {**values, "version": str(values["version"])}  # YAML reads `version: 3` as a number
    try:
        return Schedule.model_validate(values)
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            name = ".".join(str(part) for part in fault["loc"])
            given = "" if fault["type"] in {"missing", "value_error"} or not name else f" = {fault['input']!r}"
            message = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{place}: {name}{given}{': ' if name else ''}{message}")
        raise SettingsError("\n".join(lines)) from error


def load_schedule(path: Path) -> Schedule:
    """Read a schedule from a YAML file.

    Raises
    ------
    SettingsError
        The file cannot be read or is no schedule; the message names the file, the field and the value.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as a schedule: {error}") from error
    return parse_schedule(values, place=str(path))
