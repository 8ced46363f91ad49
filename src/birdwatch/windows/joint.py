"""Two models, request by request: what a pane keeps of the scores that both gave."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats.grid import Scale, bins_of
from birdwatch.windows.pane import FIXED_POINT, JOINT_SHIFT, PAIR_CLIP

__all__ = ["EXTREMES", "JOINT_SPAN", "joint_bins", "largest", "meeting", "pair_terms"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EXTREMES: Final = 5
"""How many of the largest disagreements of a pair are kept, by pane."""

JOINT_SPAN: Final = 2**20
"""A joint bin is (coarse bin of the model) * JOINT_SPAN + (coarse bin of the partner), both moved to be positive."""


def meeting(ours: Ints, theirs: Ints) -> tuple[Ints, Ints]:
    """Give the places of the ids in ``ours`` that are in ``theirs`` too, and where there; in ``theirs`` each is once."""
    if not theirs.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(theirs)
    rising = theirs[order]
    at = np.minimum(np.searchsorted(rising, ours), rising.size - 1)
    met = np.flatnonzero(rising[at] == ours)
    return met, order[at[met]]


def joint_bins(model: Floats, partner: Floats, scale: Scale) -> Ints:
    """Give the bin of the coarse joint histogram for each pair of scores."""
    ours, theirs = ((bins_of(scores, scale) >> JOINT_SHIFT) + JOINT_SPAN // 2 for scores in (model, partner))
    return ours * JOINT_SPAN + theirs


def pair_terms(groups: Ints, difference: Floats, unit: float) -> Ints:
    """Give what each request adds to each of `birdwatch.windows.pane.PAIR_COUNTERS`, whose sums are exact.

    Parameters
    ----------
    groups
        Of each difference, a number from 0 on: they are added up by it.

    Returns
    -------
    array of int64, shape (4, n)

    Raises
    ------
    OverflowError
        A sum may exceed 63 bits, at which numpy's int64 would wrap around in silence.
    """
    units = difference / unit
    clipped = np.clip(units, -PAIR_CLIP, PAIR_CLIP)
    terms = np.stack(
        [
            np.ones_like(units),
            np.rint(clipped * FIXED_POINT),
            np.ceil(clipped * clipped * FIXED_POINT),
            clipped != units,
        ]
    ).astype(np.int64)
    most = int(np.bincount(groups).max(initial=0))
    if most * int(np.abs(terms).max(initial=0)) >= 2**62:
        raise OverflowError(f"a sum of {most} differences exceeds 63 bits: set a larger unit or shorter panes")
    return terms


def largest(groups: Ints, difference: Floats, names: NDArray[np.bytes_], rows: Ints) -> Ints:
    """Say where the `EXTREMES` largest differences of each group are, the largest first, of equals the first by name.

    Parameters
    ----------
    groups
        Of each difference, a number from 0 on.
    names, rows
        Names of requests, and which of them is that of each difference.
    """
    size = np.abs(difference)
    # Names are compared of those alone that can be among them: texts sort slowly. Rounded to 32 bits, sizes keep their
    # order, and one number holds them and the group.
    with np.errstate(over="ignore"):
        rank = np.int64(np.iinfo(np.int32).max) - size.astype(np.float32).view(np.int32)
    rank += groups << 32
    ends = np.cumsum(np.bincount(groups))
    last = np.minimum(np.concatenate([[0], ends[:-1]]) + EXTREMES, ends) - 1
    near = np.flatnonzero(rank <= np.sort(rank)[last][groups])
    near = near[np.lexsort([names[rows[near]], -size[near], groups[near]])]
    of = groups[near]
    return near[np.arange(near.size) - np.searchsorted(of, of) < EXTREMES]
