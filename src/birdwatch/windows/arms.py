"""Which arm was selected, and how likely each was: the columns of decisions that carry propensities, and their counts.

What the policy drew is what counts as selected, also where time or an override brought another model's answer about:
the propensities are of the draw. They are kept in parts of 1024, two bytes an arm.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from birdwatch.windows.pane import PROPENSITY_PARTS, Counts, Series

if TYPE_CHECKING:
    from birdwatch.windows.decode import Names

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
    arms = np.zeros(len(rows), dtype=np.int64)
    selected = np.full(len(rows), -1, dtype=np.int64)
    alike: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(rows):
        if row.propensities:
            alike.setdefault(tuple(row.propensities), []).append(number)
    widest = max((len(among) for among in alike if len(among) <= MOST_ARMS), default=1)
    packed = np.zeros((len(rows), widest), dtype=">u2")
    for among, where in alike.items():
        if len(among) > MOST_ARMS:
            continue
        theta = np.array([list(rows[number].propensities.values()) for number in where], dtype=np.float64)
        packed[where, : len(among)] = np.rint(np.clip(np.nan_to_num(theta), 0, 1) * PROPENSITY_PARTS)
        arms[where] = names.arms_code(among)
        place = {arm: position for position, arm in enumerate(among)}
        selected[where] = [place.get(rows[number].drawn or "", place.get(rows[number].model, -1)) for number in where]
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
