"""How often the demo's rules cry wolf: April to December, scored offline by four models of which none ever changes.

Every page is false here. Tolerances, floors and windows were chosen on March; docs/decisions/0003 says what else was
seen before. About four minutes:
.venv/bin/python benchmarks/flights_year.py [--json FILE]
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from birdwatch.alerts.history import AlertRow, read_alerts
from birdwatch.alerts.lifecycle import advance
from birdwatch.config import Settings
from birdwatch.content import content
from birdwatch.demo import story
from birdwatch.demo.backfill import backfill
from birdwatch.demo.flights import day_of, days_of, load_year, questions, start_of
from birdwatch.demo.models import MODELS, load
from birdwatch.demo.prepare import Layout, train_models
from birdwatch.demo.weather import inject, write_weather
from birdwatch.detect.judge import Judge
from birdwatch.detect.rules import RuleSet, load_rules
from birdwatch.detect.verdict import Verdict, read_verdicts
from birdwatch.streams import open_streams
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

SINCE, UNTIL = start_of("2013-04-01"), start_of("2014-01-01")


def judge_the_year(folder: Path, console: Console) -> tuple[list[AlertRow], list[Verdict], RuleSet]:
    """Train, score, count and judge; give the alerts, and the verdicts on the first day."""
    layout = Layout(folder)
    with console.status("training the models"):
        year = load_year()
        write_weather(year.weather, layout.weather)
        train_models(year, layout)
    streams = open_streams(layout.streams)
    with console.status("scoring March to December"):
        asked = questions(year, SINCE - story.BACKFILL_DAYS * 86_400, UNTIL)
        models = {name: load(layout.model(name)) for name in MODELS}
        plug_in = inject(layout.weather)
        backfill(streams, asked, plug_in, models, canary=story.CANARY, deadline_seconds=story.DEADLINE_SECONDS)
    given = story.settings(layout.streams, layout.store, judge_from=SINCE, webhook="", alert_log=layout.alert_log)
    settings = Settings(**{**given, "webhook": None})
    store = Store(layout.store, pane_seconds=story.PANE_SECONDS)
    rules = load_rules(content("detectors"))
    # Nobody was served, so there is no latency to look at and nothing was selected.
    rules = rules._replace(rules=tuple(rule for rule in rules.rules if rule.kind in ("distribution", "paired")))
    judge = Judge(
        store, rules, windows_start_seconds=settings.windows_start_seconds, judge_from=SINCE, canary=story.CANARY
    )
    tail = Tail(streams, store, settings, on_closed=lambda until: _note(store, judge, until), finite=True)
    with console.status("counting and judging"):
        while tail.step():
            pass
        tail.finish()
    alerts = read_alerts(store, 0, 2**40)
    first = read_verdicts(store, int(SINCE), int(SINCE) + 86_400)
    tail.close()
    streams.close()
    store.close()
    return alerts, first, rules


def _note(store: Store, judge: Judge, until: int) -> None:
    advance(store, judge.step(until))


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="Write the figures here as well.")
    given = options.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="birdwatch-year-") as folder:
        alerts, first, rules = judge_the_year(Path(folder), console)
    learned = Table("rule", "model", "against", "in order on 1 April", title="What March taught")
    for v in first:
        what = f"{v.statistic} up to {v.tolerance:.3f}" if v.tolerance is not None else v.reason
        learned.add_row(v.rule, v.subject.model, v.subject.partner or "its reference", what)
    console.print(learned)
    truth = days_of(load_year(), SINCE, UNTIL)
    table = Table("month", "false pages", "inputs changed", "of them disrupted", "disrupted days", "drifts alone")
    pages, called, alone = (
        [day_of(a.fired - 1) for a in alerts if wanted(a)]
        for wanted in (
            lambda a: a.severity == "page",
            lambda a: a.attribution == "inputs changed",
            lambda a: a.attribution == "drifts alone",
        )
    )
    disrupted = set(truth.index[truth["disrupted"]].astype(str))
    for month in sorted({str(day)[:7] for day in truth.index}):
        hits = sum(day in disrupted for day in called if day.startswith(month))
        numbers = [sum(d.startswith(month) for d in days) for days in (pages, called)]
        rest = [hits, sum(d.startswith(month) for d in disrupted), sum(d.startswith(month) for d in alone)]
        table.add_row(month, *map(str, [*numbers, *rest]))
    console.print(table)
    months = (UNTIL - SINCE) / rules.budget.per
    console.print(
        f"{len(pages)} false pages in {len(truth)} days; the budget of {rules.budget.pages:g} in 30 days allows"
        f" {rules.budget.pages * months:.1f} on average"
    )
    for alert in alerts:
        if alert.severity == "page":
            console.print(f"  {day_of(alert.fired - 1)}  {alert.reason}", markup=False)
    if given.json:
        figures = {
            "days": len(truth),
            "false_pages": pages,
            "allowed": rules.budget.pages * months,
            "inputs_changed": called,
            "inputs_changed_disrupted": sum(day in disrupted for day in called),
            "disrupted": len(disrupted),
            "drifts_alone": alone,
            "alerts": Counter(f"{a.severity}: {a.attribution}" for a in alerts),
        }
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
