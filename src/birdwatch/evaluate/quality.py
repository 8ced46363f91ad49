"""How good are the scores, by what has come to be known? Calibration and separation on labels that are late, and some missing.

Labels do not go missing at random: a cancelled flight never lands. So beside each number stands what the missing labels
could make of it, whatever they are, and where they are missing.

Sources: consistency bars, Bröcker and Smith (2007), here exact binomial ones, which are no narrower than chance (Hoeffding,
1956); the decomposition of the Brier score is the CORP one of Dimitriadis, Gneiting and Jordan (2021): Brier =
miscalibration − discrimination + uncertainty, without bins.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import binom, chi2_contingency

from birdwatch.evaluate.ranks import auc, auc_bounds

__all__ = ["Brier", "brier", "by_delay", "labelled", "missing_by", "quality_bounds", "reliability", "selection_p"]

Floats = NDArray[np.float64]


class Brier(NamedTuple):
    """The Brier score, and what it is made of: ``score`` = ``miscalibration`` − ``discrimination`` + ``uncertainty``."""

    score: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def labelled(scores: pd.DataFrame, outcomes: pd.DataFrame, model: str, *, as_of: float | None = None) -> pd.DataFrame:
    """Put beside each score of a model the label that was known at a moment.

    Parameters
    ----------
    scores
        Columns ``request_id, request_ts, model, score``; the first number of each request counts.
    outcomes
        Columns ``request_id, request_ts, ts, label``; the latest label counts.
    model
        Whose.
    as_of
        Only labels up to here, in event time; all by default.

    Returns
    -------
    DataFrame
        ``request_id, request_ts, score, label, delay_seconds`` (from the request to its label); the last two are NaN where
        there is no label.
    """
    mine = scores[(scores["model"] == model) & scores["score"].notna()].drop_duplicates("request_id")
    known = outcomes[outcomes["label"].notna()]
    if as_of is not None:
        known = known[known["ts"] <= as_of]
    known = known.sort_values("ts", kind="stable").drop_duplicates("request_id", keep="last")
    table = mine[["request_id", "request_ts", "score"]].merge(
        known[["request_id", "ts", "label"]], on="request_id", how="left", validate="one_to_one"
    )
    table["score"], table["label"] = (table[name].astype(np.float64) for name in ("score", "label"))
    table["delay_seconds"] = table.pop("ts") - table["request_ts"]
    return table


def brier(labels: ArrayLike, scores: ArrayLike) -> Brier:
    """Give the mean squared error of probabilities, taken apart by isotonic recalibration.

    Raises
    ------
    ValueError
        A score is no probability: there is nothing to calibrate.

    Examples
    --------
    >>> brier([0, 1, 1, 1], [0.5, 0.5, 0.75, 0.75])
    Brier(score=0.15625, miscalibration=0.03125, discrimination=0.0625, uncertainty=0.1875)
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if not y.size:
        return Brier(np.nan, np.nan, np.nan, np.nan)
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"scores from {p.min():g} to {p.max():g} are no probabilities: only their ranks can be judged")
    # Equal scores are recalibrated together.
    _, place, n = np.unique(p, return_inverse=True, return_counts=True)
    fitted = isotonic_regression(np.bincount(place, y) / n, weights=n.astype(np.float64)).x[place]
    score, base = float(np.square(p - y).mean()), float(y.mean())
    best, uncertainty = float(np.square(fitted - y).mean()), base * (1 - base)
    return Brier(score, score - best, uncertainty - best, uncertainty)


def reliability(labels: ArrayLike, scores: ArrayLike, *, bins: int = 10, level: float = 0.9) -> pd.DataFrame:
    """Compare predicted with observed rates, in bins of about equal size.

    Returns
    -------
    DataFrame
        ``n, predicted`` (mean score), ``observed`` (rate of positives), ``low, high``: where the observed rate of a
        calibrated model would lie with probability ``level``.
    """
    rows = pd.DataFrame({"label": np.asarray(labels, dtype=float), "score": np.asarray(scores, dtype=float)})
    cuts = np.unique(np.quantile(rows["score"], np.linspace(0, 1, bins + 1)[1:-1])) if len(rows) else np.zeros(0)
    rows["bin"] = np.searchsorted(cuts, rows["score"], side="left")
    table = rows.groupby("bin").agg(n=("score", "size"), predicted=("score", "mean"), observed=("label", "mean"))
    tail = (1 - level) / 2
    for name, at in (("low", tail), ("high", 1 - tail)):
        table[name] = binom.ppf(at, table["n"], table["predicted"]) / table["n"]
    return table.reset_index(drop=True)


