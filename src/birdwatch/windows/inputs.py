"""Which values of a request are watched, as features or as dimensions of segments, and how each becomes a column.

A number is a float64: NaN where it is missing, `WRONG` where something else stands in its place. A category is bytes:
empty where it is missing, `WRONG_TEXT` where something else does. So a column alone says what there was.
"""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from birdwatch.config import Feature, Segment, Settings

__all__ = [
    "LONGEST",
    "NOTHING",
    "WRONG",
    "WRONG_TEXT",
    "Input",
    "Inputs",
    "Reader",
    "as_number",
    "as_text",
    "at",
    "column_of",
]

WRONG: Final = math.inf
"""Stands in a column of numbers where a request had something that is none: a text, a list, an object."""

WRONG_TEXT: Final = b"\xff"
"""Stands in a column of categories where a request had a list or an object; no text has this byte."""

LONGEST: Final = 60
"""A category's text is cut to so many characters, and an ellipsis says so: longer ones are seldom categories."""


class Input(NamedTuple):
    """A watched value of a request.

    Attributes
    ----------
    name
        What measures and segments call it.
    path
        Where it is in ``Request.features``.
    most
        How many categories are counted by name in a pane.
    edges
        Where a number's bands meet; empty for the cells of the grid.
    """

    name: str
    kind: Literal["number", "category"]
    path: tuple[str, ...]
    most: int = 50
    edges: tuple[float, ...] = ()

    @property
    def column(self) -> str:
        """Name the column that has its values; two inputs of the same path and kind share it."""
        return f"{self.kind}:{'.'.join(self.path)}"


class Inputs(NamedTuple):
    """All that is watched of requests: ``features`` for themselves, ``dimensions`` to see models in parts."""

    features: tuple[Input, ...] = ()
    dimensions: tuple[Input, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> "Inputs":
        """Read what the settings name.

        Examples
        --------
        >>> Inputs.of(Settings(features={"visib": Feature(path="weather.visib")})).features[0].path
        ('weather', 'visib')
        """

        def each(named: Mapping[str, Feature | Segment]) -> tuple[Input, ...]:
            return tuple(
                Input(name, one.kind, tuple((one.path or name).split(".")), one.most, tuple(getattr(one, "edges", ())))
                for name, one in sorted(named.items())
            )

        return cls(each(settings.features), each(settings.segments))

    def uncut(self) -> "Inputs":
        """Give the same, with every category by its name: which are rare only the whole pane tells."""
        return Inputs(*(tuple(one._replace(most=sys.maxsize) for one in each) for each in self))

    @property
    def columns(self) -> dict[str, Input]:
        """Give an input for each column that is needed."""
        return {one.column: one for one in (*self.features, *self.dimensions)}


NOTHING: Final = Inputs()
"""No input is watched."""


class Reader:
    """Reads what is watched out of the features of requests, and leaves the rest of them undecoded.

    Attributes
    ----------
    kind
        The type that a decoder gives to ``Request.features``: the names in use, each of any type.
    """

    def __init__(self, inputs: Inputs) -> None:
        tops = sorted({one.path[0] for one in inputs.columns.values()})
        attributes = {top: f"f{number}" for number, top in enumerate(tops)}  # a name need not be an identifier
        self.kind: type[msgspec.Struct] = msgspec.defstruct(
            "Features",
            cast("Any", [(attribute, Any, None) for attribute in attributes.values()]),
            rename={attribute: top for top, attribute in attributes.items()},
            gc=False,
        )
        self._reads = [(name, one.kind, attributes[one.path[0]], one.path[1:]) for name, one in inputs.columns.items()]

    def columns(self, features: Sequence[Any]) -> dict[str, NDArray[Any]]:
        """Give a column for each watched path, of objects of `kind` or None."""
        found = {}
        for name, kind, attribute, rest in self._reads:
            values = [getattr(one, attribute, None) for one in features]
            found[name] = column_of(kind, [at(value, rest) for value in values] if rest else values)
        return found


def at(record: Any, path: Sequence[str], default: Any = None) -> Any:
    """Follow a path into nested objects; ``default`` where it leads nowhere."""
    for part in path:
        if not isinstance(record, dict) or part not in record:
            return default
        record = record[part]
    return record


def column_of(kind: str, values: Sequence[Any]) -> NDArray[Any]:
    r"""Make a column of what the requests have; None is missing.

    Examples
    --------
    >>> column_of("number", [1.5, True, None, "1.5"]).tolist()
    [1.5, 1.0, nan, inf]
    >>> column_of("category", ["JFK", 7.0, None, ["JFK"]]).tolist()
    [b'JFK', b'7', b'', b'\xff']
    """
    if kind == "number":
        return np.fromiter(_numbers(values), np.float64, len(values))
    return np.array([as_text(value) for value in values], dtype="S") if values else np.empty(0, "S1")


def _numbers(values: Sequence[Any]) -> Iterable[float]:
    finite = math.isfinite
    return (v if type(v) is float and finite(v) else as_number(v) for v in values)  # most are: spare them the call


def as_number(value: Any) -> float:
    """Read a value as a number: NaN if it is missing (null, NaN or infinite), `WRONG` if it is of another type.

    A truth value is 0 or 1. A text is of the wrong type, also one that looks like a number: who sends it has changed.
    """
    if value is None:
        return math.nan
    if not isinstance(value, int | float | Decimal):
        return WRONG
    try:
        number = float(value)
    except (OverflowError, ValueError):  # an integer beyond all floats; a signalling NaN
        return math.nan
    return number if math.isfinite(number) else math.nan


def as_text(value: Any) -> bytes:
    """Read a value as a category: empty if it is missing (null, empty, NaN or infinite), `WRONG_TEXT` if it cannot be one.

    A number is a category by its shortest text, 7.0 as 7; a truth value is ``true`` or ``false``.
    """
    if type(value) is not str:
        if isinstance(value, bool):
            value = "true" if value else "false"
        elif not isinstance(value, int):
            number = as_number(value)
            if number == WRONG:
                return WRONG_TEXT
            value = "" if math.isnan(number) else str(int(number) if number.is_integer() else number)
        value = str(value)
    if len(value) > LONGEST:
        value = value[:LONGEST] + "…"
    text: bytes = value.encode(errors="replace")
    return text
