"""Scores now beside those of a reference, quantile by quantile: where a distribution moved, and by how much."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from birdwatch.stats.bands import two_sample_band
from birdwatch.stats.grid import Scale
from birdwatch.stats.quantiles import quantiles, size
from birdwatch.windows.pane import Counts
from birdwatch.windows.shapes import QQ_LEVELS

__all__ = ["qq_table"]

_COLUMNS: Final = (
    "level",
    *("before", "before_low", "before_high"),
    *("now", "now_low", "now_high"),
    *("least", "most", "moved", "n", "m"),
)


def qq_table(
    now: Counts,
    before: Counts,
    scale: Scale = "probability",
    *,
    levels: Sequence[float] = QQ_LEVELS,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Give quantiles now beside those before, upon where chance alone leaves those of now.

    Two samples of one distribution have distribution functions that lie at most ε apart, everywhere and at all times at once,
    but for a share ``alpha`` (`birdwatch.stats.bands.two_sample_band`); then the quantile u of the one lies between the
    quantiles u - ε and u + ε of the other.

    Returns
    -------
    DataFrame
        A row a level: ``before`` and ``now`` are the quantiles, ``before_low, before_high, now_low, now_high`` the edges
        that the grid leaves them, ``least, most`` where chance alone leaves the one of now (infinite where it says
        nothing), ``moved`` is 1 where it lies certainly above, -1 below, and 0 otherwise; ``n, m`` are the events now and
        before. Empty where one side has none.

    Examples
    --------
    >>> from birdwatch.stats.grid import bins_of
    >>> some = Counts.of(bins_of(np.linspace(0.2, 0.4, 2001), "probability"))
    >>> more = Counts.of(bins_of(np.linspace(0.2, 0.6, 2001), "probability"))
    >>> qq_table(more, some, levels=[0.1, 0.5])[["before", "now", "most", "moved"]].round(2).values.tolist()
    [[0.22, 0.24, 0.25, 0.0], [0.3, 0.4, 0.33, 1.0]]
    """
    n, m = size(now), size(before)
    if not (n and m):
        return pd.DataFrame(columns=list(_COLUMNS), dtype=np.float64)
    wanted = np.asarray(levels, dtype=np.float64)
    apart = float(two_sample_band(n, m, alpha=alpha))
    least, most = wanted - apart, wanted + apart
    lowest = [q.lower for q in quantiles(before, np.clip(least, 0, 1).tolist(), scale)]
    highest = [q.upper for q in quantiles(before, np.clip(most, 0, 1).tolist(), scale)]
    table = pd.DataFrame({"level": wanted})
    for name, counts in (("before", before), ("now", now)):
        found = quantiles(counts, wanted.tolist(), scale)
        table[name] = [q.value for q in found]
        table[f"{name}_low"], table[f"{name}_high"] = [q.lower for q in found], [q.upper for q in found]
    table["least"] = np.where(least > 0, lowest, -np.inf)
    table["most"] = np.where(most < 1, highest, np.inf)
    moved = (table["now_low"] > table["most"]).astype(int) - (table["now_high"] < table["least"]).astype(int)
    return table.assign(moved=moved, n=n, m=m)[list(_COLUMNS)]
