"""What if the deadline were x? The share of requests that a model would miss, from latencies that the deadline cut off.

A model that is missing when the mailbox closes took longer than the deadline; nobody knows how much. Its latency is
censored, and the curve of all is that of Kaplan and Meier (1958), by statsmodels. Bands are Clopper and Pearson's on the
effective sample size of Cutler and Ederer, as Dorey and Korn (1987) propose: they hold where few or none are late, at each
deadline by itself. It is taken for granted that how long a request is waited for says nothing of how long it takes.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from birdwatch.errors import BirdwatchError

__all__ = ["Latencies", "fallback_rates", "latencies"]


Floats = NDArray[np.float64]


class Latencies(NamedTuple):
    """What is known of one model's latencies.

    Attributes
    ----------
    seconds, came
        By request: how long the model took, or, where it did not come, how long it was waited for.
    failed, unmeasured
        Requests left out: the model gave no score, or nobody measured how long it took.
    """

    seconds: "pd.Series[float]"
    came: "pd.Series[bool]"
    failed: int
    unmeasured: int


def latencies(decisions: pd.DataFrame, model: str, *, overhead_seconds: float = 0.0) -> Latencies:
    """Collect a model's latencies from decisions.

    Parameters
    ----------
    decisions
        Columns ``deadline_seconds, scores, elapsed_seconds, missing`` and ``request_id``.
    model
        Whose.
    overhead_seconds
        What the way to the model and back takes, beside the time inside it: it is added to each latency.
    """
    rows = decisions.drop_duplicates("request_id")
    missing = np.array([model in (names or ()) for names in rows["missing"]], dtype=bool)
    there = np.array([model in (scores or {}) for scores in rows["scores"]], dtype=bool)
    failed = np.array([there_ and scores[model] is None for there_, scores in zip(there, rows["scores"], strict=True)])
    elapsed = pd.to_numeric(pd.Series([(e or {}).get(model) for e in rows["elapsed_seconds"]], index=rows.index))
    known = there & ~failed & elapsed.notna().to_numpy()
    seconds = (elapsed + overhead_seconds).where(~missing, rows["deadline_seconds"].astype(np.float64))
    used = known | missing
    return Latencies(
        seconds=seconds[used].astype(np.float64),
        came=pd.Series(~missing, index=rows.index)[used],
        failed=int(failed.sum()),
        unmeasured=int((there & ~failed & ~known).sum()),
    )


def fallback_rates(
    seconds: ArrayLike,
    came: ArrayLike,
    deadlines: ArrayLike,
    *,
    level: float = 0.95,
) -> pd.DataFrame:
    """Estimate which share of requests a model would miss under other deadlines.

    Parameters
    ----------
    seconds, came
        From `latencies`, shape (n,).
    deadlines
        Those asked about, in seconds.
    level
        Of the band at each deadline.

    Returns
    -------
    DataFrame
        ``deadline_seconds, rate, low, high, n`` (still known to be running at the deadline). Beyond the last deadline that
        was tried nothing is known but that the rate is no larger than there: ``rate`` is NaN, ``low`` 0.

    Raises
    ------
    ValueError
        There are no latencies, or one is not a number ≥ 0.
    BirdwatchError
        statsmodels is not installed.

    Examples
    --------
    Three of four came within 0.3 s, the last was given up at 0.5 s:

    >>> fallback_rates([0.1, 0.2, 0.3, 0.5], [True, True, True, False], [0.15, 0.4, 1.0])["rate"].round(6).tolist()
    [0.75, 0.25, nan]
    """
    try:
        from statsmodels.duration.survfunc import SurvfuncRight  # noqa: PLC0415 - takes seconds to import
    except ImportError as missing:
        raise BirdwatchError(
            "curves of latencies need a package that is missing: pip install 'birdwatch[evaluate]'"
        ) from missing

    times, status = np.asarray(seconds, dtype=np.float64), np.asarray(came, dtype=bool)
    if not times.size or not (np.isfinite(times) & (times >= 0)).all():
        raise ValueError(f"of {times.size} latencies not all are numbers ≥ 0: there is no curve")
    at, left, error = np.zeros(0), np.zeros(0), np.zeros(0)
    if status.any():
        # Those that are waited for longest come last, as the curve is one of Pr(T > t).
        curve = SurvfuncRight(times, status.astype(np.int64))
        at, left, error = curve.surv_times, curve.surv_prob, np.nan_to_num(curve.surv_prob_se)
    tried = float(times.max())
    asked = np.asarray(deadlines, dtype=np.float64)
    place = np.searchsorted(at, np.minimum(asked, tried), side="right") - 1
    rate, spread = (np.where(place >= 0, np.append(x, start)[place], start) for x, start in ((left, 1.0), (error, 0.0)))
    running = np.array([(times > x).sum() for x in asked])
    # No longer known than the last censored one: where all came, the rate beyond is that at the end, 0.
    unknown = (asked > tried) & (rate > 0)
    informed = np.where(
        spread > 0, rate * (1 - rate) / np.where(spread > 0, spread, 1.0) ** 2, _least(times, status, rate)
    )
    low, high = _clopper_pearson(informed * rate, informed, level)
    return pd.DataFrame(
        {
            "deadline_seconds": asked,
            "rate": np.where(unknown, np.nan, rate),
            "low": np.where(unknown, 0.0, low),
            "high": high,
            "n": running,
        }
    )


def _least(times: Floats, status: NDArray[np.bool_], rate: Floats) -> Floats:
    """Give the sample size where the curve is flat at 1 or 0 and has no error: all, or those that came."""
    return np.where(rate >= 1, float(times.size), float(status.sum()))


def _clopper_pearson(k: Floats, n: Floats, level: float) -> tuple[Floats, Floats]:
    tail = (1 - level) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(k > 0, beta.ppf(tail, k, n - k + 1), 0.0)
        high = np.where(k < n, beta.ppf(1 - tail, k + 1, n - k), 1.0)
    return low, high
