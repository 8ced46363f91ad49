"""Sums of panes by window: the windows that rules judge, and the rows of them that trail as a reference.

What a rule does not need of its reference is not read: a quarter of a year by the hour is two thousand windows.
"""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import NamedTuple

from birdwatch.detect.duration import say_duration
from birdwatch.detect.reference import Block, Reference
from birdwatch.detect.state import blamed_windows
from birdwatch.detect.verdict import Subject
from birdwatch.detect.window import Window
from birdwatch.windows.pane import Counts, Series, total
from birdwatch.windows.store import Store

__all__ = ["Part", "WindowSums"]

Part = tuple[int, int]
"""A part of a window, as seconds from its start."""


class _Sum(NamedTuple):
    pane: Window
    spans: dict[str, dict[str, Part]]


class WindowSums:
    """Reads windows from the store.

    Parameters
    ----------
    store
        The store; its closed panes are taken not to change any more.
    most
        How many windows to keep in memory.
    """

    def __init__(self, store: Store, most: int = 8) -> None:
        self._store = store
        self._most = most
        self._kept: OrderedDict[tuple[int, int], _Sum] = OrderedDict()

    def pane(self, start: int, end: int) -> Window:
        """Give the sum of the panes in [start, end)."""
        return self._sum(start, end).pane

    def part(self, start: int, end: int, model: str, version: str) -> Part | None:
        """Give the part of a window in which a version was there, if another one was there for the rest.

        A model that scored all along, with pauses, was there for the whole window: None.
        """
        spans = self._sum(start, end).spans.get(model, {})
        return spans.get(version) if len(spans) > 1 else None

    def trailing(
        self,
        start: int,
        length: int,
        back: int,
        *,
        rolled_back: Collection[tuple[str, str]],
        part: Part | None = None,
        every: int = 1,
        subject: Subject | None = None,
        measures: Collection[str] | None = None,
    ) -> Reference:
        """Give the windows of the ``back`` seconds before ``start``, or the same part of each.

        They lie a multiple of ``every`` seconds apart, as close as they may without overlapping: a day gives those that
        begin at the same time of the day. A model is left out of the blocks in which it was found bad, or a version at
        work that was rolled back since.

        Parameters
        ----------
        subject, measures
            Only these measures of the subject's model and partner (of all models, if it names none); by default all.
        """
        apart = -(-length // every) * every
        closed = self._store.closed_range()
        first = max(start if closed is None else closed[0], start - back // apart * apart)
        first += (start - first) % apart
        begin, end = part or (0, length)
        panes: dict[int, dict[Series, list[Counts]]] = {}
        step = math.gcd(apart, length, begin, end)
        for at, series, counts in self._rows(first, start, step, subject, measures):
            where, within = divmod(at - first, apart)
            if begin <= within < end:
                panes.setdefault(first + where * apart, {}).setdefault(series, []).append(counts)
        bad = list(blamed_windows(self._store, first, start))
        for model, version in sorted(rolled_back):
            if subject is None or model in (subject.model, subject.partner):
                rows = self._store.rows(first, start, measure="counts", model=model, step=step)
                bad += [
                    (model, at, at + self._store.pane_seconds) for at, series, _ in rows if series.version == version
                ]
        left_out: dict[int, set[str]] = {}
        for model, since, until in bad:
            for at in range(first + (max(since, first) - first) // apart * apart, min(until, start), apart):
                if since < at + length:  # and not between two blocks
                    left_out.setdefault(at, set()).add(model)
        blocks = tuple(
            Block(
                at,
                {series: found[0] if len(found) == 1 else total(found) for series, found in pane.items()},
                frozenset(left_out.get(at, ())),
            )
            for at, pane in sorted(panes.items())
        )
        return Reference(f"the trailing {say_duration(back)}", start - back, start, length, blocks)

    def _rows(
        self, since: int, until: int, step: int, subject: Subject | None, measures: Collection[str] | None
    ) -> Iterator[tuple[int, Series, Counts]]:
        if measures is None:
            yield from self._store.rows(since, until, step=step)
            return
        models: list[str | None] = [model for model in (subject.model, subject.partner) if model] if subject else []
        for measure in measures:
            for model in models or [None]:
                yield from self._store.rows(since, until, measure=measure, model=model, in_parts=False, step=step)

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
        spans: dict[str, dict[str, Part]] = {}
        for _, series, counts in self._store.rows(start, end, in_parts=False, step=end - start):
            parts.setdefault(series, []).append(counts)
        for at, series, _ in self._store.rows(start, end, measure="counts", in_parts=False):
            if series.model:
                begin = at - start
                of_model = spans.setdefault(series.model, {})
                before = of_model.get(series.version, (begin, begin))
                of_model[series.version] = (min(before[0], begin), max(before[1], begin + self._store.pane_seconds))
        return _Sum(Window({series: total(found) for series, found in parts.items()}), spans)
