"""Two models compared request by request, over a day that is never the same from one hour to the next.

One pane a minute of 1,000 requests. Two kinds of requests, the share of the second rises from a fifth to three fifths
within the day, and all values swing from morning to evening; each model scores them with an error of its own, and
differs from the other by ±.004 on either kind, which is in order. Whoever compares a pane with the day as a whole is
told that everything has changed, nearly every minute; what the pair has in common cancels.

Panes are counted as the tail counts them: n, Σd, Σd² in fixed point and the coarse joint histogram.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from benchmarks.detection.section import Figures, Plan, Section, table
from benchmarks.detection.streams import REFERENCE, A
from numpy.typing import NDArray
from rich.progress import Progress
from rich.table import Table
from scipy.special import ndtr
from scipy.stats import ks_2samp

from birdwatch.stats.discordance import cuts_of, discordances, mcnemar
from birdwatch.stats.evidence import accumulate
from birdwatch.stats.means import bounded_mean
from birdwatch.windows.joint import JOINT_SPAN, joint_bins
from birdwatch.windows.pane import FIXED_POINT

__all__ = ["SECTION", "measure"]

Floats = NDArray[np.float64]

SEED: Final = 20_260_005
DAY: Final = 1_440
N: Final = 1_000
CALM: Final = 30
HORIZON: Final = 200
"""After so many panes we stop waiting."""

LOOKED_AT: Final = 10
"""KS, which is slow, looks at every tenth pane."""

MARGIN_OF_MEANS: Final = 0.005
MARGIN_OF_CUTS: Final = 0.01

_KINDS: Final = (-0.6, 0.9)
_SPREAD: Final = 0.7
_SWING: Final = 0.3
_ERROR: Final = 0.1
_STANDING: Final = (0.01, -0.01)
"""By how much the partner scores higher on either kind, before the scores are made probabilities."""

Change = Callable[[Floats, Floats], tuple[Floats, Floats]]

CHANGES: Final[dict[str, Change]] = {
    "canary -.10 sd": lambda ours, theirs: (ours, theirs - 0.10 * ours.std()),
    "both +.25 sd": lambda ours, theirs: (ours + 0.25 * ours.std(), theirs + 0.25 * ours.std()),
    "model's scale 1.1": lambda ours, theirs: (ours.mean() + 1.1 * (ours - ours.mean()), theirs),
}
"""What happens to the champion and the canary, before the scores are made probabilities."""


class Pane(NamedTuple):
    """Scores of the same requests, and what a pane keeps of them."""

    ours: Floats
    theirs: Floats

    def sums(self) -> tuple[int, float, float]:
        """Give n, Σd and Σd² as read back from fixed point."""
        d = self.ours - self.theirs
        return (
            d.size,
            float(np.rint(d * FIXED_POINT).sum()) / FIXED_POINT,
            float(np.ceil(d * d * FIXED_POINT).sum()) / FIXED_POINT,
        )

    def joint(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Give the cells of the joint histogram: the model's bins, the partner's, and counts."""
        codes, counts = np.unique(joint_bins(self.ours, self.theirs, "probability"), return_counts=True)
        return (*np.divmod(codes, JOINT_SPAN), counts.astype(np.int64))


def draw(rng: np.random.Generator, minutes: NDArray[np.int64], change: Change | None = None) -> Pane:
    """Draw one request at each of the minutes of the day."""
    part = minutes / DAY
    second = rng.random(part.size) < 0.2 + 0.4 * part
    x = np.where(second, _KINDS[1], _KINDS[0]) + _SWING * np.sin(2 * np.pi * part) + rng.normal(0, _SPREAD, part.size)
    ours = x + rng.normal(0, _ERROR, part.size)
    theirs = x + rng.normal(0, _ERROR, part.size) + np.where(second, _STANDING[1], _STANDING[0])
    if change is not None:
        ours, theirs = change(ours, theirs)
    return Pane(ndtr(ours), ndtr(theirs))


def log_ratios(pane: Pane, at: NDArray[np.int64]) -> dict[str, Floats]:
    """Give what a pane says of the mean, and at the cuts."""
    above, below, met = discordances(*pane.joint(), at)
    return {
        "mean": bounded_mean(*pane.sums(), margin=MARGIN_OF_MEANS),
        "cuts": mcnemar(above, below, met, margin=MARGIN_OF_CUTS),
    }


class Pair:
    """What a paired rule remembers: the mean has half of the budget, the cuts the other."""

    def __init__(self) -> None:
        self._kept: dict[str, Floats] = {}

    def add(self, ratios: dict[str, Floats]) -> dict[str, bool]:
        """Add a pane, and tell whether it alarms: together, or by one half alone. Then both start again."""
        evidence = {}
        for half, of_half in ratios.items():
            kept = self._kept.get(half, np.zeros(of_half.size))
            evidence[half], self._kept[half] = accumulate(kept, of_half, 0.5)
        evidence["paired"] = np.logaddexp(*evidence.values())
        alarms = {half: bool(found >= np.log(A)) for half, found in evidence.items()}
        if alarms["paired"]:
            self._kept.clear()
        return alarms