def by_delay(table: pd.DataFrame, delays: Sequence[float]) -> pd.DataFrame:
    """Judge by the labels that came within some delay: how soon the numbers can be trusted.

    Parameters
    ----------
    table
        From `labelled`.
    delays
        In seconds; ``inf`` takes all labels there are.

    Returns
    -------
    DataFrame
        ``delay_seconds, n, share`` (of scores that have a label by then), ``rate, auc, auc_error, brier``.
    """
    found = []
    for delay in delays:
        known = table[table["label"].notna() & (table["delay_seconds"] <= delay)]
        area = auc(known["label"], known["score"])
        found.append(
            {
                "delay_seconds": delay,
                "n": len(known),
                "share": len(known) / len(table) if len(table) else np.nan,
                "rate": known["label"].mean(),
                "auc": area.value,
                "auc_error": area.error,
                "brier": brier(known["label"], known["score"]).score,
            }
        )
    return pd.DataFrame(found)


def quality_bounds(table: pd.DataFrame) -> pd.DataFrame:
    """Say what the missing labels could make of the rate, the area and the Brier score.

    Parameters
    ----------
    table
        From `labelled`.

    Returns
    -------
    DataFrame
        Indexed by ``rate, auc, brier``; columns ``labelled`` (of what is known), ``all_positive`` and ``all_negative`` (if
        every missing label were so), ``least`` and ``largest`` (over all labels that the missing ones could have).
    """
    there = table["label"].notna()
    p, y = (table[name].to_numpy(dtype=np.float64) for name in ("score", "label"))
    gone = ~there.to_numpy(dtype=bool)
    guesses: dict[str, Floats] = {
        "all_positive": np.where(gone, 1.0, y),
        "all_negative": np.where(gone, 0.0, y),
        "least": np.where(gone, (p > 0.5).astype(float), y),
        "largest": np.where(gone, (p <= 0.5).astype(float), y),
    }
    area = auc_bounds(y[~gone], p[~gone], p[gone])
    found = {"labelled": _numbers(y[~gone], p[~gone]), **{k: _numbers(v, p) for k, v in guesses.items()}}
    bounds = pd.DataFrame(found, index=["rate", "auc", "brier"])
    bounds.loc["rate", ["least", "largest"]] = bounds.loc["rate", ["all_negative", "all_positive"]].to_numpy()
    bounds.loc["auc", ["least", "largest"]] = area
    return bounds


def missing_by(table: pd.DataFrame, *, bands: int = 5) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Say where labels are missing: by band of the score, and by hour of the day (UTC).

    Returns
    -------
    DataFrame, DataFrame
        ``low, high`` or ``hour``; ``n``, ``missing``, ``share``.
    """
    rows = table.assign(missing=table["label"].isna(), hour=(table["request_ts"] // 3600 % 24).astype(int))
    cuts = np.unique(np.quantile(rows["score"], np.linspace(0, 1, bands + 1)[1:-1])) if len(rows) else np.zeros(0)
    rows["band"] = np.searchsorted(cuts, rows["score"], side="left")
    count = {"n": ("missing", "size"), "missing": ("missing", "sum"), "share": ("missing", "mean")}
    band = rows.groupby("band").agg(low=("score", "min"), high=("score", "max"), **count).reset_index(drop=True)
    return band, rows.groupby("hour").agg(**count).reset_index()


def selection_p(counts: pd.DataFrame) -> float:
    """Give the p-value of Pearson's test that labels are missing as often in every row of `missing_by`.

    NaN where none or all are missing. A large one does not show that they are missing at random: what the label is may
    decide.
    """
    parts = np.array([counts["missing"], counts["n"] - counts["missing"]], dtype=float)
    if not parts.sum(axis=1).all() or parts.shape[1] < 2:
        return np.nan
    return float(chi2_contingency(parts).pvalue)


def _numbers(labels: Floats, scores: Floats) -> list[float]:
    rate = float(labels.mean()) if labels.size else np.nan
    return [rate, auc(labels, scores).value, brier(labels, scores).score]
