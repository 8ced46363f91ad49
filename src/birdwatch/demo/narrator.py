"""Tells a person at the terminal what happens in the demo, while it happens."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from birdwatch.demo.flights import time_of
from birdwatch.records import Alert, Control
from birdwatch.serving.control.ledger import say

__all__ = ["Narrator"]

_STYLES: Final = {"page": "bold red", "ticket": "yellow", "info": "cyan"}


class Narrator:
    """Prints sentences; on a terminal also what is under way, and how far it has come.

    Parameters
    ----------
    console
        Where to print.
    clock
        In seconds; the story begins now.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self._clock = clock
        self._began = clock()
        self._move: Callable[[float], None] = lambda _: None

    @property
    def seconds(self) -> float:
        """How long the story has been going on."""
        return self._clock() - self._began

    @contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Say what is being done, and then how long it took."""
        began = self._clock()
        with self.console.status(f"{escape(doing)} …"):
            yield
        self.say(f"[{self.seconds:5.1f} s] {doing}: {self._clock() - began:.1f} s")

    @contextmanager
    def flight(self, since: float, until: float) -> Iterator[None]:
        """Show how far event time has come, until the context ends; `moved` moves it."""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
        shown = Progress(*columns, TimeRemainingColumn(), console=self.console, disable=not self.console.is_terminal)
        with shown:
            task = shown.add_task(time_of(since), total=until - since)
            self._move = lambda ts: shown.update(task, completed=ts - since, description=time_of(ts))
            try:
                yield
            finally:
                self._move = lambda _: None

    def moved(self, ts: float) -> None:
        """Event time has come so far."""
        self._move(ts)

    def say(self, sentence: str, style: str = "") -> None:
        """Print a sentence as it is."""
        self.console.print(escape(sentence), style=style or None, highlight=False, soft_wrap=True)

    def alert(self, alert: Alert) -> None:
        """Tell of an alert that was delivered."""
        about = " ".join(part for part in (alert.model, alert.version) if part) or "all models"
        head = f"{time_of(alert.ts)}  {alert.severity}"
        if alert.state == "resolved":
            self.say(f"{head} over: {about} ({alert.rule}): {alert.reason}", "green")
        else:
            cause = f"{alert.attribution}: " if alert.attribution else ""
            self.say(f"{head}: {cause}{about} ({alert.rule}): {alert.reason}", _STYLES[alert.severity])

    def control(self, control: Control) -> None:
        """Tell of an operational change."""
        self.say(f"{time_of(control.ts)}  {control.author}: {say(control)}: {control.reason}", "bold")
