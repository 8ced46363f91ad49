"""The mean difference of a pair so far, with a band that holds at all times at once."""

import numpy as np
import pandas as pd

from birdwatch.stats.grid import Scale
from birdwatch.stats.sequences import bounded_mean_band, unbounded_mean_band

__all__ = ["running_table"]


def running_table(pairs: pd.DataFrame, scale: Scale = "probability", *, alpha: float = 0.05) -> pd.DataFrame:
    """Follow the mean difference of each pair from the beginning of a table on, or from the first request of its version.

    A new version is another pair and begins anew: what the old one did says nothing of it. A longer past than the table's would
    drown what has changed since, so the beginning is the reader's; the band is good for a beginning that was not chosen
    for what was seen there.

    Parameters
    ----------
    pairs
        From `birdwatch.windows.tables.pair_table`: one pair or several.
    scale
        Differences of probabilities are bounded, others are not: see `birdwatch.stats.sequences`.
    alpha
        The share of pairs whose band is ever left by what it is about.

    Returns
    -------
    DataFrame
        The same rows, and ``requests`` so far, their ``running`` mean, and its band ``low, high``; NaN before the first
        request, and where the band says nothing yet.

    Examples
    --------
    >>> steps = pd.DataFrame({"model": "m", "version": "1", "partner": "canary", "n": [1000, 1000], "mean": [0.02, 0.022]})
    >>> running_table(steps.assign(time=[0, 1], sd=0.05))[["requests", "running", "low", "high"]].round(3).values.tolist()
    [[1000.0, 0.02, 0.008, 0.032], [2000.0, 0.021, 0.014, 0.028]]
    """
    parts = [_followed(part, scale, alpha) for _, part in pairs.groupby(["model", "version", "partner"], sort=False)]
    if not parts:
        return pairs.assign(requests=np.nan, running=np.nan, low=np.nan, high=np.nan)
    return pd.concat(parts).sort_index()


def _followed(pair: pd.DataFrame, scale: Scale, alpha: float) -> pd.DataFrame:
    n, mean, sd = (pair[column].to_numpy(dtype=np.float64, na_value=np.nan) for column in ("n", "mean", "sd"))
    squares = n * (sd**2 + mean**2)
    # A score that should be a probability and is none has differences without a bound.
    bounded = scale == "probability" and not (squares > n * (1 + 1e-5)).any()
    band = bounded_mean_band if bounded else unbounded_mean_band
    running, low, high = band(n, n * mean, squares, alpha=alpha)
    requests = np.cumsum(np.nan_to_num(n))
    known = requests > 0
    return pair.assign(
        requests=np.where(known, requests, np.nan),
        running=running,
        low=np.where(known, low, np.nan),
        high=np.where(known, high, np.nan),
    )
