"""Rules on pairs: whether a model scores the same requests higher or lower than its partner, on average or anywhere.

Two looks share the rule's budget, since each sees what the other cannot: the mean difference, and at cuts of the
reference how many requests one model puts above and the other below.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from birdwatch.detect.alarm import Measured, Step, Window, step
from birdwatch.detect.kind import Case, State
from birdwatch.detect.pairs import PairRule, of_requests, who
from birdwatch.detect.reference import MIN_BLOCKS, Reference
from birdwatch.detect.tolerance import in_order
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.stats.calibration import least_tolerance
from birdwatch.stats.discordance import CUT_LEVELS, cuts_of, discordances, mcnemar
from birdwatch.stats.grid import lower_edges
from birdwatch.stats.means import bounded_mean, symmetric_mean
from birdwatch.stats.quantiles import moments
from birdwatch.windows.joint import JOINT_SPAN
from birdwatch.windows.pane import FIXED_POINT, JOINT_SHIFT, PAIR_COUNTERS, Counts, counters

__all__ = ["AGREED_MEAN", "AGREED_SHARE", "PairedRule"]

Floats = NDArray[np.float64]

AGREED_MEAN: Final = 0.005
AGREED_SHARE: Final = 0.02
"""What is in order where no reference tells: a mean difference of probabilities, a share of requests across a cut."""

_AGREED_SPREAD: Final = 0.02
"""The same of scores that are no probabilities, in standard deviations of the partner."""

_SMALL: Final = 0.2
"""Cohen's small effect, in standard deviations."""

_TRIED_MEANS: Final = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 48)])
_TRIED_SHARES: Final = np.concatenate([[0.0], np.geomspace(0.002, 0.96, 48)])


class _Sums(NamedTuple):
    """Differences, model minus partner, in the unit of large ones."""

    n: int
    total: float
    squares: float
    clipped: int

    @classmethod
    def of(cls, pair: Counts) -> "_Sums":
        found = counters(pair, PAIR_COUNTERS)
        return cls(found["n"], found["sum"] / FIXED_POINT, found["sum_of_squares"] / FIXED_POINT, found["clipped"])


