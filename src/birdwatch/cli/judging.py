"""What ``tail`` and ``judge`` do with their store: claim it, judge panes that have closed, and raise alerts."""

from collections.abc import Callable

import typer

from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.sinks import sink_names
from birdwatch.alerts.watchdog import Watchdog
from birdwatch.cli.following import Reads
from birdwatch.config import Settings
from birdwatch.content import content
from birdwatch.detect.judge import Judge
from birdwatch.detect.losses import losses
from birdwatch.detect.reach import refuse_dropped
from birdwatch.detect.reference import DAY
from birdwatch.detect.rules import load_rules
from birdwatch.detect.verdict import forget_verdicts
from birdwatch.errors import StoreBusyError
from birdwatch.windows.rollups import Keep
from birdwatch.windows.store import Store

__all__ = ["Watched", "claimed", "judging", "watchdog"]


def claimed(settings: Settings, stopping: Callable[[], bool]) -> Store:
    """Open the store for this process alone to count into; wait while another holds it locked.

    Raises
    ------
    StoreError
        It is damaged, or was written with other settings.
    """
    said = False
    while True:
        try:
            return _claim(settings)
        except StoreBusyError as error:
            if stopping():
                raise
            if not said:
                typer.echo(str(error), err=True)
            said = True


def _claim(settings: Settings) -> Store:
    store = Store(settings.store, pane_seconds=settings.pane_seconds)
    try:
        store.claim()
    except BaseException:
        store.close()
        raise
    return store


def judging(store: Store, settings: Settings) -> Callable[[int], None]:
    """Give what is to be called inside the store's transaction with the event time up to which panes are closed.

    Raises
    ------
    SettingsError
        The rules cannot be read, or do not fit the store's panes, or how long these are kept.
    """
    rules = load_rules(settings.rules or content("detectors"))
    if not settings.references:
        refuse_dropped(
            rules.rules,
            Keep.asked(settings),
            store.pane_seconds,
            windows_start_seconds=settings.windows_start_seconds,
        )
    judge = Judge(
        store,
        rules,
        windows_start_seconds=settings.windows_start_seconds,
        judge_from=settings.judge_from,
        references=settings.references,
        scale=settings.scale,
        unit=settings.unit,
        canary=settings.canary,
    )
    sinks = sink_names(settings)

    def closed(until: int) -> None:
        advance(store, [*judge.step(until), *losses(store, until)], sinks=sinks)
        if settings.keep_verdicts_days is not None:
            forget_verdicts(store, until - settings.keep_verdicts_days * DAY)

    return closed


class Watched:
    """Reads, and says after each step that went well that the judge works: one that is in trouble falls silent.

    Parameters
    ----------
    reads
        What is stepped.
    dog
        Says it when it is time; none is silent always.
    """

    def __init__(self, reads: Reads, dog: Watchdog | None) -> None:
        self.reading = reads.reading
        self._reads = reads
        self._dog = dog

    def step(self) -> int:
        """Read once; give the number of messages read."""
        read = self._reads.step()
        if self._dog is not None:
            self._dog.beat()
        return read

    def close(self) -> None:
        """Let go of what is read."""
        self._reads.close()


def watchdog(store: Store, settings: Settings) -> Watchdog | None:
    """Give the watchdog that the settings ask for, if any."""
    every = settings.watchdog_seconds
    return None if every is None else Watchdog(store, every, sinks=sink_names(settings))
