"""All that must be there before the first request: data, models, the month before, settings."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from birdwatch.demo import story
from birdwatch.demo.backfill import backfill, skip_to_end
from birdwatch.demo.flights import Year, questions, start_of
from birdwatch.demo.models import MODELS, categories, load, matrix, save, train
from birdwatch.demo.weather import inject
from birdwatch.records import CONTROL_KEY, Control, encode
from birdwatch.serving.control.schedule import load_schedule
from birdwatch.serving.rendezvous.turns import FIRST
from birdwatch.streams import Streams

__all__ = ["Layout", "configure", "fill_in", "train_models"]

_CANARY_KNOWS_UNTIL: Final = start_of("2013-03-01")


@dataclass(frozen=True)
class Layout:
    """What lies where in the folder of a run.

    Attributes
    ----------
    elsewhere
        The address of the streams, if they are not to lie in the folder.
    """

    folder: Path
    elsewhere: str | None = None

    @property
    def streams(self) -> str:
        """The address of the streams."""
        return self.elsewhere or f"sqlite:{self.folder / 'streams'}"

    @property
    def store(self) -> Path:
        """The file with panes, verdicts and alerts."""
        return self.folder / "birdwatch.db"

    @property
    def weather(self) -> Path:
        """The table that the gateway's plug-in reads."""
        return self.folder / "weather.csv"

    @property
    def schedule(self) -> Path:
        """The rendezvous schedule."""
        return self.folder / "schedule.yaml"

    @property
    def settings(self) -> Path:
        """The settings of the observing side."""
        return self.folder / "birdwatch.yaml"

    @property
    def alert_log(self) -> Path:
        """A line for every alert."""
        return self.folder / "alerts.jsonl"

    @property
    def archive(self) -> Path:
        """What the decoy saw."""
        return self.folder / "archive"

    @property
    def logs(self) -> Path:
        """What the processes say."""
        return self.folder / "logs"

    def model(self, name: str) -> Path:
        """Give the file of a model."""
        return self.folder / "models" / f"{name}.skops"


def train_models(year: Year, layout: Layout) -> dict[str, int]:
    """Fit all models to what was known on the first day served; give the number of flights each has learnt from.

    The canary is an older one: it knows January and February.
    """
    plug_in = inject(layout.weather)
    first = start_of(story.FIRST_DAY)
    before = questions(year, 0.0, first)
    features = [plug_in(question.features, question.ts) for question in before]
    late, arrived = (year.truth[name].to_numpy()[: len(before)] for name in ("late", "arrived"))
    known = categories(features)
    numbers = matrix(features, known)
    layout.model("any").parent.mkdir(parents=True, exist_ok=True)

    def fit(name: str) -> int:
        # A flight that never landed, or has not yet, teaches nothing.
        landed = arrived < (_CANARY_KNOWS_UNTIL if name == story.CANARY else first)
        save(train(name, numbers[landed], known, late[landed]), layout.model(name))
        return int(landed.sum())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(MODELS, pool.map(fit, MODELS), strict=True))


def fill_in(year: Year, streams: Streams, layout: Layout, since: float) -> int:
    """Score the month before ``since``, and let serving begin after it; give the number of requests."""
    asked = questions(year, since - story.BACKFILL_DAYS * 86_400, since)
    models = {name: load(layout.model(name)) for name in MODELS}
    count = backfill(
        streams,
        asked,
        inject(layout.weather),
        models,
        canary=story.CANARY,
        deadline_seconds=story.DEADLINE_SECONDS,
    )
    skip_to_end(streams, "gateway", ["requests"])
    skip_to_end(streams, "rendezvous", ["requests", "scores", "canary"])
    return count


def configure(
    year: Year,
    layout: Layout,
    streams: Streams,
    *,
    since: float,
    webhook: str,
    schedule: Callable[[float], dict[str, Any]] = story.schedule,
) -> None:
    """Write the settings of both sides, and put the schedule, made from the base rate, on control.

    The rendezvous would do so itself, but at the time of this year; finding its own there, it puts none.
    """
    first = start_of(story.FIRST_DAY)
    base_rate = float(year.truth["late"][year.flights["ts"] < first].mean())
    _write(layout.schedule, schedule(base_rate))
    plan = load_schedule(layout.schedule)
    in_force = Control(
        ts=since,
        action="schedule",
        author=FIRST,
        reason="the rendezvous was started with it",
        version=plan.version,
        params=plan.model_dump(mode="json", exclude={"version"}),
    )
    streams.append("control", [(CONTROL_KEY, encode(in_force))])
    observing = story.settings(
        layout.streams, layout.store, judge_from=since, webhook=webhook, alert_log=layout.alert_log
    )
    _write(layout.settings, observing)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(values, sort_keys=False))