class PairedRule(PairRule):
    """A model against its partner by request: the mean difference, and the share of requests that cross a cut.

    What is in order is the standing difference of the reference, and how far it strayed from that. It alarms when the
    evidence reaches the level that keeps the page budget *and* the effect beyond the tolerance exceeds a floor, since
    enough data make any difference certain.
    """

    kind: Literal["paired"] = Field(default="paired", description="A model against its partner, by request.")
    tolerance: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        default="auto", description="How far the mean difference may stray, in the unit of the scores."
    )
    floor: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        default="auto", description="How far beyond that it must be; `auto` is .2 standard deviations of the partner."
    )
    cut_floor: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="How far beyond what is in order the share must be that crosses a cut."
    )

    def needs(self, subject: Subject) -> tuple[str, ...]:
        """Name the measures that it reads of its reference."""
        del subject
        return ("pair", "joint")

    def learned(self, reference: Reference, subject: Subject) -> dict[str, float]:
        """Learn the standing difference and how far it strays, of the mean and at cuts; nothing from too few blocks."""
        pairs = [_Sums.of(c) for c in reference.counts("pair", subject.model, subject.partner)]
        if len(pairs) < MIN_BLOCKS:
            return {"blocks": len(pairs)}
        n, totals, squares = np.array([p[:3] for p in pairs], dtype=np.float64).T
        centre = float(totals.sum() / n.sum())
        joints = [_cells(c) for c in reference.counts("joint", subject.model, subject.partner)]
        partners = _partners(joints)
        found = {
            "blocks": len(pairs),
            "mean": centre,
            "spread": moments((partners.bins << JOINT_SHIFT, partners.counts), reference.scale)[1] if joints else 0.0,
            # Where scores that should be probabilities are none, their differences have no bound.
            "bounded": float(reference.scale == "probability" and bool((squares <= n * (1 + 1e-5)).all())),
        }
        if self.tolerance == "auto":
            kept = in_order(np.abs(totals / np.maximum(n, 1) - centre), self.severity)
            evidence = _on_means(bounded=bool(found["bounded"]))
            columns = n[kept], totals[kept], squares[kept]
            found["mean_tolerance"] = least_tolerance(_TRIED_MEANS, lambda m: evidence(*columns, centre, m))
        return found | self._learned_cuts(joints, partners)

    def _learned_cuts(self, joints: list["_Cells"], partners: Counts) -> dict[str, float]:
        if len(joints) < MIN_BLOCKS:
            return {}
        cuts = cuts_of(partners.bins, partners.counts, CUT_LEVELS)
        if not cuts.size:
            return {}
        crossed = [discordances(*joint, cuts) for joint in joints]
        above, below = (np.array([c[i] for c in crossed], dtype=np.float64) for i in (0, 1))
        n = np.array([c[2] for c in crossed], dtype=np.float64)
        centre = (above - below).sum(axis=0) / n.sum()
        kept = in_order(np.abs((above - below) / n[:, None] - centre).max(axis=1), self.severity)
        found = {f"cut_{i}": float(cut) for i, cut in enumerate(cuts)}
        found |= {f"cut_{i}_difference": float(c) for i, c in enumerate(centre)}
        b, c = above[kept], below[kept]
        strays = least_tolerance(_TRIED_SHARES, lambda m: mcnemar(b, c, n[kept], centre=centre, margin=m))
        return {**found, "cut_tolerance": strays}

    def agreed(self, case: Case) -> dict[str, float]:
        """Say what is in order of two models that ought to agree, in the terms of `learned`: no reference tells.

        No floor comes on top of the tolerance, unless the rule sets one. The cuts are quantiles of the partner's scores in
        the window itself.
        """
        partners = _partners([_cells(case.counts("joint"))])
        if not partners.counts.size:
            return {}
        spread = moments((partners.bins << JOINT_SHIFT, partners.counts), case.scale)[1]
        probable = case.scale == "probability"
        found = {
            "agreed": 1.0,
            "mean": 0.0,
            "mean_tolerance": (AGREED_MEAN if probable else _AGREED_SPREAD * spread) / case.unit,
            "bounded": float(probable),
            "cut_tolerance": AGREED_SHARE,
        }
        for i, cut in enumerate(cuts_of(partners.bins, partners.counts, CUT_LEVELS)):
            found |= {f"cut_{i}": float(cut), f"cut_{i}_difference": 0.0}
        return found

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare the window's differences with those of the reference."""
        sums = _Sums.of(case.counts("pair"))
        if not sums.n:
            return self.untold(case, "mean", f"{who(case.subject)} scored no request both"), state
        taught = case.taught_by(self)
        if "mean" not in taught and self.tolerance == "auto":
            return self.too_short(case, "mean", int(taught.get("blocks", 0))), state
        centre = taught.get("mean", 0.0)
        margin = taught["mean_tolerance"] if self.tolerance == "auto" else self.tolerance / case.unit
        bounded = bool(taught.get("bounded", case.scale == "probability"))
        evidence = _on_means(bounded=bounded)
        if bounded and sums.squares > sums.n * (1 + 1e-5):
            # A score that should be a probability and is none: the mean of such a window is evidence of nothing.
            mean = np.zeros_like(evidence(0, 0.0, 0.0, centre, margin))
        else:
            mean = evidence(sums.n, sums.total, sums.squares, centre, margin)
        cuts = _Cuts.of(taught)
        above, below, met = discordances(*_cells(case.counts("joint")), cuts.at)
        across = mcnemar(above, below, met, centre=cuts.centre, margin=cuts.margin) if cuts.at.size else np.zeros(0)
        floor = _SMALL * taught.get("spread", 0.0) / case.unit if self.floor == "auto" else self.floor / case.unit

        def measure(counted: Floats, which: int) -> Measured:
            if which < mean.size:
                sign = 1 if which < mean.size // 2 else -1
                return Measured(float(sign * (counted[1] / max(counted[0], 1) - centre)), margin, floor)
            at, sign = cuts.of_alternative(which - mean.size)
            share = counted[2 + at] / max(counted[0], 1)
            return Measured(float(sign * (share - cuts.centre[at])), cuts.margin, self.cut_floor)

        weights = _halves(mean.size, across.size)
        window = Window(
            case.start, sums.n, np.concatenate([mean, across]), [sums.n, sums.total, *(above - below)], measure, weights
        )
        found = step(state, window, threshold=threshold, min_events=self.min_events)
        details = {"mean": sums.total / sums.n * case.unit, "usual_mean": centre * case.unit, "clipped": sums.clipped}
        usual = "is in order" if taught.get("agreed") else "has been usual"
        if found.leading < mean.size:
            statistic, reason = "mean", f"{_of_mean(case, found, mean.size, centre, case.unit)} {usual}"
            found = found._replace(measured=_times(found.measured, case.unit))
        else:
            at, sign = cuts.of_alternative(found.leading - mean.size)
            statistic, reason = "crossed", f"{_of_cut(case, found, cuts, at, sign)} {usual}"
        return self.decided(case, found, threshold, statistic, reason, details), found.state


