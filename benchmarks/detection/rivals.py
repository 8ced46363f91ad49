"""What people use today, on the same distributions: each says for every pane whether it alarms."""

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from river.drift import ADWIN
from scipy.stats import ks_2samp

from birdwatch.stats.distances import bucket_counts, bucket_cuts, psi
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts

__all__ = ["RIVALS", "Rival"]

Floats = NDArray[np.float64]


class Rival(Protocol):
    """A detector that is given the reference, and then pane after pane."""

    def alarms(self, pane: Floats) -> bool:
        """Add a pane, and say whether it alarms."""


class Psi:
    """PSI on ten buckets above .2, the rule of thumb."""

    def __init__(self, reference: Floats) -> None:
        counts = Counts.of(bins_of(reference))
        self._cuts = bucket_cuts(counts)
        self._reference = bucket_counts(counts, self._cuts)

    def alarms(self, pane: Floats) -> bool:
        return psi(bucket_counts(Counts.of(bins_of(pane)), self._cuts), self._reference) > 0.2


class KolmogorovSmirnov:
    """scipy's two-sample test of each pane against the reference, at p < .05."""

    def __init__(self, reference: Floats) -> None:
        self._reference = np.sort(reference)

    def alarms(self, pane: Floats) -> bool:
        return bool(ks_2samp(pane, self._reference, method="asymp").pvalue < 0.05)


class Adwin:
    """river's ADWIN as it comes, fed event by event. It has no reference: what it saw before is its own."""

    def __init__(self, reference: Floats) -> None:
        del reference
        self._detector: Any = ADWIN()

    def alarms(self, pane: Floats) -> bool:
        found = False
        for score in pane.tolist():
            self._detector.update(score)
            found |= self._detector.drift_detected
        return found


RIVALS: Final[dict[str, Callable[[Floats], Rival]]] = {
    "PSI > .2": Psi,
    "KS p < .05": KolmogorovSmirnov,
    "ADWIN": Adwin,
}
