"""How often an alarm is false, where nothing changes; and whether the bound holds where it can be seen to.

Up to time T at most T/A false alarms are expected. At A = 525,600 a million panes may have 2 on average. At small A
there are enough of them to compare: in a stream whose reference *is* its source, so that nothing need be paid for
sampling, and for steps at the very edge of their tolerance.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from benchmarks.detection.section import SIZES, Figures, Plan, Section, table
from benchmarks.detection.streams import FORMS, REFERENCE, A, Evidence, Streams, references
from rich.progress import Progress
from rich.table import Table
from scipy.stats import norm

from birdwatch.stats.rates import bernoulli
from birdwatch.stats.shapes import Shapes, dkw
from birdwatch.stats.steps import MULTIPLES, Steps

__all__ = ["SECTION", "false_alarms", "known", "measure"]

SEED: Final = 20_260_001
LEVELS: Final = (200.0, 2_000.0, A)
STREAMS: Final = 500
EDGE: Final = 0.1
"""The tolerance at whose edge steps are tested: wide beside the error of a sample."""


def measure(plan: Plan, progress: Progress) -> Figures:
    """Count false alarms by kind, size and level."""
    drawn = references(STREAMS, SEED)
    kinds: dict[str, tuple[Streams, Callable[[np.ndarray], np.ndarray]]] = {
        **{name: (Streams.against(drawn, form), norm.cdf) for name, form in FORMS.items()},
        "δ0 = 0, the source known": (known(Streams.against(drawn, Shapes.of)), norm.cdf),
        "δ0 = .10, at its edge": (
            known(Streams.against(drawn, lambda reference: Steps.of(reference, EDGE))),
            lambda x: norm.cdf(x, 2 * norm.ppf((1 + EDGE) / 2)),
        ),
    }
    task = progress.add_task("false alarms", total=len(kinds) * len(SIZES))
    figures: Figures = {}
    for kind, (streams, below) in kinds.items():
        figures[kind] = {}
        for n in SIZES:
            figures[kind][str(n)] = false_alarms(streams, below, n, plan.unchanged_panes)
            progress.advance(task)
    return figures


def false_alarms(streams: Streams, below: Callable[[np.ndarray], np.ndarray], n: int, number: int) -> Figures:
    """Count alarms at each level over about so many panes."""
    rng = np.random.default_rng([SEED, n])
    truth = streams.probabilities(below)
    evidence, found = Evidence(streams, LEVELS), np.zeros(len(LEVELS), dtype=np.int64)
    steps = max(1, number // len(truth))
    for _ in range(steps):
        found += evidence.add(rng.multinomial(n, truth)).sum(axis=1)
    return {"panes": steps * len(truth), "alarms": dict(zip(map(str, LEVELS), found.tolist(), strict=True))}


def known(streams: Streams) -> Streams:
    """Let each reference be its source itself, so that nothing is paid for its being a sample."""
    truth, found = streams.probabilities(norm.cdf), streams.alternatives
    if isinstance(found, Steps):
        return streams._replace(alternatives=edge(found, truth))
    ratios = np.exp(found.logs)
    ratios /= (ratios * truth[:, None]).sum(axis=-1, keepdims=True)
    # As many events as make the price of the adaptive alternative vanish.
    alternatives = found._replace(masses=truth, logs=np.log(ratios), prices=np.zeros_like(found.prices), events=10**18)
    return streams._replace(alternatives=alternatives)


def edge(steps: Steps, truth: np.ndarray) -> Steps:
    """Give limits that lie at the tolerance itself, without the error of a sample."""
    below = np.take_along_axis(np.cumsum(truth, axis=1), steps.places, axis=1)
    shares = np.where(steps.above, 1 - below, below)
    limits = shares + EDGE
    gains, losses = (bernoulli(k, 1, limits, MULTIPLES) for k in (1, 0))
    return steps._replace(shares=shares, limits=limits, gains=gains, losses=losses)


def tables(figures: Figures) -> list[Table | str]:
    """Show counts beside what is expected at the most."""
    rows = []
    for kind, by_size in figures.items():
        for n, found in by_size.items():
            cells = [f"{found['alarms'][str(a)]:,} of {found['panes'] / a:,.4g}" for a in LEVELS]
            rows.append((f"{kind}, {int(n):,} events a pane", f"{found['panes']:,}", *cells))
    head = ("", "panes", *(f"A = {a:,.0f}: found, of at most" for a in LEVELS))
    about = (
        f"Streams of panes from N(0, 1), each against a reference of {REFERENCE:,} of its own"
        f" (whose distribution lies within {dkw(REFERENCE):.4f} of it)."
    )
    return [
        about,
        table("Alarms where nothing changes", head, rows),
    ]


SECTION: Final = Section("false alarms", measure, tables)
