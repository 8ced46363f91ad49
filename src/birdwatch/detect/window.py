"""A window's sums, of which what is asked as a whole is worked out once: ten thousand models ask the same."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from birdwatch.windows.pane import Counts, Pane, Series

__all__ = ["Window", "by_model", "once"]

_Found = TypeVar("_Found")


class Window(dict[Series, Counts]):
    """The sum of a window's panes, of all models; it is not changed any more.

    Attributes
    ----------
    known
        What was worked out of it so far, by its name.
    """

    def __init__(self, sums: Mapping[Series, Counts]) -> None:
        super().__init__(sums)
        self.known: dict[str, Any] = {}


def once(pane: Mapping[Series, Counts], name: str, work: Callable[[Mapping[Series, Counts]], _Found]) -> _Found:
    """Give what ``work`` makes of a pane; of a `Window` it is made once, and known by its name."""
    if not isinstance(pane, Window):
        return work(pane)
    if name not in pane.known:
        pane.known[name] = work(pane)
    found: _Found = pane.known[name]
    return found


def by_model(pane: Mapping[Series, Counts]) -> dict[str, Pane]:
    """Give what was counted of each model, segments left out; of the fleet under the empty name.

    Examples
    --------
    >>> found = by_model({Series("score", "a", "1"): Counts.of([7]), Series("score", "b", "1"): Counts.of([8])})
    >>> sorted(found), len(found["a"])
    (['a', 'b'], 1)
    """
    return once(pane, "by model", _by_model)


def _by_model(pane: Mapping[Series, Counts]) -> dict[str, Pane]:
    found: dict[str, Pane] = {}
    for series, counts in pane.items():
        if not series.segment:
            found.setdefault(series.model, {})[series] = counts
    return found