def reference(rng: np.random.Generator) -> Pane:
    """Draw the day before, as far as it is kept as a reference."""
    return draw(rng, rng.integers(0, DAY, REFERENCE))


def cuts(day: Pane) -> NDArray[np.int64]:
    """Cut the canary's scores of that day at its quantiles."""
    _, bins, counts = day.joint()
    found, where = np.unique(bins, return_inverse=True)
    return cuts_of(found, np.bincount(where, weights=counts))


def measure(plan: Plan, progress: Progress) -> Figures:
    """Give the pages of healthy days, and the delays of changes."""
    days, runs = max(1, plan.streams // 40), max(10, plan.streams // 5)
    task = progress.add_task("paired", total=days + runs * len(CHANGES))
    figures: Figures = {
        "healthy": {"panes": days * DAY, "paired pages": 0, "KS looks": days * DAY // LOOKED_AT, "KS p < .05": 0},
        "changes": {},
    }
    for day in range(days):
        rng = np.random.default_rng([SEED, day])
        before = reference(rng)
        pair, at = Pair(), cuts(before)
        for minute in range(DAY):
            pane = draw(rng, np.full(N, minute))
            figures["healthy"]["paired pages"] += pair.add(log_ratios(pane, at))["paired"]
            if minute % LOOKED_AT == 0:
                figures["healthy"]["KS p < .05"] += moved(pane.ours, before.ours)
        progress.advance(task)
    for name, change in CHANGES.items():
        figures["changes"][name] = delays(change, runs, lambda: progress.advance(task))
    return figures


def moved(scores: Floats, before: Floats) -> int:
    """Tell whether a pane differs from the day before, by p < .05."""
    return int(ks_2samp(scores, before, method="asymp").pvalue < 0.05)


def delays(change: Change, runs: int, done: Callable[[], None], horizon: int = HORIZON) -> Figures:
    """Give the panes until a change is found, by both halves and by each alone; those not found count as infinite."""
    found: dict[str, list[float]] = {"paired": [], "mean": [], "cuts": []}
    against_reference = 0
    for run in range(runs):
        rng = np.random.default_rng([SEED, 1, run])
        before = reference(rng)
        first, at = int(rng.integers(0, DAY)), cuts(before)
        waiting = {half: Pair() for half in found}
        for minute in range(CALM):
            ratios = log_ratios(draw(rng, np.full(N, (first + minute) % DAY)), at)
            for pair in waiting.values():
                pair.add(ratios)
        late = dict.fromkeys(found, np.inf)
        for minute in range(1, horizon + 1):
            pane = draw(rng, np.full(N, (first + CALM + minute) % DAY), change)
            ratios = log_ratios(pane, at)
            if minute == 1:
                against_reference += moved(pane.ours, before.ours) and moved(pane.theirs, before.theirs)
            for half in [h for h, pair in waiting.items() if pair.add(ratios)[h]]:
                late[half] = minute
                del waiting[half]
            if not waiting:
                break
        for half, minutes in late.items():
            found[half].append(minutes)
        done()
    return {
        **{half: {"median": _number(np.median(late)), "most": _number(max(late))} for half, late in found.items()},
        "within 5": float(np.mean(np.array(found["paired"]) <= 5)),
        "found": float(np.mean(np.isfinite(found["paired"]))),
        "both moved from the reference": against_reference / runs,
    }


def _number(panes: float) -> float | None:
    return float(panes) if np.isfinite(panes) else None


def tables(figures: Figures) -> list[Table | str]:
    """Show the healthy days, and the changes."""
    healthy = figures["healthy"]
    rows = [
        (
            name,
            *(f"{_shown(one[half]['median'])} / {_shown(one[half]['most'])}" for half in ("paired", "mean", "cuts")),
            f"{one['within 5']:.0%}",
            f"{one['found']:.0%}",
        )
        for name, one in figures["changes"].items()
    ]
    return [
        table(
            f"Two healthy models while traffic drifts, {healthy['panes']:,} panes of {N:,} requests",
            ("", "paired pages", "alarms of KS p < .05 against the day before, per 1,000 panes"),
            [("healthy", str(healthy["paired pages"]), f"{1_000 * healthy['KS p < .05'] / healthy['KS looks']:.0f}")],
        ),
        table(
            f"Panes until the pair is found to differ: median / most (never: not within {HORIZON})",
            ("change", "paired", "by the mean", "by the cuts", "within 5 panes", "found at all"),
            rows,
        ),
    ]


def _shown(panes: float | None) -> str:
    return "never" if panes is None else f"{panes:g}"


SECTION: Final = Section("paired", measure, tables)
