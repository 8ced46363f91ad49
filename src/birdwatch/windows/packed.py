"""Histograms as bytes, in as little room as their numbers need: a store of panes is mostly these.

A byte tells how wide what follows is: the first bin in eight bytes, the gaps between one bin and the next, the counts.
Neighbouring bins lie close together and most counts are small, so that a few bytes hold what sixteen would.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from birdwatch.windows.pane import Counts

__all__ = ["pack", "unpack"]

_KINDS: Final = tuple(np.dtype(kind) for kind in ("<u1", "<u2", "<u4", "<i8"))
_OF_HEAD: Final = {16 * gap + count: (_KINDS[gap], _KINDS[count]) for gap in range(4) for count in range(4)}
_LIMITS: Final = np.array([2**8, 2**16, 2**32], dtype=np.uint64)
_HEAD: Final = 9


def pack(many: Sequence[Counts]) -> list[bytes]:
    """Give the bytes of each histogram, none of them empty: all that a pane has at once, since most have few bins.

    Examples
    --------
    >>> [len(packed) for packed in pack([Counts.of([130_800, 130_803]), Counts.of([-5], [70_000])])]
    [12, 13]
    """
    if not many:
        return []
    ends = np.cumsum([counts.bins.size for counts in many])
    bins = np.concatenate([counts.bins for counts in many])
    counts = np.concatenate([counts.counts for counts in many])
    starts = np.concatenate([[0], ends[:-1]])
    gaps = np.diff(bins, append=0)
    gaps[ends - 1] = 0  # what lies between the last bin and the next histogram's first
    of_gaps, of_counts = _widths(gaps, starts), _widths(counts, starts)
    heads = (of_gaps << 4 | of_counts).astype(np.uint8).tobytes()
    firsts = bins[starts].astype("<i8").tobytes()
    wide_gaps = {width: gaps.astype(_KINDS[width]).tobytes() for width in set(of_gaps.tolist())}
    wide_counts = {width: counts.astype(_KINDS[width]).tobytes() for width in set(of_counts.tolist())}
    found = []
    for row, ((begin, end), gap, count) in enumerate(
        zip(pairwise([0, *ends.tolist()]), of_gaps.tolist(), of_counts.tolist(), strict=True)
    ):
        by_gap, by_count = _KINDS[gap].itemsize, _KINDS[count].itemsize
        found.append(
            heads[row : row + 1]
            + firsts[8 * row : 8 * row + 8]
            + wide_gaps[gap][begin * by_gap : (end - 1) * by_gap]
            + wide_counts[count][begin * by_count : end * by_count]
        )
    return found


def _widths(numbers: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Say which of `_KINDS` each histogram's numbers need; to the eye that sees no sign, what is negative is large."""
    return np.searchsorted(_LIMITS, np.maximum.reduceat(numbers.view(np.uint64), starts), side="right")


def unpack(packed: bytes) -> Counts:
    """Read a histogram back.

    Raises
    ------
    ValueError
        These are not the bytes of one.

    Examples
    --------
    >>> [unpack(packed) for packed in pack([Counts.of([-3, 7, 7])])]
    [Counts(bins=array([-3,  7]), counts=array([1, 2]))]
    """
    kinds = _OF_HEAD.get(packed[0]) if len(packed) > _HEAD else None
    if kinds is None:
        raise ValueError(f"{packed[:_HEAD]!r} does not begin a histogram")
    gap, count = kinds
    n, over = divmod(len(packed) - _HEAD + gap.itemsize, gap.itemsize + count.itemsize)
    if over:
        raise ValueError(f"{len(packed)} bytes are no whole histogram")
    bins = np.empty(n, dtype=np.int64)
    bins[0] = int.from_bytes(packed[1:_HEAD], "little", signed=True)
    bins[1:] = np.frombuffer(packed, gap, n - 1, _HEAD)
    counts = np.frombuffer(packed, count, n, len(packed) - n * count.itemsize).astype(np.int64)
    return Counts(np.add.accumulate(bins, out=bins), counts)
