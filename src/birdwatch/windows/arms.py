"""Which arm was selected, and how likely each was: the columns of decisions that carry propensities, and their counts.

What the policy drew is what counts as selected, also where time or an override brought another model's answer about:
the propensities are of the draw. They are kept in parts of 1024, two bytes an arm.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from birdwatch.windows.pane import PROPENSITY_PARTS, Counts, Series

if TYPE_CHECKING:
    from birdwatch.windows.names import Names

__all__ = ["MOST_ARMS", "arm_columns", "arm_counts"]

MOST_ARMS: Final = 64
"""The propensities of a decision among more arms than these are not counted."""


def arm_columns(rows: Sequence[Any], names: "Names") -> dict[str, NDArray[Any]]:
    """Give the columns ``arms`` (a number of ``names``), ``propensities`` (bytes) and ``selected`` (which arm, or -1).

    Parameters
    ----------
    rows
        Decisions, with ``propensities`` by arm (or None), ``drawn`` and ``model``.
    """
    odds = [row.propensities or {} for row in rows]
    arms = np.fromiter(
        (names.arms_code(tuple(each)) if len(each) <= MOST_ARMS else 0 for each in odds), np.int64, len(rows)
    )
    selected = np.full(len(rows), -1, dtype=np.int64)
    there = [(names.arms[code], np.flatnonzero(arms == code)) for code in np.unique(arms[arms > 0]).tolist()]
    widest = max((len(among) for among, _ in there), default=1)
    packed = np.zeros((len(rows), widest), dtype=">u2")
    for among, where in there:
        numbers = where.tolist()
        flat = list(itertools.chain.from_iterable(odds[number].values() for number in numbers))
        theta = np.nan_to_num(np.array(flat, dtype=np.float64)).reshape(-1, len(among))  # None is NaN
        packed[where, : len(among)] = np.rint(np.clip(theta, 0, 1) * PROPENSITY_PARTS)
        place = {arm: position for position, arm in enumerate(among)}
        drawn = [row.drawn if row.drawn in place else row.model for row in (rows[number] for number in numbers)]
        selected[where] = [place.get(arm, -1) for arm in drawn]
    return {"arms": arms, "propensities": packed.view(f"S{2 * widest}")[:, 0], "selected": selected}


def arm_counts(columns: dict[str, NDArray[Any]], names: "Names") -> Iterator[tuple[Series, Counts]]:
    """Count, by arm, how likely it was and whether it was selected."""
    for code in np.unique(columns["arms"]).tolist():
        among = names.arms[code]
        mine = columns["arms"] == code
        packed = columns["propensities"][mine].astype(f"S{2 * max(len(among), 1)}")
        theta = packed.view(">u2").reshape(packed.size, -1).astype(np.int64)
        for position, arm in enumerate(among):
            yield (
                Series("propensity", arm),
                Counts.of(2 * theta[:, position] + (columns["selected"][mine] == position)),
            )
