"""The demo from beginning to end: data, models, processes, a stretch of the year, and what came of it."""

import asyncio
import math
import time
import webbrowser
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from rich.console import Console

from birdwatch.alerts.history import read_alerts
from birdwatch.content import content
from birdwatch.demo import booking, story
from birdwatch.demo.client import Client
from birdwatch.demo.deployment import changes
from birdwatch.demo.feeder import Feeder, Landing, landed
from birdwatch.demo.flights import Question, Year, days_of, load_year, questions, start_of, time_of
from birdwatch.demo.models import MODELS
from birdwatch.demo.narrator import Narrator
from birdwatch.demo.pipeline import PIPELINE, dashboard_address, serves, start_dashboard, start_pipeline
from birdwatch.demo.place import claim, require_unused
from birdwatch.demo.prepare import Layout, configure, fill_in, train_models
from birdwatch.demo.printout import show
from birdwatch.demo.progress import Progress
from birdwatch.demo.recording import record, record_events
from birdwatch.demo.report import Report, make_report, write
from birdwatch.demo.supervisor import Supervisor
from birdwatch.demo.weather import write_weather
from birdwatch.demo.webhook import Receiver
from birdwatch.detect.rules import load_rules
from birdwatch.detect.verdict import read_verdicts
from birdwatch.errors import BirdwatchError
from birdwatch.records import Control, decode
from birdwatch.serving.control.guard import AUTHOR
from birdwatch.streams import Streams, open_streams
from birdwatch.windows.store import Store

__all__ = ["Options", "run"]

_DAY: Final = 86_400
_LAST_DAY: Final = "2013-12-31"
_DELIVERY_SECONDS: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be asked of a run.

    Attributes
    ----------
    first_day
        The first day served, 1 April or later: the models have learnt from what lies before.
    days
        How many; None goes on to the end of the year.
    speed
        Seconds of event time in a second; None goes as fast as the readers keep up.
    dashboard, open_browser
        Whether to start the dashboard, and to open a browser on it.
    stay
        Whether the dashboard stays up when the flights are over, until it is interrupted.
    run_dir
        The folder for all that the run makes.
    report
        Where to write the report as JSON.
    explore
        Whether a bandit chooses who answers, and flights are booked or not by the answer, instead of the usual story.
    recording
        Where to write the stretches worth keeping as recorded streams; of a run that explores, all that it served.
    streams
        The address of a place for the streams, which must have none of theirs; None keeps them in ``run_dir``.
    """

    first_day: str = story.FIRST_DAY
    days: int | None = None
    speed: float | None = None
    dashboard: bool = True
    open_browser: bool = False
    stay: bool = False
    run_dir: Path = Path("run/demo")
    report: Path | None = None
    explore: bool = False
    recording: Path | None = None
    streams: str | None = None

    def stretch(self) -> tuple[float, float]:
        """Give the event time [since, until) that is served.

        Raises
        ------
        BirdwatchError
            It is not in the part of the year that the models have not seen.
        """
        try:
            since = start_of(self.first_day)
        except ValueError as error:
            raise BirdwatchError(f"--from {self.first_day!r} is no day: write it like 2013-05-12") from error
        if not start_of(story.FIRST_DAY) <= since <= start_of(_LAST_DAY):
            raise BirdwatchError(f"--from {self.first_day} is outside of {story.FIRST_DAY} to {_LAST_DAY}")
        end = start_of(_LAST_DAY) + _DAY
        return since, end if self.days is None else min(end, since + self.days * _DAY)


def run(options: Options, console: Console) -> Report:
    """Run the demo; every process it starts has ended when this returns or raises.

    Raises
    ------
    BirdwatchError
        The data are missing, the folder is not ours, the streams are somebody's, or a process that is needed has ended.
    """
    since, until = options.stretch()
    tell = Narrator(console)
    with ExitStack() as held:
        if options.streams is not None:
            require_unused(options.streams)
        layout = Layout(held.enter_context(claim(options.run_dir)), options.streams)
        streams = open_streams(layout.streams)
        held.callback(streams.close)
        year = _prepare(tell, layout, streams, since)
        receiver = held.enter_context(Receiver(tell.alert))
        schedule = booking.schedule if options.explore else story.schedule
        configure(year, layout, streams, since=since, webhook=receiver.url, schedule=schedule)
        supervisor = held.enter_context(Supervisor(layout.logs, lambda trouble: tell.say(trouble, "magenta")))
        with tell.step(f"starting {len(PIPELINE) + options.dashboard} processes"):
            if options.dashboard:
                start_dashboard(supervisor, layout)
            gateway = start_pipeline(supervisor, layout)
        if options.dashboard:
            _show_dashboard(tell, supervisor, in_browser=options.open_browser)
        store = Store(layout.store, readonly=True)
        held.callback(store.close)

        asked = _questions(year, since, until)
        verdicts = _FirstVerdict(tell, store, since)

        acts = _GuardsActs(tell, streams)
        held.callback(acts.close)

        def on_step(ts: float) -> None:
            tell.moved(ts)
            acts.look()
            verdicts.look(ts)
            supervisor.check()

        with Client(gateway, lambda trouble: tell.say(trouble, "magenta")) as client, tell.flight(since, until):
            feeder = Feeder(
                streams,
                client.ask,
                Progress(streams, store, supervisor.check).caught_up,
                models=len(MODELS) - 1,
                pane_seconds=story.PANE_SECONDS,
                speed=options.speed,
                tell=booking.earned if options.explore else landed,
                on_step=on_step,
                on_control=tell.control,
            )
            staged = changes(
                streams,
                layout,
                since,
                until,
                serves=lambda model, version: serves(supervisor, model, version),
                say=lambda sentence: tell.say(f"{time_of(story.RAMP_FROM)}  birdwatch deploy warm: {sentence}"),
            )
            played = feeder.play(asked, _landings(year, asked), () if options.explore else staged)
            served = asyncio.run(played)
        _await_delivery(store, receiver, supervisor, since)
        supervisor.stop(*PIPELINE)
        report = make_report(
            served,
            streams,
            read_alerts(store, since, math.inf),
            read_verdicts(store, int(since), int(until)),
            receiver.took,
            days_of(year, since, _judged_until(asked, until)),
            since=since,
            until=until,
            deadline_seconds=story.DEADLINE_SECONDS,
            canary=story.CANARY,
            wall_seconds=tell.seconds,
        )
        show(report, console)
        if options.report is not None:
            write(report, options.report)
        if options.recording is not None:
            for name, written in _record(options.recording, streams, store, options).items():
                tell.say(f"{written:,} messages recorded in {options.recording / name}")
        tell.say(f"{tell.seconds:.0f} s in all; look again with: birdwatch dashboard --store {layout.store}")
        if options.dashboard and options.stay:
            _stay(tell, supervisor)
    return report


def _prepare(tell: Narrator, layout: Layout, streams: Streams, since: float) -> Year:
    """Have the data, the models, and the month before the first request."""
    with tell.step("reading a year of flights and weather"):
        year = load_year()
        write_weather(year.weather, layout.weather)
    with tell.step(f"training {len(MODELS)} models on January to March"):
        train_models(year, layout)
    with tell.step(f"scoring the {story.BACKFILL_DAYS} days before the first"):
        fill_in(year, streams, layout, since)
    return year


def _questions(year: Year, since: float, until: float) -> list[Question]:
    """Give all that is asked in [since, until), and in the first hour with flights after it.

    A window is judged when event time has passed its end: the first flights of the next morning say so.
    """
    later = questions(year, until, until + _DAY)
    closing = [question for question in later if question.ts < _pane_end(later[0].ts)]
    return questions(year, since, until) + closing


def _pane_end(ts: float) -> float:
    return ts // story.PANE_SECONDS * story.PANE_SECONDS + story.PANE_SECONDS


def _judged_until(asked: list[Question], until: float) -> float:
    """Give the end of the last day that was judged: the year's last has no next morning."""
    return until if asked and asked[-1].ts >= until else until - _DAY


