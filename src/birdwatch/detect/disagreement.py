"""Rules on disagreement: on how many requests a model and its partner lie further apart than they used to.

A fault that permutes scores, such as an hour read in the wrong zone, moves no mean and no distribution, but it does
this. The closer the two models, the sharper it is seen.
"""

from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birdwatch.detect.alarm import Measured, Window, step
from birdwatch.detect.kind import Case, State
from birdwatch.detect.pairs import PairRule, of_requests, who
from birdwatch.detect.reference import MIN_BLOCKS, Reference
from birdwatch.detect.tolerance import in_order
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.stats.calibration import least_tolerance
from birdwatch.stats.grid import Scale
from birdwatch.stats.quantiles import size
from birdwatch.stats.rates import bernoulli
from birdwatch.windows.pane import Counts, total

__all__ = ["DisagreementRule", "measured_by", "share_apart"]

_USUAL: Final = 0.1
"""The share of requests on which two models lie further apart than nine in ten do while nothing has changed."""

_LEAST: Final = 0.01
_MOST: Final = 0.95
_TRIED: Final = 48


class DisagreementRule(PairRule):
    """The share of requests on which a model and its partner are further apart than on nine in ten of the reference.

    Probabilities are compared by the steps of the grid that lie between them, and so by their odds: from .02 to .04 is as
    far as from .2 to .33. Other scores are compared by their difference.
    """

    kind: Literal["disagreement"] = Field(
        default="disagreement", description="A model and its partner further apart than usual, by request."
    )
    tolerance: Literal["auto"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        default="auto", description="The share of requests that may; `auto` learns it from the reference."
    )
    floor: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="How far beyond that the share must be: as much again as is usual."
    )

    def needs(self, subject: Subject) -> tuple[str, ...]:
        """Name the measures that it reads of its reference."""
        del subject
        return ("apart", "difference")

    def learned(self, reference: Reference, subject: Subject) -> dict[str, float]:
        """Learn how far apart is usual, and the share beyond it that is in order; nothing from too few blocks."""
        signed = reference.counts(measured_by(reference.scale), subject.model, subject.partner)
        blocks = [_sizes(counts, reference.scale) for counts in signed]
        if len(blocks) < MIN_BLOCKS:
            return {"blocks": len(blocks)}
        usual = _usual(total(blocks))
        k, n = np.array([(_beyond(b, usual), size(b)) for b in blocks], dtype=np.float64).T
        tolerance = self.tolerance
        if tolerance == "auto":
            kept = in_order(k / n, self.severity)
            tried = np.linspace(np.clip(k.sum() / n.sum(), _LEAST, _MOST), _MOST, _TRIED)
            tolerance = least_tolerance(tried, lambda p0: bernoulli(k[kept], n[kept], p0))
        return {"blocks": len(blocks), "usual": usual, "tolerance": tolerance}

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Count the requests of a window on which the two are further apart than usual."""
        statistic = "disagreement"
        now = _sizes(case.counts(measured_by(case.scale)), case.scale)
        n = size(now)
        if not n:
            return self.untold(case, statistic, f"{who(case.subject)} scored no request both"), state
        taught = case.taught_by(self)
        if "usual" not in taught:
            return self.too_short(case, statistic, int(taught.get("blocks", 0))), state
        usual = int(taught["usual"])
        tolerance = taught["tolerance"] if self.tolerance == "auto" else self.tolerance
        k = _beyond(now, usual)

        def measure(counted: NDArray[np.float64], _which: int) -> Measured:
            return Measured(float(counted[0] / max(counted[1], 1)), tolerance, self.floor)

        found = step(
            state,
            Window(case.start, n, bernoulli(k, n, tolerance), [k, n], measure),
            threshold=threshold,
            min_events=self.min_events,
        )
        reason = (
            f"{who(case.subject)} are further apart than on nine requests in ten of {case.against} on"
            f" {found.measured.value:.0%} {of_requests(found)}; up to {tolerance:.0%} has been usual"
        )
        return self.decided(case, found, threshold, statistic, reason, {"usual": usual}), found.state


def _sizes(signed: Counts, scale: Scale) -> Counts:
    """Fold a histogram of distances into one of their sizes; on the grid, -x lies at -1 - bin(x)."""
    mirror = 0 if scale == "probability" else -1
    return Counts.of(np.where(signed.bins < 0, mirror - signed.bins, signed.bins), signed.counts)


def _usual(sizes: Counts) -> int:
    """Give the distance that one request in ten exceeds, at the most."""
    upto = np.cumsum(sizes.counts)
    return int(sizes.bins[np.searchsorted(upto, (1 - _USUAL) * upto[-1])])


def share_apart(signed: Counts, usual: int, scale: Scale) -> float:
    """Give the share of requests on which two models are further apart than usual; there is one request at least."""
    sizes = _sizes(signed, scale)
    return _beyond(sizes, usual) / size(sizes)


def measured_by(scale: Scale) -> str:
    """Name the measure of a pair that tells how far apart the two are."""
    return "apart" if scale == "probability" else "difference"


def _beyond(sizes: Counts, usual: int) -> int:
    return int(sizes.counts[sizes.bins > usual].sum())
