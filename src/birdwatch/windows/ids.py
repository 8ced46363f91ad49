"""Ids of requests as 64-bit numbers, a whole column at a time: what is joined and sorted by the million.

Two ids have one number once in 2⁶⁴ pairs: of a million ids in a pane, once in 10⁷ panes. The numbers are keyed anew in
each process, so that nobody who chooses ids can choose them to meet; they never leave it.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ids_of_column", "ids_of_texts"]

_KEY: Final = np.uint64(secrets.randbits(64))
_WORD: Final = 8

# Those of SplitMix64 (Steele, Lea and Flood 2014), whose last step this is.
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)

Ids = NDArray[np.int64]
Names = NDArray[np.bytes_]


def ids_of_texts(texts: Sequence[str]) -> tuple[Ids, Names]:
    """Give the number of each id, and its text in UTF-8.

    Examples
    --------
    >>> numbers, names = ids_of_texts(["a", "b", "a"])
    >>> bool(numbers[0] == numbers[2]), bool(numbers[0] == numbers[1]), names.tolist()
    (True, False, [b'a', b'b', b'a'])
    """
    together = "".join(texts)
    data = together.encode()
    parts: Sequence[str | bytes] = texts
    if len(data) != len(together):  # letters of several bytes
        parts = [text.encode() for text in texts]
    return _numbered(np.frombuffer(data, np.uint8), np.fromiter(map(len, parts), np.int64, len(parts)))


def ids_of_column(column: Any) -> tuple[Ids, Names]:
    """Do the same for a ``pyarrow.ChunkedArray`` of texts without nulls; the numbers are the same."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

    texts = pa.concat_arrays([chunk.cast(pa.large_binary()) for chunk in column.chunks])
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8)
    first, last = int(ends[0]), int(ends[-1])
    return _numbered(np.frombuffer(data or b"", np.uint8, last - first, first), np.diff(ends))


def _numbered(data: NDArray[np.uint8], lengths: Ids) -> tuple[Ids, Names]:
    """Lay texts, which stand one after the other, side by side as words of eight bytes, and mix each one's words."""
    least, most = int(lengths.min(initial=2**31)), int(lengths.max(initial=1))
    words = -(-max(most, 1) // _WORD)
    laid = np.zeros((lengths.size, words * _WORD), dtype=np.uint8)
    if least == most:
        laid[:, :most] = data.reshape(lengths.size, most)
    else:
        laid[np.arange(words * _WORD) < lengths[:, None]] = data
    # What is beyond the end of a text must not count: beside others, it would lie in a wider row.
    numbers = _mixed(_KEY ^ (lengths.astype(np.uint64) * _ODD))
    for place, word in enumerate(laid.view(np.uint64).T):
        if place * _WORD < least:
            numbers = _mixed(numbers ^ word)
        else:
            there = np.flatnonzero(lengths > place * _WORD)
            numbers[there] = _mixed(numbers[there] ^ word[there])
    return numbers.view(np.int64), laid.view(f"S{words * _WORD}").ravel()


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Let each bit depend on all others; no two numbers become one."""
    found = numbers ^ (numbers >> np.uint64(30))
    found *= _FIRST
    found ^= found >> np.uint64(27)
    found *= _SECOND
    found ^= found >> np.uint64(31)
    return found
