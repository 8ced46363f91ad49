"""What was read of a store and added up, remembered: who looks again reads only the panes that were closed since.

A dashboard asks the same again and again, for each reader and every few seconds; between two looks a pane or two is
closed. Sums of panes only ever grow at their end, so what was added up before stays, and what is new is added to it.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from birdwatch.windows.pane import Counts, Series, total
from birdwatch.windows.store import Store

__all__ = ["Memory", "RememberingStore"]

_MOST: Final = 60_000
_SECONDS: Final = 600.0
_WHOLE: Final = 2**62

_Key = tuple[Any, ...]


class _Sums:
    """One measure, added up by blocks of event time from ``since`` up to ``until``."""

    def __init__(self, since: int, read_at: float) -> None:
        self.since = self.until = since
        self.read_at = read_at
        self.blocks: dict[Series, dict[int, Counts]] = {}
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, list(self.blocks.values())))


class Memory:
    """What was added up of stores, shared by all threads that look at them.

    Parameters
    ----------
    most
        How many sums to keep, a sum being one series in one step: those that nobody asked for the longest go first.
    seconds
        After so long a sum is read anew. Panes are closed once; where something is added to one all the same, or one is put
        aside since it was damaged, it shows after this time at the latest.
    now
        A clock that never goes back.
    """

    def __init__(
        self, most: int = _MOST, seconds: float = _SECONDS, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._now = now
        self._kept: OrderedDict[_Key, _Sums] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: _Key, since: int, until: int) -> _Sums:
        """Give what is remembered of a question, from ``since`` on or from earlier; nothing of it when it is too old.

        Parameters
        ----------
        until
            Up to when there is anything: what reaches beyond is of a store that is gone.
        """
        now = self._now()
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.since > since or kept.until > until or now - kept.read_at > self._seconds:
                kept = self._kept[key] = _Sums(since, now)
            self._kept.move_to_end(key)
            return kept

    def forget(self) -> None:
        """Forget what was asked for the longest ago, until there is room."""
        with self._lock:
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._most:
                self._kept.popitem(last=False)


class _Asked(NamedTuple):
    measure: str
    model: str | None
    segment: str | None
    in_parts: bool


class RememberingStore(Store):
    """A store, open for reading, that knows what others have read of it.

    Its `rows` are those of `Store`, but where the caller says by what steps it adds up, they are added up by those already.
    """

    def __init__(self, path: str | Path, memory: Memory) -> None:
        super().__init__(path, readonly=True)
        self._memory = memory

    def rows(
        self,
        since: int,
        until: int,
        *,
        measure: str | None = None,
        model: str | None = None,
        segment: str | None = None,
        in_parts: bool = True,
        step: int | None = None,
    ) -> Iterator[tuple[int, Series, Counts]]:
        """Give (start, series, counts) as `Store.rows` does, by series and time."""
        closed = self.closed_range()
        seconds = self._block(since, until, step)
        if measure is None or closed is None or seconds is None:
            yield from super().rows(
                since, until, measure=measure, model=model, segment=segment, in_parts=in_parts, step=step
            )
            return
        asked = _Asked(measure, model, segment, in_parts)
        file = self.path.stat()
        # What reaches to the end of the store grows with it.
        fixed = until if seconds == _WHOLE and until < closed[1] else None
        key = (str(self.path), file.st_dev, file.st_ino, *asked, seconds, since % seconds, fixed)
        kept = self._memory.take(key, since, closed[1])
        with kept.lock:
            self._read(kept, asked, seconds, min(until, closed[1]))
            # A block is begun after the one before it, so those of a series are in order.
            found = [
                (start, series, counts)
                for series, blocks in sorted(kept.blocks.items())
                for start, counts in blocks.items()
                if since <= start < until
            ]
        self._memory.forget()
        yield from found

    def _block(self, since: int, until: int, step: int | None) -> int | None:
        """Choose the blocks by which to remember; None where nothing is to be gained."""
        if step is None or until <= since:
            return None
        return step if step < until - since else _WHOLE

    def _read(self, kept: _Sums, asked: _Asked, seconds: int, until: int) -> None:
        """Read on from where it was left."""
        while kept.until < until:
            # First to the end of the block that was left open, then all that follows at once.
            opened = (kept.until - kept.since) % seconds
            end = min(until, kept.until + seconds - opened) if opened else until
            parts: dict[Series, dict[int, list[Counts]]] = {}
            step = end - kept.until if opened else min(seconds, end - kept.until)
            for start, series, counts in super().rows(kept.until, end, **asked._asdict(), step=step):
                block = kept.since + (start - kept.since) // seconds * seconds
                parts.setdefault(series, {}).setdefault(block, []).append(counts)
            for series, of_series in parts.items():
                blocks = kept.blocks.setdefault(series, {})
                for block, found in of_series.items():
                    before = blocks.get(block)
                    blocks[block] = total(found if before is None else [before, *found])
            kept.until = end
