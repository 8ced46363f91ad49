"""Sums of panes by window, kept in memory: a reference of four weeks is read once, not again for every window."""

from collections import OrderedDict
from collections.abc import Collection
from typing import Final, NamedTuple

from birdwatch.detect.duration import say_duration
from birdwatch.detect.reference import Block, Reference
from birdwatch.detect.state import blamed
from birdwatch.windows.pane import Counts, Pane, Series, total
from birdwatch.windows.store import Store

__all__ = ["Part", "WindowSums"]

Part = tuple[int, int]
"""A part of a window, as seconds from its start."""

_UNUSED: Final = "joint"


class _Sum(NamedTuple):
    pane: Pane
    spans: dict[tuple[str, str], Part]


class WindowSums:
    """Reads windows from the store.

    Parameters
    ----------
    store
        The store; its closed panes are taken not to change any more.
    most
        How many windows to keep in memory.
    """

    def __init__(self, store: Store, most: int = 64) -> None:
        self._store = store
        self._most = most
        self._kept: OrderedDict[tuple[int, int], _Sum] = OrderedDict()

    def pane(self, start: int, end: int) -> Pane:
        """Give the sum of the panes in [start, end)."""
        return self._sum(start, end).pane

    def part(self, start: int, end: int, model: str, version: str) -> Part | None:
        """Give the part of a window in which a version was there, if another one was there for the rest.

        A model that scored all along, with pauses, was there for the whole window: None.
        """
        spans = {which: span for which, span in self._sum(start, end).spans.items() if which[0] == model}
        return spans.get((model, version)) if len(spans) > 1 else None

    def trailing(
        self,
        start: int,
        length: int,
        back: int,
        *,
        rolled_back: Collection[tuple[str, str]],
        part: Part | None = None,
        every: int = 1,
    ) -> Reference:
        """Give the windows of the ``back`` seconds before ``start``, or the same part of each.

        They lie a multiple of ``every`` seconds apart, as close as they may without overlapping: a day gives those that
        begin at the same time of the day. A model is left out of the blocks in which it was found bad, or a version at
        work that was rolled back since.
        """
        apart = -(-length // every) * every
        closed = self._store.closed_range()
        first = start if closed is None else closed[0]
        blocks = []
        for at in range(start - back // apart * apart, start, apart):
            if at < first:
                continue
            begin, end = (at + part[0], at + part[1]) if part else (at, at + length)
            pane = self._read(begin, end).pane if part else self.pane(begin, end)
            if pane:
                bad = {s.model for s in pane if (s.model, s.version) in rolled_back}
                blocks.append(Block(at, pane, blamed(self._store, at, at + length) | bad))
        return Reference(f"the trailing {say_duration(back)}", start - back, start, length, tuple(blocks))

    def _sum(self, start: int, end: int) -> _Sum:
        found = self._kept.get((start, end))
        if found is None:
            found = self._read(start, end)
            self._kept[start, end] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end((start, end))
        return found

    def _read(self, start: int, end: int) -> _Sum:
        parts: dict[Series, list[Counts]] = {}
        spans: dict[tuple[str, str], Part] = {}
        for at, series, counts in self._store.rows(start, end):
            if series.measure == _UNUSED:
                continue
            parts.setdefault(series, []).append(counts)
            if series.measure == "counts" and series.model:
                which = (series.model, series.version)
                begin = at - start
                before = spans.get(which, (begin, begin))
                spans[which] = (min(before[0], begin), max(before[1], begin + self._store.pane_seconds))
        return _Sum({series: total(found) for series, found in parts.items()}, spans)
