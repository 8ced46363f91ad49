"""When it began: an estimate of the change point, from the evidence that found the change.

Of all starts s and all alternatives k, the likeliest is where the sum of log ratios from s until now, Σ ln L[u, k], is
largest (Page 1954; Hinkley 1970). Running along, that is a CUSUM by alternative: it starts anew at every window before
which it had fallen to 0, so two numbers an alternative are all that has to be kept between windows.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ChangePoint", "Cusum", "change_points"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class ChangePoint(NamedTuple):
    """Where a change most likely began, by subject.

    Attributes
    ----------
    since : array of int64, shape (...)
        The start of the first window that shows it, in the unit in which starts were given.
    alternative : array of int64, shape (...)
        The index of the alternative that shows it best.
    evidence : array of float, shape (...)
        Its log likelihood ratio since then; 0 or less where nothing speaks for a change.
    """

    since: Ints
    alternative: Ints
    evidence: Floats


class Cusum(NamedTuple):
    """Sums of log ratios since the likeliest start, by subject and alternative.

    Keep it after an alarm for as long as the alarm goes on, so that it still says since when; begin a new one when the
    change is over, since a sum that has grown high takes long to fall.

    Attributes
    ----------
    sums : array of float, shape (..., k)
    since : array of int64, shape (..., k)

    Examples
    --------
    >>> cusum = Cusum.none(2)
    >>> for start, ratios in [(0, [1.0, -1.0]), (60, [-2.0, 3.0]), (120, [1.0, 3.0])]:
    ...     cusum = cusum.add(ratios, start)
    >>> cusum.change_point()
    ChangePoint(since=array(60), alternative=array(1), evidence=array(6.))
    """

    sums: Floats
    since: Ints

    @classmethod
    def none(cls, *shape: int) -> "Cusum":
        """Give the CUSUM of no windows; ``shape`` is that of the subjects, and the number of alternatives."""
        return cls(np.zeros(shape), np.zeros(shape, dtype=np.int64))

    def add(self, ratios: ArrayLike, start: ArrayLike) -> "Cusum":
        """Add a window.

        Parameters
        ----------
        ratios : array_like, shape (..., k)
            ln L of each alternative over this window.
        start : array_like of int, shape that broadcasts to (...)
            When the window began, in any unit.

        Raises
        ------
        ValueError
            A ratio is not finite.
        """
        window = np.asarray(ratios, dtype=np.float64)
        if not np.isfinite(window).all():
            raise ValueError(f"evidence is not finite: {window[~np.isfinite(window)].tolist()}")
        anew = self.sums <= 0
        sums = np.where(anew, window, self.sums + window)
        return Cusum(sums, np.where(anew, np.asarray(start, dtype=np.int64)[..., None], self.since))

    def change_point(self) -> ChangePoint:
        """Estimate when the change began, and which alternative shows it best.

        Raises
        ------
        ValueError
            There are no alternatives.
        """
        if not self.sums.shape[-1]:
            raise ValueError("without alternatives there is no change to date")
        best = np.asarray(self.sums.argmax(axis=-1), dtype=np.int64)
        at = best[..., None]
        return ChangePoint(
            np.take_along_axis(self.since, at, axis=-1)[..., 0],
            best,
            np.take_along_axis(self.sums, at, axis=-1)[..., 0],
        )

    def as_state(self) -> dict[str, Any]:
        """Give it as JSON."""
        return {"sums": self.sums.tolist(), "since": self.since.tolist()}

    @classmethod
    def of_state(cls, state: dict[str, Any] | None, *shape: int) -> "Cusum":
        """Read it back; nothing, or what was kept of other alternatives than today's, begins anew."""
        if state is not None:
            sums = np.asarray(state["sums"], dtype=np.float64)
            if sums.shape == shape:
                return cls(sums, np.asarray(state["since"], dtype=np.int64))
        return cls.none(*shape)


def change_points(ratios: ArrayLike, starts: ArrayLike | None = None) -> ChangePoint:
    """Estimate change points from all windows at once.

    Parameters
    ----------
    ratios : array_like, shape (t, ..., k)
        ln L by window, of each subject and alternative; at least one window.
    starts : array_like of int, shape (t,)
        When each window began; without it, windows are counted from 0.

    Raises
    ------
    ValueError
        There are no windows, or a ratio is not finite.

    Examples
    --------
    >>> int(change_points([[-1.0], [-1.0], [2.0], [2.0]]).since)
    2
    """
    windows = np.asarray(ratios, dtype=np.float64)
    if windows.ndim < 2 or not len(windows):
        raise ValueError(f"a change point needs windows and alternatives, not an array of shape {windows.shape}")
    cusum = Cusum.none(*windows.shape[1:])
    for start, window in zip(range(len(windows)) if starts is None else np.asarray(starts), windows, strict=True):
        cusum = cusum.add(window, start)
    return cusum.change_point()
