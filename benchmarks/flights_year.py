"""How often the demo's rules cry wolf, and how soon they name a bad version: April to December, scored offline.

First four models of which none ever changes are judged by the rules as they stand: every page is false. Then the bad
version of the challenger, which reads the hour in UTC, comes into service on every third day anew, and its pair is judged
hour by hour until it is named. docs/decisions/0005 says how the rules' constants were chosen. About ten minutes:
.venv/bin/python benchmarks/flights_year.py [--json FILE]
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from birdwatch.alerts.history import AlertRow, read_alerts
from birdwatch.alerts.lifecycle import advance
from birdwatch.config import Settings
from birdwatch.content import content
from birdwatch.demo import story
from birdwatch.demo.backfill import backfill
from birdwatch.demo.flights import Question, day_of, days_of, load_year, questions, start_of
from birdwatch.demo.models import MODELS, Model, load, load_utc
from birdwatch.demo.prepare import Layout, train_models
from birdwatch.demo.weather import inject, write_weather
from birdwatch.detect.attribution import INPUTS_CHANGED
from birdwatch.detect.judge import Judge
from birdwatch.detect.kind import Case, State
from birdwatch.detect.pairs import PairRule
from birdwatch.detect.rules import RuleSet, load_rules
from birdwatch.detect.sums import WindowSums
from birdwatch.detect.verdict import Subject
from birdwatch.streams import open_streams
from birdwatch.windows.pane import PAIR_COUNTERS, Series, counters
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

SINCE, UNTIL = start_of("2013-04-01"), start_of("2014-01-01")
DAY = 86_400
SOON = 500
"""Within so many requests of its first a bad version should be named."""

WAIT_HOURS = 60
EVERY_DAYS = 3


class Deployment(NamedTuple):
    """The bad version, come into service on a day: after how many requests it was named, by which rule; None is never."""

    day: str
    requests: int | None
    rule: str


class Found(NamedTuple):
    """What the year came to."""

    alerts: list[AlertRow]
    rules: RuleSet
    deployments: list[Deployment]


def judge_the_year(folder: Path, console: Console) -> Found:
    """Train, score, count and judge; then deploy the bad version again and again."""
    layout = Layout(folder)
    with console.status("training the models"):
        year = load_year()
        write_weather(year.weather, layout.weather)
        train_models(year, layout)
    with console.status("scoring March to December"):
        asked = questions(year, SINCE - story.BACKFILL_DAYS * DAY, UNTIL)
        models = {name: load(layout.model(name)) for name in MODELS}
        streams = open_streams(layout.streams)
        plug_in = inject(layout.weather)
        backfill(streams, asked, plug_in, models, canary=story.CANARY, deadline_seconds=story.DEADLINE_SECONDS)
        streams.close()
    with console.status("counting") as status:
        store = _counted(layout.streams, layout.store)
        status.update("judging")
        alerts, rules = _judged(store)
        status.update("deploying the bad version")
        bad = {name: models[name] for name in (story.CHAMPION, story.CANARY)}
        bad[story.CHALLENGER] = load_utc(layout.model(story.CHALLENGER))
        deployments = _deployed(store, _counted_bad(layout, asked, bad), rules)
    store.close()
    return Found(alerts, rules, deployments)


def _settings(streams: str, store: Path) -> Settings:
    given = story.settings(streams, store, judge_from=SINCE, webhook="", alert_log=store.with_suffix(".jsonl"))
    return Settings(**{**given, "webhook": None, "keep_panes_days": None})


def _counted(streams: str, path: Path) -> Store:
    store = Store(path, pane_seconds=story.PANE_SECONDS)
    place = open_streams(streams)
    tail = Tail(place, store, _settings(streams, path), finite=True)
    while tail.step():
        pass
    tail.finish()
    tail.close()
    place.close()
    return store


def _counted_bad(layout: Layout, asked: list[Question], models: dict[str, Model]) -> Store:
    """Count the bad version beside the champion, from 1 April on."""
    address = f"sqlite:{layout.folder / 'bad'}"
    streams = open_streams(address)
    served = [question for question in asked if question.ts >= SINCE]
    backfill(
        streams, served, inject(layout.weather), models, canary=story.CANARY, deadline_seconds=story.DEADLINE_SECONDS
    )
    streams.close()
    return _counted(address, layout.folder / "bad.db")


def _judged(store: Store) -> tuple[list[AlertRow], RuleSet]:
    rules = load_rules(content("detectors"))
    # Nobody was served, so there is no latency to look at and nothing was selected.
    kinds = ("distribution", "paired", "disagreement")
    rules = rules._replace(rules=tuple(rule for rule in rules.rules if rule.kind in kinds))
    start = int(SINCE) % DAY
    judge = Judge(store, rules, windows_start_seconds=start, judge_from=SINCE, canary=story.CANARY)
    for end in range(int(SINCE) + DAY, int(UNTIL) + 1, DAY):
        with store.transaction():
            advance(store, judge.step(end))
    return read_alerts(store, 0, 2**40), rules


def _deployed(store: Store, bad: Store, rules: RuleSet) -> list[Deployment]:
    """Let the bad version begin on every third day, and judge its hours until a rule on pairs names it."""
    pair = Subject(story.CHALLENGER, "1", story.CHAMPION)  # the backfill calls every version 1
    series = Series("pair", pair.model, pair.version, pair.partner)
    on_pairs = [rule for rule in rules.rules if isinstance(rule, PairRule)]
    subjects = 3  # of each rule: challenger and fallback against the champion, and the champion against the canary
    level = np.log(len(on_pairs) * subjects * rules.budget.per / story.PANE_SECONDS / rules.budget.pages)
    sums = WindowSums(store)
    found = []
    for start in range(int(SINCE), int(UNTIL) - 3 * DAY, EVERY_DAYS * DAY):
        named: tuple[int, str] | None = None
        taught = {
            rule.name: rule.learned(
                sums.trailing(
                    start,
                    rule.window,
                    rule.reference.trailing or 0,
                    rolled_back=(),
                    subject=pair,
                    measures=rule.needs(pair),
                ),
                pair,
            )
            for rule in on_pairs
        }
        states: dict[str, State] = {rule.name: {} for rule in on_pairs}
        requests = 0
        for at in range(start, start + WAIT_HOURS * story.PANE_SECONDS, story.PANE_SECONDS):
            pane = bad.pane(at, at + story.PANE_SECONDS)
            requests += counters(pane.get(series), PAIR_COUNTERS)["n"]
            for rule in on_pairs:
                case = Case(pair, at, at + story.PANE_SECONDS, pane, taught=taught[rule.name])
                verdict, states[rule.name] = rule.judge(case, states[rule.name], float(level))
                if verdict.alarmed and named is None:
                    named = requests, rule.name
            if named:
                break
        found.append(Deployment(day_of(start), *(named or (None, ""))))
    return found


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    given = options.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="birdwatch-year-") as folder:
        alerts, rules, deployments = judge_the_year(Path(folder), console)
    truth = days_of(load_year(), SINCE, UNTIL)
    disrupted = set(truth.index[truth["disrupted"]].astype(str))
    pages = [alert for alert in alerts if alert.severity == "page"]
    tickets = [alert for alert in alerts if alert.attribution.startswith(INPUTS_CHANGED)]
    called = sorted({day_of(alert.fired - 1) for alert in tickets if alert.attribution == INPUTS_CHANGED})
    differ = sorted({day_of(alert.fired - 1) for alert in tickets if alert.attribution != INPUTS_CHANGED} - set(called))
    hits = sum(day in disrupted for day in called)
    table = Table("month", "false pages", "inputs changed, days", "of them disrupted", "disrupted days")
    for month in sorted({str(day)[:7] for day in truth.index}):
        mine = [day for day in called if day.startswith(month)]
        numbers = [sum(day_of(page.fired - 1).startswith(month) for page in pages), len(mine)]
        rest = [sum(day in disrupted for day in mine), sum(day.startswith(month) for day in disrupted)]
        table.add_row(month, *map(str, [*numbers, *rest]))
    console.print(table)
    allowed = rules.budget.pages * (UNTIL - SINCE) / rules.budget.per
    console.print(f"{len(pages)} false pages in {len(truth)} days; the budget allows {allowed:.1f} on average")
    for alert in [*pages, *tickets]:
        mark = "*" if day_of(alert.fired - 1) in disrupted else " "
        console.print(f"  {day_of(alert.fired - 1)}{mark} {alert.severity}: {alert.reason}", markup=False)
    precision = hits / max(len(called), 1)
    console.print(
        f"inputs changed on {len(called)} days, {hits} of them disrupted (precision {precision:.2f}, recall"
        f" {hits / len(disrupted):.2f} of {len(disrupted)}); on {len(differ)} more the models differed on inputs that had"
        f" changed, {sum(day in disrupted for day in differ)} of them disrupted"
    )
    needed = np.array([one.requests if one.requests is not None else np.inf for one in deployments])
    console.print(
        f"the bad version, begun on each of {needed.size} days: named after {np.median(needed):.0f} requests in the"
        f" median, within {SOON} in {np.mean(needed <= SOON):.1%}, at the latest after {needed.max():.0f}"
    )
    if given.json:
        figures = {
            "days": len(truth),
            "false_pages": [f"{day_of(a.fired - 1)} {a.reason}" for a in pages],
            "allowed": allowed,
            "inputs_changed": called,
            "inputs_changed_disrupted": hits,
            "models_differed": differ,
            "disrupted": len(disrupted),
            "alerts": Counter(f"{a.severity}: {a.rule}: {a.attribution}" for a in alerts),
            "deployments": [one._asdict() for one in deployments],
        }
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
