"""Scores that are never quite the same: the mean goes up and down by .05 sd within each day.

Within a tolerance of .02 that is no change. Without one it is, and whoever sees ten thousand events a pane will be told
every day.
"""

from typing import Final

import numpy as np
from benchmarks.detection.changes import Change
from benchmarks.detection.delays import shown
from benchmarks.detection.rivals import RIVALS
from benchmarks.detection.section import SIZES, Figures, Plan, Section, table
from benchmarks.detection.streams import FORMS, REFERENCE, Evidence, Streams, references
from rich.progress import Progress
from rich.table import Table
from scipy.stats import norm

__all__ = ["SECTION", "measure"]

SEED: Final = 20_260_002
DAY: Final = 1_440
SWING: Final = 0.05
STREAMS: Final = 50


def measure(plan: Plan, progress: Progress) -> Figures:
    """Give the alarms by 1,000 panes, over two days of ours, and one of every fourth minute of the others'."""
    task = progress.add_task("rhythm", total=(len(FORMS) + len(RIVALS)) * len(SIZES))
    drawn = references(STREAMS, SEED)
    figures: Figures = {}
    for name, form in FORMS.items():
        streams = Streams.against(drawn, form)
        figures[name] = []
        for n in SIZES:
            rng, evidence, found = np.random.default_rng([SEED, n]), Evidence(streams), 0
            for pane in range(2 * DAY):
                probabilities = streams.probabilities(lambda x, pane=pane: norm.cdf(x - swing(pane)))
                found += int(evidence.add(rng.multinomial(n, probabilities)).sum())
            figures[name].append(1_000 * found / (2 * DAY * len(streams.edges)))
            progress.advance(task)
    every = max(4, DAY // plan.rival_panes)
    for name, rival_of in RIVALS.items():
        figures[name] = []
        for n in SIZES:
            rng = np.random.default_rng([SEED, n])
            rival = rival_of(rng.normal(size=REFERENCE))
            alarms = [
                rival.alarms(Change("", ((1, swing(pane), 1),)).sample(rng, n, 1)) for pane in range(0, DAY, every)
            ]
            figures[name].append(1_000 * sum(alarms) / len(alarms))
            progress.advance(task)
    return figures


def swing(pane: int) -> float:
    """Give the mean of a pane, in standard deviations."""
    return float(SWING * np.sin(2 * np.pi * pane / DAY))


def tables(figures: Figures) -> list[Table | str]:
    """Show all in one row."""
    names = (*RIVALS, *FORMS)
    head = ("alarms per 1,000 panes", *names)
    return [
        table(
            f"A mean that swings by {SWING:g} sd each day",
            head,
            [("200 / 1,000 / 10,000 events a pane", *(shown(figures[n]) for n in names))],
        )
    ]


SECTION: Final = Section("rhythm", measure, tables)
