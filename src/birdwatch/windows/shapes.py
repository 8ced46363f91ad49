"""Tables of distributions: two models request by request, and quantiles side by side."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from birdwatch.stats.grid import Scale, lower_edges
from birdwatch.stats.quantiles import quantiles
from birdwatch.windows.joint import JOINT_SPAN
from birdwatch.windows.pane import JOINT_SHIFT, Counts, Pane, total

__all__ = ["QQ_LEVELS", "joint_table", "quantile_table"]

QQ_LEVELS: Final = tuple(i / 100 for i in range(1, 100))
"""The quantiles that a Q-Q plot shows."""


def joint_table(pane: Pane, model: str, partner: str, scale: Scale = "probability") -> pd.DataFrame:
    """Give how often a model and its partner scored the same request thus and so.

    Parameters
    ----------
    pane
        From `Store.pane`; all versions of the model are added up.

    Returns
    -------
    DataFrame
        A row a cell: ``low, high`` (what the model said) and ``partner_low, partner_high`` are its edges, ``n`` the
        requests in it, ``density`` their share for each unit of area: cells differ in size.
    """
    joint = total(c for s, c in pane.items() if (s.measure, s.model, s.partner) == ("joint", model, partner))
    ours, theirs = (codes - JOINT_SPAN // 2 << JOINT_SHIFT for codes in np.divmod(joint.bins, JOINT_SPAN))
    width = 2**JOINT_SHIFT
    table = pd.DataFrame(
        {
            "low": lower_edges(ours, scale),
            "high": lower_edges(ours + width, scale),
            "partner_low": lower_edges(theirs, scale),
            "partner_high": lower_edges(theirs + width, scale),
            "n": joint.counts,
        }
    )
    area = (table["high"] - table["low"]) * (table["partner_high"] - table["partner_low"])
    return table.assign(density=table["n"] / max(table["n"].sum(), 1) / area)


def quantile_table(
    histograms: Mapping[str, Counts], scale: Scale = "probability", levels: Sequence[float] = QQ_LEVELS
) -> pd.DataFrame:
    """Give the quantiles of histograms side by side, as a Q-Q plot draws them.

    Returns
    -------
    DataFrame
        ``level``, and a column for each histogram.
    """
    columns = {name: [q.value for q in quantiles(h, levels, scale)] for name, h in histograms.items()}
    return pd.DataFrame({"level": list(levels), **columns})
