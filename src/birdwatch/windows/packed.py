"""Histograms as bytes, in as little room as their numbers need: a store of panes is mostly these.

A byte tells how wide what follows is: the first bin in eight bytes, the gaps between one bin and the next, the counts.
Neighbouring bins lie close together and most counts are small, so that a few bytes hold what sixteen would.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.windows.pane import Counts

__all__ = ["Laid", "pack", "unpack"]

_KINDS: Final = tuple(np.dtype(kind) for kind in ("<u1", "<u2", "<u4", "<i8"))
_SIZES: Final = np.array([kind.itemsize for kind in _KINDS] + [0] * (16 - len(_KINDS)))
_LIMITS: Final = np.array([2**8, 2**16, 2**32], dtype=np.uint64)
_HEAD: Final = 9


class Laid(NamedTuple):
    """Histograms laid end to end: ``bins[edges[i] : edges[i + 1]]`` are those of the i-th, as are ``counts``.

    What was not the bytes of a histogram takes no room: its edges are the same.
    """

    edges: NDArray[np.int64]
    bins: NDArray[np.int64]
    counts: NDArray[np.int64]


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


def unpack(many: Sequence[bytes]) -> Laid:
    """Read histograms back, all at once.

    Examples
    --------
    >>> unpack(pack([Counts.of([-3, 7, 7]), Counts.of([5])]))
    Laid(edges=array([0, 2, 3]), bins=array([-3,  7,  5]), counts=array([1, 2, 1]))
    """
    lengths = np.array([len(packed) for packed in many], dtype=np.int64)
    heads = np.frombuffer(b"".join([packed[:1] or b"\xff" for packed in many]), dtype=np.uint8)
    of_gaps, of_counts = heads >> 4, heads & 0b1111
    by_gap, by_count = _SIZES[of_gaps], _SIZES[of_counts]
    sizes, over = np.divmod(lengths - _HEAD + by_gap, np.maximum(by_gap + by_count, 1))
    whole = (by_gap > 0) & (by_count > 0) & (lengths > _HEAD) & (over == 0)
    sizes = np.where(whole, sizes, 0)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    sound = [packed for packed, is_whole in zip(many, whole.tolist(), strict=True) if is_whole]
    of_gaps, of_counts, by_gap, by_count, sizes = (
        each[whole] for each in (of_gaps, of_counts, by_gap, by_count, sizes)
    )
    starts, ends = edges[:-1][whole], (_HEAD + (sizes - 1) * by_gap).tolist()
    # There is a gap less than there are bins: what lies before the gaps holds the first one's place, and is not looked at.
    gaps = [packed[_HEAD - by : end] for packed, by, end in zip(sound, by_gap.tolist(), ends, strict=True)]
    bins = _end_to_end(gaps, of_gaps, sizes)
    bins[starts] = 0
    np.cumsum(bins, out=bins)
    firsts = np.frombuffer(b"".join([packed[1:_HEAD] for packed in sound]), dtype="<i8")
    bins += np.repeat(firsts - bins[starts], sizes)
    counts = [packed[end:] for packed, end in zip(sound, ends, strict=True)]
    return Laid(edges, bins, _end_to_end(counts, of_counts, sizes))


def _end_to_end(pieces: Sequence[bytes], kinds: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Lay the numbers of pieces one after the other, each piece of a kind of its own."""
    found = np.empty(int(sizes.sum()), dtype=np.int64)
    each = np.repeat(kinds, sizes)
    listed = kinds.tolist()
    for kind in set(listed):
        some = b"".join([piece for piece, of in zip(pieces, listed, strict=True) if of == kind])
        found[each == kind] = np.frombuffer(some, dtype=_KINDS[kind])
    return found
