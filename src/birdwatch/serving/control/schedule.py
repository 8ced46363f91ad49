"""Which model may answer when: tiers that open one after the other, and a default that always answers in time.

::

    version: "3"
    deadline_seconds: 1.0         # the promise to the client
    return_margin_seconds: 0.05   # kept back for the way to the client
    default: 0.2                  # the answer when no model has one
    tiers:
      - models: [champion]        # at once
        ramps: {challenger: 5}    # but for 5 % of the keys this one
      - models: [cheap, cheaper]  # after so many seconds also these
        after_seconds: 0.4
        policy: {kind: weights, weights: {cheap: 3, cheaper: 1}}

`birdwatch.serving.rendezvous.decision` chooses by it.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError, model_validator

from birdwatch.errors import SettingsError
from birdwatch.serving.control.overrides import OverrideRule
from birdwatch.serving.control.policy import Policy, Priority, Thompson, Weights

__all__ = ["DEFAULT_MODEL", "Acceptance", "Dithering", "Schedule", "Tier", "load_schedule", "parse_schedule"]

DEFAULT_MODEL: Final = "default"
"""The name under which the default answers; its version is the schedule's."""

_SAID: Final = {
    "extra_forbidden": "there is no such field",
    "missing": "must be given",
    "model_type": "write `name: value` lines",
    "tuple_type": "write a list",
}
"""Faults, by pydantic's name for them, in words for who writes the YAML."""

