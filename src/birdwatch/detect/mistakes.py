"""Mistakes in what users write, rules and plug-ins: each with its place, and with what was meant, perhaps."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Mistake", "nearest"]


class Mistake(NamedTuple):
    """What is wrong, and where."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        """Write it as compilers do, so that editors find the place."""
        return f"{self.file}:{self.line}: {self.message}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Ask whether the name most like it was meant, or list them all.

    Examples
    --------
    >>> nearest("latencey", ["latency", "rate"])
    "did you mean 'latency'?"
    >>> nearest("x", ["latency", "rate"])
    'there are latency, rate'
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
