"""Roll-ups: which sums of panes a store keeps, and from which of them a stretch of event time is best read.

Panes add up, so the sum of an hour's panes, its *cell*, answers every question about whole hours, and may stay when the
panes are gone. Cells begin at whole hours and days (UTC), where these are longer than a pane and made of whole panes.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from birdwatch.config import Settings

__all__ = ["Held", "Keep", "Stretch", "levels"]

_DAY: Final = 86_400
_CELLS: Final = (3_600, _DAY)
_NEVER: Final = -(2**62)


def levels(pane_seconds: int) -> tuple[int, ...]:
    """Name the lengths in which a store keeps sums: the pane's, then those of its roll-ups.

    Examples
    --------
    >>> levels(60), levels(3_600), levels(5_000)
    ((60, 3600, 86400), (3600, 86400), (5000,))
    """
    return (pane_seconds, *(cell for cell in _CELLS if cell > pane_seconds and cell % pane_seconds == 0))


class Stretch(NamedTuple):
    """The event times [since, until), to be read from sums that are ``seconds`` long."""

    seconds: int
    since: int
    until: int


class Keep(NamedTuple):
    """How long sums are kept, in seconds of event time; None is for ever.

    Attributes
    ----------
    panes, hours
        Panes, and sums of hours (where panes are shorter), until they are dropped. What the longest level has stays.
    """

    panes: int | None = None
    hours: int | None = None

    @classmethod
    def asked(cls, settings: Settings) -> Self:
        """Read what is set."""
        days = (settings.keep_panes_days, settings.keep_hours_days)
        return cls(*(None if each is None else each * _DAY for each in days))

    def of(self, level: int, pane_seconds: int) -> int | None:
        """Give how long a level is kept."""
        known = levels(pane_seconds)
        if level == known[-1]:
            return None
        return self.panes if level == pane_seconds else self.hours


class Held(NamedTuple):
    """What is held of each level.

    Attributes
    ----------
    levels
        As `levels` gives them.
    done
        Event time up to which the cells of a roll-up are written.
    kept
        Event time before which a level has been dropped; what follows is there.
    """

    levels: tuple[int, ...]
    done: dict[int, int]
    kept: dict[int, int]

    @classmethod
    def noted(cls, pane_seconds: int, note: Mapping[str, Mapping[str, int]]) -> Self:
        """Read what a store has noted."""
        done, kept = ({int(level): at for level, at in note.get(what, {}).items()} for what in ("done", "kept"))
        return cls(levels(pane_seconds), done, kept)

    def to_note(self) -> dict[str, dict[str, int]]:
        """Give what a store notes."""
        return {
            what: {str(level): at for level, at in found.items()}
            for what, found in (("done", self.done), ("kept", self.kept))
        }

    def kept_from(self, level: int) -> int:
        """Give the event time from which on a level is there."""
        return self.kept.get(level, _NEVER)

    def done_until(self, level: int) -> int:
        """Give the event time up to which a level is there: of a roll-up, up to the end of its last cell."""
        return self.done.get(level, _NEVER) if level != self.levels[0] else -_NEVER

    def finest(self, start: int) -> int:
        """Give the finest level that still holds the pane that starts here."""
        return next(level for level in self.levels if self.kept_from(level) <= start)

    def stretches(self, since: int, until: int, step: int | None) -> list[Stretch]:
        """Cut [since, until) into stretches, each to be read from the coarsest level that serves.

        Parameters
        ----------
        step
            The caller adds up by so many seconds, counted from ``since``: no sum may reach over an end of a step. None
            asks for the finest there is.

        Returns
        -------
        list of Stretch
            In order of time. Where what was asked for is gone, a coarser level stands in, with the cells that start there.

        Examples
        --------
        >>> held = Held(levels(60), {3_600: 10_800}, {60: 3_600})
        >>> held.stretches(0, 14_400, 3_600)
        [Stretch(seconds=3600, since=0, until=10800), Stretch(seconds=60, since=10800, until=14400)]
        >>> held.stretches(0, 14_400, None)
        [Stretch(seconds=3600, since=0, until=3600), Stretch(seconds=60, since=3600, until=14400)]
        """
        asked = [level for level in self.levels if self._serves(level, since, until, step)]
        found: list[Stretch] = []
        left = [(since, until)]
        for level in reversed(asked):
            left = self._take(found, level, left, whole=level != self.levels[0])
        for level in self.levels[1:]:
            left = self._take(found, level, left, whole=False)
        return sorted(found, key=lambda stretch: stretch.since)

    def _serves(self, level: int, since: int, until: int, step: int | None) -> bool:
        if level == self.levels[0]:
            return True
        if step is None:
            return False
        return step >= until - since or (since % level == 0 and step % level == 0)

    def _take(
        self, found: list[Stretch], level: int, left: list[tuple[int, int]], *, whole: bool
    ) -> list[tuple[int, int]]:
        """Take from what is left all that a level has of it, if asked in whole cells; give what is left then."""
        rest: list[tuple[int, int]] = []
        for since, until in left:
            first, last = (-(-since // level) * level, until // level * level) if whole else (since, until)
            first, last = max(first, self.kept_from(level)), min(last, self.done_until(level))
            if first < last:
                found.append(Stretch(level, first, last))
                rest += [(a, b) for a, b in ((since, first), (last, until)) if a < b]
            else:
                rest.append((since, until))
        return rest
