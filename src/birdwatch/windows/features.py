"""The watched inputs of the requests, counted like scores: numbers on the grid, categories by name, gaps apart."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats.grid import bins_of
from birdwatch.windows.decode import Columns
from birdwatch.windows.inputs import WRONG, WRONG_TEXT, Input
from birdwatch.windows.pane import MISSING, OTHER, PRESENCE, Counts, Series, label

__all__ = ["categories", "feature_counts"]


def feature_counts(requests: Columns, features: tuple[Input, ...]) -> Iterator[tuple[Series, Counts]]:
    """Count each watched input of the requests of one pane.

    Yields
    ------
    Series, Counts
        ``missing.NAME``, and ``feature.NAME`` or, for each category, ``category.NAME``.
    """
    for one in features:
        column = requests[one.column]
        if one.kind == "number":
            there = np.isfinite(column)
            wrong = int((column == WRONG).sum())
            yield Series(f"feature.{one.name}"), Counts.of(bins_of(column[there]))
        else:
            there = (column != b"") & (column != WRONG_TEXT)
            wrong = int((column == WRONG_TEXT).sum())
            codes, labels = categories(column[there], one.most)
            for code, n in enumerate(np.bincount(codes, minlength=len(labels)).tolist()):
                yield Series(f"category.{one.name}", segment=labels[code]), Counts.of([0], [n])
        present = int(there.sum())
        yield (
            Series(f"missing.{one.name}"),
            Counts.of(range(len(PRESENCE)), [column.size - present - wrong, wrong, present]),
        )


def categories(column: NDArray[np.bytes_], most: int) -> tuple[NDArray[np.int64], list[str]]:
    """Sort rows into categories: the ``most`` frequent (of equals the first by name), and the rest together.

    Returns
    -------
    codes, labels
        For each row the place of its label. What is missing or of the wrong type is one of its own, beside the others.

    Examples
    --------
    >>> codes, labels = categories(np.array([b"a", b"b", b"c", b"b", b""]), 2)
    >>> [labels[code] for code in codes]
    ['a', 'b', '(other)', 'b', '(missing)']
    """
    names, where, times = np.unique(column, return_inverse=True, return_counts=True)
    labels: list[str] = []
    places = np.empty(names.size, dtype=np.int64)
    named = 0
    for place in np.argsort(-times, kind="stable").tolist():  # the names rise already
        if names[place] in (b"", WRONG_TEXT):
            text = MISSING
        elif named < most:
            text, named = label(names[place].decode()), named + 1
        else:
            text = OTHER
        if text not in labels:
            labels.append(text)
        places[place] = labels.index(text)
    return places[where], labels
