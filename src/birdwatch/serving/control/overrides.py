"""Rules of a schedule that force a model: the first whose conditions a request's features meet.

::

    overrides:
      - name: "new airport"        # logged as override_by
        when: {dest: [LEX, JAC]}   # one of these values
        model: careful
      - name: "far and late"
        when: {distance: {at_least: 2000}, hour: {at_least: 20, below: 24}}
        model: night

All conditions of a rule must hold; a rule without any forces its model on every request. The features are those that
the models see, so a rule may ask for injected state too.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    field_validator,
    model_validator,
)

__all__ = ["BY_REQUEST", "Condition", "OverrideRule", "Range", "forced", "matches"]

BY_REQUEST: Final = "request"
"""Who forced the model when the client asked for it: no rule may be called so."""

_Name = Annotated[str, StringConstraints(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """Numbers from ``at_least`` on that lie ``below`` the other end; one of the two may be left out."""

    at_least: FiniteFloat | None = None
    below: FiniteFloat | None = None

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.at_least is None and self.below is None:
            raise ValueError("a range needs at_least, below, or both")
        if self.at_least is not None and self.below is not None and self.at_least >= self.below:
            raise ValueError(f"no number is at_least {self.at_least} and below {self.below}")
        return self

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.at_least is None or value >= self.at_least) and (self.below is None or value < self.below)


_Scalar = bool | int | float | str


def _is_scalar(value: object) -> bool:
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


def _readable(value: object) -> object:
    """Refuse in one sentence what a union of types would refuse in five."""
    if isinstance(value, Mapping):
        unknown = sorted(set(map(str, value)) - {"at_least", "below"})
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no end of a range: write at_least or below")
        wrong = [
            end for end in value.values() if end is not None and (isinstance(end, str | bool) or not _is_scalar(end))
        ]
        if wrong:
            raise ValueError(f"a range goes from number to number, not {wrong[0]!r}")
    elif isinstance(value, list | tuple):
        wrong = [each for each in value if not _is_scalar(each)]
        if not value or wrong:
            raise ValueError(f"the list {value!r} must name texts, numbers, true or false, and one at least")
    elif not isinstance(value, Range) and not _is_scalar(value):
        raise ValueError(
            f"{value!r} must be a text, a number, true or false, a list of such, or {{at_least: x, below: y}}"
        )
    return value


Condition = Annotated[_Scalar | tuple[_Scalar, ...] | Range, BeforeValidator(_readable)]
"""What a feature must be: a value, one of several, or in a range."""


class OverrideRule(_Strict):
    """Forces ``model`` on every request whose features meet all conditions in ``when``.

    Attributes
    ----------
    name
        How answers that it forces are marked (``override_by``).
    when
        By feature, what it must be; empty holds for every request.
    model
        The model that must answer.
    """

    name: _Name
    when: dict[_Name, Condition] = Field(default_factory=dict)
    model: _Name

    @field_validator("name")
    @classmethod
    def _not_the_client(cls, name: str) -> str:
        if name == BY_REQUEST:
            raise ValueError(f"{name!r} marks what a client asks for: call the rule something else")
        return name


def matches(rule: OverrideRule, features: Mapping[str, Any]) -> bool:
    """Say whether a rule's conditions all hold; a feature that is missing, or null, meets none.

    Examples
    --------
    >>> late = OverrideRule(name="late", when={"hour": {"at_least": 20}, "origin": ["JFK", "EWR"]}, model="night")
    >>> matches(late, {"hour": 21.5, "origin": "JFK"}), matches(late, {"hour": 19, "origin": "JFK"})
    (True, False)
    """
    return all(_meets(features.get(name), condition) for name, condition in rule.when.items())


def forced(rules: Iterable[OverrideRule], features: Mapping[str, Any]) -> OverrideRule | None:
    """Give the first rule that matches."""
    return next((rule for rule in rules if matches(rule, features)), None)


def _meets(value: object, condition: Condition) -> bool:
    if isinstance(condition, Range):
        return value in condition
    wanted = condition if isinstance(condition, tuple) else (condition,)
    # JSON's true is no 1, though Python's is.
    return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in wanted)
