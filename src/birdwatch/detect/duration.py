"""Durations and moments as people write them in rules and on the command line: ``1h``, ``28d``, ``2013-05-14``."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

__all__ = ["Duration", "Seconds", "parse_duration", "parse_moment", "say_duration", "say_moment"]

_PATTERN: Final = r"\s*(\d+(?:\.\d+)?)\s*(ms|[smhdw])?\s*"

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_duration(text: str | float) -> float:
    """Read a duration in seconds; a bare number is seconds already.

    Raises
    ------
    ValueError
        It is neither.

    Examples
    --------
    >>> parse_duration("28d")
    2419200.0
    >>> parse_duration("200ms")
    0.2
    """
    found = re.fullmatch(_PATTERN, str(text))
    if found is None or isinstance(text, bool):
        raise ValueError(f"{text!r} is no duration: write a number and ms, s, m, h, d or w, such as 1h or 28d")
    return float(found[1]) * _UNITS[found[2] or "s"]


def say_duration(seconds: float) -> str:
    """Write a duration with the largest unit that divides it.

    Examples
    --------
    >>> say_duration(2419200), say_duration(0.25)
    ('28d', '250ms')
    """
    for unit in ("d", "h", "m", "s"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds * 1000:g}ms"


def parse_moment(text: str) -> float:
    """Read a moment as Unix seconds: a date or time in ISO 8601, in UTC where it does not say, or Unix seconds already.

    Raises
    ------
    ValueError
        It is neither.

    Examples
    --------
    >>> parse_moment("1970-01-02"), parse_moment("1970-01-01T01:00+01:00"), parse_moment("12.5")
    (86400.0, 0.0, 12.5)
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: write 2013-05-14, 2013-05-14T06:00 or Unix seconds") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def say_moment(seconds: float) -> str:
    """Write a moment in UTC.

    Examples
    --------
    >>> say_moment(1368489600)
    '2013-05-14 00:00'
    """
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def _whole(value: Any) -> int:
    seconds = parse_duration(value)
    if seconds < 1 or seconds % 1:
        raise ValueError(f"{value!r} is not a whole number of seconds, at least one")
    return int(seconds)


# What editors are told that a file may say.
_Text = Annotated[str, Field(pattern=f"^{_PATTERN}$")]

Duration = Annotated[int, BeforeValidator(_whole, json_schema_input_type=_Text | Annotated[int, Field(ge=1)])]
"""A field that holds a stretch of event time: whole seconds."""

Seconds = Annotated[
    float, BeforeValidator(parse_duration, json_schema_input_type=_Text | Annotated[float, Field(ge=0)])
]
"""A field that holds a time of any size, such as the objective of a latency."""