ModelName = Annotated[str, StringConstraints(min_length=1)]
Percent = Annotated[FiniteFloat, Field(gt=0, le=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tier(_Strict):
    """Models that may answer from ``after_seconds`` after receipt on.

    Attributes
    ----------
    models
        Among these the policy chooses.
    policy
        Fixed priority by default: of several that have a score, the first named answers.
    ramps
        By model, the percentage of the keys that it answers before the policy chooses.
    """

    models: tuple[ModelName, ...] = Field(min_length=1)
    after_seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    policy: Policy = Priority()
    ramps: dict[ModelName, Percent] = Field(default_factory=dict)

    @property
    def arms(self) -> tuple[str, ...]:
        """All that may answer here."""
        return (*self.ramps, *self.models)

    @model_validator(mode="after")
    def _weighed(self) -> Self:
        if isinstance(self.policy, Weights) and set(self.policy.weights) != set(self.models):
            raise ValueError(
                f"policy.weights names {', '.join(self.policy.weights)}, the tier {', '.join(self.models)}: give every"
                " model of the tier its weight"
            )
        return self

    def without(self, models: Collection[str]) -> "Tier | None":
        """Give the tier without some models; None when nothing is left of it."""
        kept = tuple(model for model in self.models if model not in models)
        ramps = {model: percent for model, percent in self.ramps.items() if model not in models}
        if not kept:
            # A tier that has lost its own models is left to those that were ramped up in it.
            return Tier(models=tuple(ramps), after_seconds=self.after_seconds) if ramps else None
        policy = self.policy
        if isinstance(policy, Weights):
            policy = Weights(kind="weights", weights={model: policy.weights[model] for model in kept})
        return Tier(models=kept, after_seconds=self.after_seconds, policy=policy, ramps=ramps)


class Acceptance(_Strict):
    """What the answer means: which scores are accepted, and how many of the others are let through all the same.

    Those let through are drawn, so that there is data on what the models would reject.
    """

    threshold: FiniteFloat
    accepts: Literal["below", "at_least"]
    rate: Annotated[float, Field(ge=0, le=1)] = 0.0

    def accepts_score(self, score: float) -> bool:
        """Say whether the model itself accepts.

        Examples
        --------
        >>> Acceptance(threshold=0.5, accepts="below").accepts_score(0.5)
        False
        """
        return score < self.threshold if self.accepts == "below" else score >= self.threshold


class Dithering(_Strict):
    """Reorders ranked outputs a little, the deep results more than the top ones; see `birdwatch.serving.rendezvous.dithering`.

    Attributes
    ----------
    epsilon
        1 leaves the order, 1.5 to 3 are usual.
    field
        Where in the output the ranking lies; the output itself by default.
    """

    epsilon: Annotated[FiniteFloat, Field(ge=1)]
    field: str | None = None


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
    salt
        Any text; keep it to yourself where clients choose their ids, or they could choose their model.
    overrides
        Rules that force a model by the features of a request; the first that matches does.
    acceptance
        Which scores are accepted; None leaves that to the client.
    dithering
        How much ranked outputs are reordered; None leaves them as they are.
    """

    version: str = "1"
    deadline_seconds: Annotated[FiniteFloat, Field(gt=0)] = 1.0
    return_margin_seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.05
    default: FiniteFloat
    tiers: tuple[Tier, ...] = Field(min_length=1)
    canary: tuple[ModelName, ...] = ()
    salt: str = ""
    overrides: tuple[OverrideRule, ...] = ()
    acceptance: Acceptance | None = None
    dithering: Dithering | None = None

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
            for model in tier.arms:
                self._check_may_answer(model, f"{place}.models")
                if model in seen:
                    raise ValueError(f"{place}.models names {model!r} a second time: a model has one place")
                seen.add(model)
        for rule in self.overrides:
            self._check_may_answer(rule.model, f"overrides, rule {rule.name!r},")
        return self

    def _check_may_answer(self, model: str, place: str) -> None:
        if model in self.canary:
            raise ValueError(f"{place} names {model!r}, the canary: it never answers")
        if model == DEFAULT_MODEL:
            raise ValueError(f"{place} names {model!r}: that is what the default is called")

    @property
    def models(self) -> tuple[str, ...]:
        """All models that may answer by the tiers, the most preferred first."""
        return tuple(model for tier in self.tiers for model in tier.arms)

    @property
    def learns(self) -> Thompson | None:
        """The policy that learns from outcomes, if there is one."""
        return next((tier.policy for tier in self.tiers if isinstance(tier.policy, Thompson)), None)

    def answers_within(self, model: str) -> float:
        """Give the seconds from receipt until others may answer in a model's stead: to the end of its tier.

        Of a model that is in none: of the first, into which it would be ramped.
        """
        number = next((number for number, tier in enumerate(self.tiers) if model in tier.arms), 0)
        later = self.tiers[number + 1 :]
        return later[0].after_seconds if later else self.deadline_seconds - self.return_margin_seconds

    def without(self, models: Collection[str]) -> Self:
        """Give the schedule without some models; tiers left empty go, and there may be none left.

        Examples
        --------
        >>> both = Schedule(default=0.5, tiers=[{"models": ["a"]}, {"models": ["b"], "after_seconds": 0.1}])
        >>> both.without({"a"}).models
        ('b',)
        """
        tiers = tuple(kept for tier in self.tiers if (kept := tier.without(models)) is not None)
        rules = tuple(rule for rule in self.overrides if rule.model not in models)
        # Not validated again: what is left of a valid schedule may lack its first tier, or all of them.
        return self.model_copy(update={"tiers": tiers, "overrides": rules})

    def promote(self, model: str) -> "Schedule":
        """Give the schedule with ``model`` as the only one in the first tier; the others there go on in shadow.

        Examples
        --------
        >>> Schedule(default=0.5, tiers=[{"models": ["a"]}, {"models": ["b"], "after_seconds": 0.1}]).promote("b").models
        ('b',)
        """
        rest = [kept for tier in self.tiers[1:] if (kept := tier.without({model})) is not None]
        return self._with_tiers(Tier(models=(model,)), *rest)

    def ramp(self, model: str, percent: float) -> "Schedule":
        """Give the schedule in which ``model`` answers a percentage of the keys in the first tier; 0 ends its ramp.

        Raises
        ------
        SettingsError
            The percentage is none, or the model is in the first tier without a ramp.

        Examples
        --------
        >>> Schedule(default=0.5, tiers=[{"models": ["a"]}]).ramp("b", 10).tiers[0].ramps
        {'b': 10.0}
        """
        first, *rest = self.tiers
        if model in first.models:
            raise SettingsError(f"it is in the first tier with {', '.join(first.models)}: it needs no ramp")
        # A model keeps its place among the ramps: the keys of those after it depend on it.
        ramps = {name: share for name, share in {**first.ramps, model: percent}.items() if share != 0}
        if percent != 0:
            rest = [kept for tier in rest if (kept := tier.without({model})) is not None]
        return self._with_tiers(first.model_dump() | {"ramps": ramps}, *rest)

    def _with_tiers(self, *tiers: Any) -> "Schedule":
        plain = [tier.model_dump() if isinstance(tier, Tier) else tier for tier in tiers]
        return parse_schedule(self.model_dump() | {"tiers": plain}, place="schedule")


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
        faults = error.errors()
        for fault in faults:
            if fault["type"] == "too_short" and any(_lies_in(other["loc"], fault["loc"]) for other in faults):
                continue  # it misses what was left out because it is wrong
            name = ".".join(str(part) for part in fault["loc"])
            given = "" if fault["type"] in {"missing", "value_error"} or not name else f" = {fault['input']!r}"
            message = _SAID.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
            lines.append(f"{place}: {name}{given}{': ' if name else ''}{message}")
        raise SettingsError("\n".join(lines)) from error


def _lies_in(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


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
