"""The drift detectors of river (https://riverml.xyz) as kinds of rules: ADWIN, KSWIN, Page-Hinkley and DDM.

They read single values in a row, and know no budget: how often they alarm though nothing changed is up to their
settings and grows with the traffic. So they look at a sample of each window, open nothing above `info` unless their
rule says so, and serve to compare with. Needs ``pip install 'birdwatch[river]'``.
"""

import base64
import pickle
import zlib
from abc import abstractmethod
from collections.abc import Collection
from importlib.metadata import version
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from river import drift

from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.verdict import Severity, Subject, Verdict
from birdwatch.stats.grid import midpoints
from birdwatch.windows.pane import Pane, counters

RIVER = version("river")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[float, Field(gt=0)]


class RiverRule(Rule):
    """What the four have in common: a detector that is fed a sample of each window, and kept from one to the next."""

    severity: Severity = Field(default="info", description="The most it may raise: page, ticket or info.")
    sample: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=200, description="How many values of a window it is fed, at the most."
    )

    @abstractmethod
    def detector(self) -> Any:
        """Make river's detector."""

    def values(self, case: Case) -> tuple[Floats, Ints]:
        """Give the values that it is fed from, rising, and how often each was seen."""
        bins, counts = case.counts("score")
        return midpoints(bins, case.scale), counts

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name every version that gave scores."""
        del known
        return self.versions(pane, "counts")

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Feed a sample of the window to the detector, and tell whether it alarmed on the way."""
        del threshold
        values, counts = self.values(case)
        what, n = f"{case.subject.model} {case.subject.version}".strip(), int(counts.sum())
        if n < self.min_events:
            reason = f"{what} gave {n} values, fewer than {self.min_events}"
            return self.say(case, "no data", reason, statistic=self.kind, n=n), state
        detector, since = self._restore(state)
        fed = self._sample(case, values, counts)
        alarms = []
        for place, value in enumerate(fed):
            detector.update(value)
            if detector.drift_detected:
                alarms.append(place)
        alarmed = f"alarmed at {len(alarms)} of them" if alarms else "saw no change"
        reason = f"{self.kind} read {len(fed)} of {n} values of {what} and {alarmed}"
        if since:
            reason += f"; it begins anew, since what it remembered was of {since}, and this is river {RIVER}"
        verdict = self.say(
            case,
            "drifting" if alarms else "ok",
            reason,
            statistic=self.kind,
            value=float(len(alarms)),
            tolerance=0.0,
            effect=float(len(alarms)),
            n=n,
            details={"river": RIVER, "fed": len(fed), "alarms_at": alarms, "began_anew": bool(since)},
        )
        kept = base64.b64encode(pickle.dumps(detector, protocol=5)).decode()
        return verdict, self._made_by() | {"detector": kept}

    def _made_by(self) -> State:
        """Tell what a detector that was kept must have been made by, to be used again."""
        return {"river": RIVER, "settings": self.model_dump(exclude=set(RiverRule.model_fields))}

    def _restore(self, state: State) -> tuple[Any, str]:
        """Give the detector as it was; or a new one, and of what the old one was if that is why."""
        if not state:
            return self.detector(), ""
        if state["river"] != RIVER:
            return self.detector(), f"river {state['river']}"
        if self._made_by().items() <= state.items():
            # Nobody but the judge writes the store, and this is what `judge` gave it.
            return pickle.loads(base64.b64decode(state["detector"])), ""  # noqa: S301
        return self.detector(), "other settings"

    def _sample(self, case: Case, values: Floats, counts: Ints) -> list[float]:
        """Draw values at even distances through all of them, sorted, from a random start, and shuffle them.

        The draw is repeated alike whenever the window is judged again. Where all are drawn, each is drawn once.
        """
        rng = np.random.default_rng(zlib.crc32(f"{self.name} {case.subject} {case.start}".encode()))
        n = int(counts.sum())
        drawn = min(n, self.sample)
        places = (np.arange(drawn) + rng.uniform(0.001, 0.999)) / drawn * n
        found = np.searchsorted(np.cumsum(counts), places)
        shuffled: list[float] = rng.permutation(values[np.minimum(found, values.size - 1)]).tolist()
        return shuffled


class AdwinRule(RiverRule):
    """Adaptive windowing (Bifet and Gavalda 2007): whether the mean of the scores has changed."""

    kind: Literal["adwin"] = Field(default="adwin", description="River's ADWIN on a model's scores.")
    delta: Share = Field(default=0.002, description="Its significance; smaller alarms more rarely.")

    def detector(self) -> drift.ADWIN:
        """Make river's detector."""
        detector: drift.ADWIN = drift.ADWIN(delta=self.delta)  # type: ignore[no-untyped-call]
        return detector


class KswinRule(RiverRule):
    """A Kolmogorov-Smirnov test of the newest values against those before (Raab, Heusinger and Schleif 2020)."""

    kind: Literal["kswin"] = Field(default="kswin", description="River's KSWIN on a model's scores.")
    alpha: Share = Field(
        default=1e-4, description="The p-value that alarms. It is computed at each value: take a very small one."
    )
    window_size: Count = Field(default=400, description="How many values it remembers.")
    stat_size: Count = Field(default=100, description="How many of them, the newest, it compares with as many older.")

    @model_validator(mode="after")
    def _as_many_older(self) -> "KswinRule":
        if self.window_size < 2 * self.stat_size:
            raise ValueError(f"window_size {self.window_size} must be at least twice stat_size {self.stat_size}")
        return self

    def detector(self) -> drift.KSWIN:
        """Make river's detector."""
        return drift.KSWIN(alpha=self.alpha, window_size=self.window_size, stat_size=self.stat_size, seed=1)


class PageHinkleyRule(RiverRule):
    """The cumulated deviation from the mean so far (Page 1954): whether the scores have risen, or fallen."""

    kind: Literal["page_hinkley"] = Field(
        default="page_hinkley", description="River's Page-Hinkley test on a model's scores."
    )
    delta: Size = Field(default=0.005, description="How large a deviation is in order, in the unit of the scores.")
    level: Size = Field(default=50.0, description="The sum of deviations that alarms, river's `threshold`.")

    def detector(self) -> drift.PageHinkley:
        """Make river's detector."""
        return drift.PageHinkley(delta=self.delta, threshold=self.level)


class DdmRule(RiverRule):
    """The drift detection method (Gama et al. 2004): whether errors and nulls have become more frequent."""

    kind: Literal["ddm"] = Field(
        default="ddm", description="River's DDM on the errors and nulls among a model's scores."
    )
    warm_start: Count = Field(
        default=1_000, description="It does not alarm before so many values: had they no error, the first one would."
    )
    drift_threshold: Size = Field(
        default=3.0, description="By how many standard deviations the rate must exceed its least to alarm."
    )

    def detector(self) -> drift.binary.DDM:
        """Make river's detector."""
        return drift.binary.DDM(warm_start=self.warm_start, drift_threshold=self.drift_threshold)

    def values(self, case: Case) -> tuple[Floats, Ints]:
        """Give ones for errors and nulls, zeros for the other scores."""
        found = counters(case.counts("counts"))
        wrong = found["errors"] + found["nulls"]
        return np.array([0.0, 1.0]), np.array([found["events"] - wrong, wrong])
