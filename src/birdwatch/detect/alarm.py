"""From evidence to an alarm: when it starts, and how long it holds."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.detect.kind import State
from birdwatch.stats.evidence import accumulate

__all__ = ["HOLD", "Step", "step"]

HOLD: Final = 3
"""After so many windows in a row within the tolerance, an alarm needs new evidence to go on."""


class Step(NamedTuple):
    """One window's evidence (ln R, of the share of the budget it holds), whether it alarms, and what to remember."""

    evidence: float
    drifting: bool
    state: State


def step(
    state: State,
    ratios: NDArray[np.float64],
    *,
    threshold: float,
    effect: float,
    floor: float = 0.0,
    weight: float = 1.0,
) -> Step:
    """Add a window's evidence and decide.

    It alarms when the evidence reaches ln A and the effect, the measured value beyond the tolerance, exceeds the
    floor. Either way evidence that reaches ln A has been spent, and starts again at nothing: a difference beyond doubt
    but too small to matter must not lie in wait for the first bad window. An alarm goes on while the value stays
    beyond the tolerance, new evidence or not.

    Parameters
    ----------
    state
        ``{}``, or what the last step gave.
    ratios
        Logarithms of this window's likelihood ratios, by alternative.
    """
    kept = np.asarray(state.get("kept", []), dtype=np.float64)
    if kept.size != ratios.size:
        kept = np.zeros(ratios.size)
    evidence, grown = accumulate(kept, ratios, weight)
    spent = bool(evidence >= threshold)
    hold = int(state.get("hold", 0))
    if spent and effect > floor:
        hold = HOLD
    elif effect > 0:
        hold = HOLD if hold else 0
    else:
        hold = max(0, hold - 1)
    after = {"kept": (np.zeros(ratios.size) if spent else grown).tolist(), "hold": hold}
    return Step(float(evidence), bool(hold and effect > 0), after)
