"""From evidence to an alarm: when it starts, since when and by how much, and how long it holds."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdwatch.detect.kind import State
from birdwatch.stats.change import Cusum
from birdwatch.stats.evidence import accumulate

__all__ = ["HOLD", "Measured", "Step", "Window", "step"]

HOLD: Final = 3
"""After so many windows in a row within the tolerance, an alarm needs new evidence to go on."""

_FEW: Final = 20
"""A window of fewer events says nothing about an alarm that is on, neither for nor against."""

_REMEMBERED: Final = 72
"""What was counted since a change is kept for so many windows; those before that are kept as one."""

Floats = NDArray[np.float64]


class Measured(NamedTuple):
    """How much it is, how much is in order, and how far beyond that it must be to matter."""

    value: float
    tolerance: float
    floor: float = 0.0

    @property
    def effect(self) -> float:
        """By how much it exceeds what is in order; 0 when it doesn't."""
        return max(0.0, self.value - self.tolerance)


class Window(NamedTuple):
    """What one window adds.

    Attributes
    ----------
    start
        When it began, in event time.
    n
        How many events it has.
    ratios, weights
        ln L of each alternative over this window, and their shares of the budget.
    counted
        What the effect is measured from: numbers that add up over windows.
    measure
        From such sums and the index of an alternative to what that alternative is about.
    """

    start: int
    n: int
    ratios: Floats
    counted: ArrayLike
    measure: Callable[[Floats, int], Measured]
    weights: ArrayLike = 1.0


class Step(NamedTuple):
    """What a window made of the evidence.

    Attributes
    ----------
    evidence
        ln R, of the share of the budget it holds.
    alarmed
        This is the window with which the evidence was enough.
    drifting
        The alarm is on: since this window, or still.
    leading
        The alternative that speaks loudest; of an alarm that is on, the one that raised it.
    since
        When what it says most likely began.
    measured
        What it says: of an alarm since then, else of this window alone.
    n
        Of how many events that is.
    state
        What to remember.
    """

    evidence: float
    alarmed: bool
    drifting: bool
    leading: int
    since: int
    measured: Measured
    n: int
    state: State

    def said(self, threshold: float) -> dict[str, Any]:
        """Give what a verdict says of it, by the names of `birdwatch.detect.verdict.Verdict`."""
        return {
            "value": self.measured.value,
            "tolerance": self.measured.tolerance,
            "effect": self.measured.effect,
            "evidence": self.evidence,
            "threshold": threshold,
            "alarmed": self.alarmed,
            "n": self.n,
        }


def step(state: State, window: Window, *, threshold: float, min_events: int = 1) -> Step:
    """Add a window's evidence and decide.

    It alarms when the evidence reaches ln A, and what was measured since the estimated change point exceeds the
    tolerance by more than the floor. Either way evidence that reaches ln A has been spent, and starts again at nothing: a
    difference beyond doubt but too small to matter must not lie in wait for the first bad window. Only where too few
    events were seen since the change to tell how large it is, it waits for more. An alarm goes on while windows are
    beyond the tolerance, new evidence or not.

    Parameters
    ----------
    state
        ``{}``, or what the last step gave; of another number of alternatives it begins anew.
    threshold
        ln A.
    min_events
        The least number of events to measure an effect by.
    """

    def alone(which: int) -> Measured:
        return window.measure(np.asarray(window.counted, dtype=np.float64), which)

    size = int(window.ratios.size)
    if len(state.get("kept", ())) != size:
        state = {}
    cusum = Cusum.of_state(state.get("cusum"), size).add(window.ratios, window.start)
    now = [window.start, window.n, np.asarray(window.counted, dtype=np.float64).tolist()]
    past = _folded([*state.get("past", []), now])
    evidence, grown = accumulate(state.get("kept", np.zeros(size)), window.ratios, window.weights)
    leading = int(np.argmax(grown + np.log(window.weights)))
    since = int(cusum.since[leading])
    measured, n = _since(past, since, leading, window.measure)
    spent = bool(evidence >= threshold) and n >= min_events
    alarmed = spent and measured.value - measured.tolerance > measured.floor
    hold, held = int(state.get("hold", 0)), int(state.get("held", leading))
    goes_on = False
    if alarmed:
        hold, held = HOLD, leading
    elif hold and window.n < _FEW:
        goes_on = True
    elif hold:
        goes_on = alone(held).effect > 0
        hold = HOLD if goes_on else hold - 1
    drifting = alarmed or goes_on
    oldest = int(cusum.since[cusum.sums > 0].min(initial=window.start))
    after: State = {
        "kept": (np.zeros(size) if spent else grown).tolist(),
        "cusum": cusum.as_state(),
        "past": [one for one in past if one[0] >= oldest],
    }
    if hold:
        after |= {"hold": hold, "held": held}
    elif "hold" in state:  # it is over: a sum that has grown high would take long to fall
        after |= {"cusum": Cusum.none(size).as_state(), "past": []}
    if drifting:
        leading, since = held, int(cusum.since[held])
        measured, n = _since(past, since, held, window.measure)
        if not measured.effect:  # it went one way and then the other: together they would say that all is well
            measured, n = alone(held), window.n
    else:
        measured, n = alone(leading), window.n
    return Step(float(evidence), alarmed, drifting, leading, since, measured, n, after)


def _folded(past: list[Any]) -> list[Any]:
    """Add the oldest windows up where there are too many."""
    if len(past) <= _REMEMBERED:
        return past
    (start, n, counted), (_, more, others), *rest = past
    return [[start, n + more, np.add(counted, others).tolist()], *rest]


def _since(
    past: list[Any], since: int, leading: int, measure: Callable[[Floats, int], Measured]
) -> tuple[Measured, int]:
    """Measure what was counted since a moment."""
    found = [one for one in past if one[0] >= since] or past[-1:]
    return measure(np.sum([counted for _, _, counted in found], axis=0), leading), sum(n for _, n, _ in found)