def _landings(year: Year, asked: list[Question]) -> dict[int, Landing]:
    """Give the truth about the flights, by row; a flight that never landed as planned has none."""
    rows = [question.row for question in asked]
    known = year.truth.iloc[rows].dropna(subset=["arrived", "late"])
    return {int(row): Landing(at, late) for row, at, late in known[["arrived", "late"]].itertuples()}


def _show_dashboard(tell: Narrator, supervisor: Supervisor, *, in_browser: bool) -> None:
    address, about_port = dashboard_address(supervisor)
    if about_port is not None:
        tell.say(about_port)
    tell.say(f"the dashboard is at {address}", "bold")
    if in_browser:
        webbrowser.open(address)


def _stay(tell: Narrator, supervisor: Supervisor) -> NoReturn:
    tell.say("The flights are over; the dashboard stays up until Ctrl-C.")
    while True:
        supervisor.check()
        time.sleep(1.0)


def _record(folder: Path, streams: Streams, store: Store, options: Options) -> dict[str, int]:
    """Record what is worth keeping: the events of the story, or all that a bandit served."""
    since, until = options.stretch()
    if options.explore:
        return {options.first_day: sum(record(streams, folder / options.first_day, since, until).values())}
    return record_events(streams, store, folder, until, load_rules(content("detectors")).rules)


def _await_delivery(store: Store, receiver: Receiver, supervisor: Supervisor, since: float) -> None:
    """Wait a little for the receiver to get the alerts that were raised last."""
    until = time.monotonic() + _DELIVERY_SECONDS
    while time.monotonic() < until:
        if all(receiver.took(alert.fingerprint, alert.fired) for alert in read_alerts(store, since, math.inf)):
            return
        supervisor.check()
        time.sleep(0.1)


class _GuardsActs:
    """Says what the guard has done."""

    def __init__(self, tell: Narrator, streams: Streams) -> None:
        self._tell = tell
        self._reader = streams.reader(["control"])

    def look(self) -> None:
        """Look for news."""
        while messages := self._reader.poll(timeout=0.0):
            for message in messages:
                control = decode(message.value, Control)
                if control.author == AUTHOR:
                    self._tell.control(control)

    def close(self) -> None:
        """Let go of the stream."""
        self._reader.close()


class _FirstVerdict:
    """Says when the first verdict was given, and what it was."""

    def __init__(self, tell: Narrator, store: Store, since: float) -> None:
        self._tell = tell
        self._store = store
        self._since = int(since)
        self._given = False

    def look(self, ts: float) -> None:
        """Look for it, until it is there."""
        if self._given:
            return
        found = read_verdicts(self._store, self._since, int(ts))
        if found:
            self._given = True
            first = found[0]
            self._tell.say(
                f"[{self._tell.seconds:5.1f} s] the first verdict: {first.rule}: {first.status}: {first.reason}"
            )
