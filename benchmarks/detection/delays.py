"""How many panes a change takes to be found: the first that has changed is 1; and how often nothing is.

Ours run over 30 unchanged panes first, ADWIN over 20; what alarms there starts again. A rival that alarms on every
20th pane has short delays: read the last row of the table with them.
"""

from typing import Final

import numpy as np
from benchmarks.detection.changes import NAMED, UNCHANGED, UNNAMED, Change
from benchmarks.detection.rivals import RIVALS
from benchmarks.detection.section import SIZES, Figures, Plan, Section, table
from benchmarks.detection.streams import FORMS, REFERENCE, A, Evidence, Streams, panes, references
from rich.progress import Progress
from rich.table import Table

__all__ = ["SECTION", "delay", "measure"]

SEED: Final = 20_260_000
CALM: Final = 30
RIVAL_CALM: Final = 20
HORIZON: Final = {200: 200, 1_000: 200, 10_000: 50}
"""After so many panes we stop waiting."""

TARGETS: Final = {
    "mean .10 sd": (25, 6, 1),
    "mean .25 sd": (4, 1, 1),
    "scale 1.25": (3, 1, 1),
    "5 % from N(4, .5)": (3, 1, 1),
}


def measure(plan: Plan, progress: Progress) -> Figures:
    """Give median delays by change, detector and size; None where it is not found within the horizon."""
    changes = (*NAMED, *UNNAMED)
    task = progress.add_task("delays", total=len(changes) * (len(FORMS) + len(RIVALS)) + len(RIVALS))
    drawn = references(plan.streams, SEED)
    figures: Figures = {"changes": {}, "false alarms": {}}
    streams = {name: Streams.against(drawn, form) for name, form in FORMS.items()}
    for change in changes:
        row = figures["changes"][change.name] = {"limit": [np.log(A) / n / change.divergence() for n in SIZES]}
        for name, each in streams.items():
            row[name] = [delay(each, change, n) for n in SIZES]
            progress.advance(task)
        for name in RIVALS:
            row[name] = [rival_delay(name, change, n, plan.rivals) for n in SIZES]
            progress.advance(task)
    for name in RIVALS:
        figures["false alarms"][name] = [rival_false_alarms(name, n, plan.rival_panes) for n in SIZES]
        progress.advance(task)
    return figures


def delay(streams: Streams, change: Change, n: int, most: int | None = None) -> float | None:
    """Give the median delay of ours in panes; None where it is more than ``most``, or the horizon."""
    rng = np.random.default_rng([SEED, n])
    evidence = Evidence(streams)
    calm = streams.probabilities(lambda x: UNCHANGED.below(x, 1))
    for counts in panes(rng, n, lambda _: calm, CALM):
        evidence.add(counts)
    found = np.full(len(streams.edges), np.inf)
    settled = streams.probabilities(lambda x: change.below(x, max(1, change.ramp)))

    def changed(pane: int) -> np.ndarray:
        return settled if pane >= change.ramp else streams.probabilities(lambda x: change.below(x, pane))

    for pane, counts in enumerate(panes(rng, n, changed, most or horizon(change, n)), start=1):
        alarms = evidence.add(counts)[0]
        found[alarms & np.isinf(found)] = pane
        if np.isfinite(found).all():
            break
    return median(found)


def rival_delay(name: str, change: Change, n: int, streams: int) -> float | None:
    """Give the median delay of a rival in panes."""
    found = []
    for stream in range(streams):
        rng = np.random.default_rng([SEED, n, stream])
        rival = RIVALS[name](rng.normal(size=REFERENCE))
        if name == "ADWIN":
            for _ in range(RIVAL_CALM):
                rival.alarms(UNCHANGED.sample(rng, n, 1))
        waited = range(1, horizon(change, n) + 1)
        found.append(next((pane for pane in waited if rival.alarms(change.sample(rng, n, pane))), np.inf))
        # The median is known as soon as more than half are late.
        if np.isinf(found).sum() > streams / 2:
            return None
    return median(np.array(found))


def rival_false_alarms(name: str, n: int, number: int) -> float:
    """Count the false alarms of a rival, by 1,000 panes."""
    rng = np.random.default_rng([SEED, n])
    # A new reference now and then: one alone may be a lucky or an unlucky one.
    found, each = 0, max(1, number // 10)
    for _ in range(number // each):
        rival = RIVALS[name](rng.normal(size=REFERENCE))
        found += sum(rival.alarms(UNCHANGED.sample(rng, n, 1)) for _ in range(each))
    return 1_000 * found / (number // each * each)


def horizon(change: Change, n: int) -> int:
    """Give after how many panes we stop waiting."""
    return max(HORIZON[n], change.ramp)


def median(found: np.ndarray) -> float | None:
    """Give the median; None where it lies beyond the horizon."""
    middle = float(np.median(found))
    return middle if np.isfinite(middle) else None


def tables(figures: Figures) -> list[Table | str]:
    """Show the changes that have a target, then the others."""
    detectors = (*RIVALS, *FORMS)
    named = [
        (
            change.name,
            *(shown(figures["changes"][change.name][name]) for name in detectors),
            " / ".join(f"≤ {target}" for target in TARGETS[change.name]),
            "yes" if met(figures["changes"][change.name]["δ0 = 0"], TARGETS[change.name]) else "**no**",
            shown(figures["changes"][change.name]["limit"]),
        )
        for change in NAMED
    ]
    alarms = [shown(figures["false alarms"][name]) for name in RIVALS]
    named.append(("false alarms per 1,000 panes", *alarms, *("see below",) * len(FORMS), "", "", ""))
    unnamed = [
        (
            change.name,
            *(shown(figures["changes"][change.name][name]) for name in detectors),
            shown(figures["changes"][change.name]["limit"]),
        )
        for change in UNNAMED
    ]
    sizes = " / ".join(f"{n:,}" for n in SIZES)
    stop = " / ".join(str(HORIZON[n]) for n in SIZES)
    about = (
        f"Median delay in panes at {sizes} events a pane, against a reference of {REFERENCE:,}; ours at A = {A:,.0f}.\n"
        f"Limit: ln A / (n · KL). A dash: not within {stop} panes, or the length of the ramp."
    )
    return [
        about,
        table("Changes with a target", ("", *detectors, "target (δ0 = 0)", "met", "limit"), named),
        table("Changes that nothing was made for", ("", *detectors, "limit"), unnamed),
    ]


def met(found: list[float | None], target: tuple[int, ...]) -> bool:
    """Say whether every size keeps its target."""
    return all(delay is not None and delay <= most for delay, most in zip(found, target, strict=True))


def shown(found: list[float | None]) -> str:
    """Show the figures of the three sizes."""
    return " / ".join("–" if x is None else f"{x:.2g}" if x < 10 else f"{x:.0f}" for x in found)


SECTION: Final = Section("delays", measure, tables)