class _Cells(NamedTuple):
    """A joint histogram by cell, on the coarse grid."""

    model: NDArray[np.int64]
    partner: NDArray[np.int64]
    counts: NDArray[np.int64]


def _cells(joint: Counts) -> _Cells:
    ours, theirs = (codes - JOINT_SPAN // 2 for codes in np.divmod(joint.bins, JOINT_SPAN))
    return _Cells(ours, theirs, joint.counts)


def _partners(joints: list[_Cells]) -> Counts:
    """Give the partner's scores on the coarse grid, of all blocks together."""
    if not joints:
        return Counts.of([])
    return Counts.of(np.concatenate([j.partner for j in joints]), np.concatenate([j.counts for j in joints]))


class _Cuts(NamedTuple):
    """Cuts of the reference, the standing difference at each, and how far it may stray."""

    at: NDArray[np.int64]
    centre: Floats
    margin: float

    @classmethod
    def of(cls, taught: Mapping[str, float]) -> "_Cuts":
        numbers = [i for i in range(len(CUT_LEVELS)) if f"cut_{i}" in taught]
        at, centre = ([taught[f"cut_{i}{what}"] for i in numbers] for what in ("", "_difference"))
        return cls(np.array(at, dtype=np.int64), np.array(centre), taught.get("cut_tolerance", 0.0))

    def of_alternative(self, which: int) -> tuple[int, int]:
        """Give the cut and the sign of an alternative, as `mcnemar` orders them: by sign, by cut, by λ."""
        each = mcnemar([0], [0], 0).size // 2
        side, rest = divmod(which, self.at.size * each)
        return rest // each, 1 if side == 0 else -1


def _on_means(*, bounded: bool) -> Callable[..., Floats]:
    """Choose the evidence on a mean: differences of probabilities are bounded, others are taken to be symmetric."""

    def evidence(n: Any, totals: Any, squares: Any, centre: Any, margin: Any) -> Floats:
        return (bounded_mean if bounded else symmetric_mean)(n, totals, squares, centre=centre, margin=margin)

    return evidence


def _halves(first: int, second: int) -> Floats:
    """Share the budget: half for each look, equally within."""
    if not second:
        return np.full(first, 1 / first)
    return np.concatenate([np.full(first, 0.5 / first), np.full(second, 0.5 / second)])


def _times(measured: Measured, unit: float) -> Measured:
    return Measured(*(part * unit for part in measured))


def _of_mean(case: Case, found: Step, size: int, centre: float, unit: float) -> str:
    sign = 1 if found.leading < size // 2 else -1
    difference = (centre + sign * found.measured.value) * unit
    return (
        f"the scores of {who(case.subject)} differ by {difference:+.3g} on average {of_requests(found)};"
        f" {centre * unit:+.3g} ± {found.measured.tolerance * unit:.2g}"
    )


def _of_cut(case: Case, found: Step, cuts: _Cuts, at: int, sign: int) -> str:
    edge = lower_edges([int(cuts.at[at] + 1) << JOINT_SHIFT], case.scale)[0]
    share, usual = cuts.centre[at] + sign * found.measured.value, cuts.centre[at]
    return (
        f"{case.subject.model} scores {share:+.1%} more {of_requests(found)} above {edge:.3g} than"
        f" {case.subject.partner}; {usual:+.1%} ± {found.measured.tolerance:.1%}"
    )
