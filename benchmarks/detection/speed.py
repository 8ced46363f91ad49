"""What it costs on one core.

Processor time, the median of repeats: whatever else the machine does meanwhile counts only in so far as it takes the
caches away.
"""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks.detection.section import Figures, Plan, Section, table
from benchmarks.detection.streams import FORMS, Streams, references, stacked
from rich.progress import Progress
from rich.table import Table

from birdwatch.stats.evidence import accumulate
from birdwatch.stats.grid import bins_of
from birdwatch.stats.shapes import Shapes, remember
from birdwatch.windows.pane import Counts

__all__ = ["SECTION", "measure"]

SEED: Final = 20_260_003
MODELS: Final = 1_000
REFERENCES: Final = 50
EVENTS: Final = 1_000
BATCH: Final = 100_000
MOST_SECONDS: Final = 0.010
LEAST_PER_SECOND: Final = 100e6


def measure(plan: Plan, progress: Progress) -> Figures:
    """Time a pane of many models, and counting on the grid."""
    rng = np.random.default_rng(SEED)
    drawn = references(REFERENCES, SEED)
    numbers = {
        "probabilities": (rng.beta(2, 5, BATCH), "probability"),
        "latencies": (rng.lognormal(-3, 1, BATCH), "real"),
        "numbers of both signs": (rng.normal(size=BATCH), "real"),
    }
    task = progress.add_task("speed", total=len(FORMS) + 1 + len(numbers))
    figures: Figures = {"processor": processor(), "models": {}, "grid": {}}
    for name, form in FORMS.items():
        few = Streams.against(drawn, form)
        models = np.arange(MODELS) % len(few.edges)
        alternatives = stacked([one(few.alternatives, i) for i in models])
        counts = rng.multinomial(EVENTS, np.full(few.edges.shape[1] + 1, 1 / (few.edges.shape[1] + 1)), size=MODELS)
        recent, kept = remember(np.zeros(counts.shape), counts), np.zeros((MODELS, len(alternatives.names)))

        def pane(alternatives=alternatives, counts=counts, recent=recent, kept=kept) -> None:  # noqa: ANN001
            accumulate(kept, alternatives.log_ratios(counts, recent), alternatives.weights)
            remember(recent, counts)

        figures["models"][name] = {"alternatives": len(alternatives.names), "seconds": timed(pane, plan.repeats)}
        progress.advance(task)
    shapes = Shapes.of(drawn[0])
    windows = [Counts.of(bins_of(rng.normal(size=EVENTS))) for _ in range(MODELS)]
    figures["rank bins"] = timed(lambda: [shapes.counts(window) for window in windows], plan.repeats)
    progress.advance(task)
    for name, (x, scale) in numbers.items():
        figures["grid"][name] = BATCH / timed(lambda x=x, scale=scale: Counts.of(bins_of(x, scale)), 10 * plan.repeats)
        progress.advance(task)
    return figures


def one(alternatives, i: int):  # noqa: ANN001, ANN202
    """Take one stream's alternatives out of those of all."""
    shared = {"weights", "names", "events"}
    return alternatives._replace(**{f: getattr(alternatives, f)[i] for f in alternatives._fields if f not in shared})


def timed(what: Callable[[], object], repeats: int) -> float:
    """Give the median of what it takes, in seconds of processor time."""
    what()
    took = []
    for _ in range(repeats):
        start = time.process_time()
        what()
        took.append(time.process_time() - start)
    return float(np.median(took))


def processor() -> str:
    """Name it, where the system does."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def tables(figures: Figures) -> list[Table | str]:
    """Show what was measured beside what should be."""
    rows = [
        (
            f"{MODELS:,} models × {found['alternatives']} alternatives, a pane ({name})",
            f"{found['seconds'] * 1e3:.2g} ms",
            f"≤ {MOST_SECONDS * 1e3:.0f} ms",
            "yes" if found["seconds"] <= MOST_SECONDS else "**no**",
        )
        for name, found in figures["models"].items()
    ]
    rows.append((f"{MODELS:,} panes of {EVENTS:,} events, by rank bin", f"{figures['rank bins'] * 1e3:.2g} ms", "", ""))
    rows += [
        (
            f"{name} counted on the grid, in batches of {BATCH:,}",
            f"{found / 1e6:.0f} M/s",
            f"≥ {LEAST_PER_SECOND / 1e6:.0f} M/s",
            "yes" if found >= LEAST_PER_SECOND else "**no**",
        )
        for name, found in figures["grid"].items()
    ]
    return [table(f"Processor time ({figures['processor']})", ("", "measured", "target", "met"), rows)]


SECTION: Final = Section("speed", measure, tables)
