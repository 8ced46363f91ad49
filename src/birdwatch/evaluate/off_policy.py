"""What would another policy have earned? Its value from what was logged, by the propensities.

Each decision says with which probability its arm was drawn. A decision counts by the weight w = π(arm)/p(arm): how much
likelier the other policy would have drawn the same. Answers brought about by time, failure or force were not drawn by the
propensity: they are counted and kept apart, and the value is that of requests answered as drawn.

Sources: inverse propensity scores, Horvitz and Thompson (1952); self-normalised, Swaminathan and Joachims (2015); doubly
robust, Dudík, Langford and Li (2011), with cross-fitting as Chernozhukov et al. (2018); the sure bound is empirical
Bernstein, Maurer and Pontil (2009), theorem 4; effective sample size, Kish (1965).
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

__all__ = ["Arms", "Floats", "OffPolicy", "Policy", "bernstein", "by_arm", "hajek", "latest", "off_policy_value"]

DRAWN: Final = ("first choice", "explored")
"""Reasons of answers that the propensity drew."""

Arms = pd.DataFrame
"""A number for each decision (rows, by the decisions' index) and arm (columns)."""

Policy = str | Mapping[str, float] | Arms | Callable[[pd.DataFrame], Arms]
"""A model that always answers; probabilities by arm; these by decision; or what gives them, from the decisions."""

Floats = NDArray[np.float64]

_LARGEST: Final = 0.01


class OffPolicy(NamedTuple):
    """The value of a policy, and how much the log knows of it.

    Attributes
    ----------
    estimates
        Indexed by ``IPS``, ``self-normalised``, ``doubly robust``; columns ``value``, ``error`` (standard error), ``low``
        and ``high`` (normal interval), ``sure_low`` and ``sure_high`` (empirical Bernstein; NaN where it does not hold: the
        largest possible weight is not known, weights were cut, the log does not cover the policy, or the estimate is the
        self-normalised one).
    n
        Decisions used: drawn, and with a reward.
    effective
        Effective sample size, (Σw)²/Σw²: so many decisions drawn by the policy itself would tell as much.
    largest
        The share of all weight that lies on the largest 1 % of the weights.
    mean_weight
        About 1 where the log covers the policy; well below it, the log holds nothing of what the policy would do.
    uncovered
        The mean probability that the policy gives to arms which could not have been drawn; NaN where ``propensities`` are
        not recorded.
    clipped
        Decisions whose weight was cut.
    apart
        By reason: all that the propensity did not draw; columns ``n``, ``rewarded``, ``value`` (mean reward).
    without_reward
        Drawn decisions without a reward: not used.
    """

    estimates: pd.DataFrame
    n: int
    effective: float
    largest: float
    mean_weight: float
    uncovered: float
    clipped: int
    apart: pd.DataFrame
    without_reward: int


def off_policy_value(
    decisions: pd.DataFrame,
    outcomes: pd.DataFrame,
    policy: Policy,
    *,
    reward: str = "reward",
    unrewarded: float | None = None,
    direct: Arms | None = None,
    features: pd.DataFrame | None = None,
    clip: float | None = None,
    most_weight: float | None = None,
    span: tuple[float, float] = (0.0, 1.0),
    level: float = 0.95,
) -> OffPolicy:
    """Estimate what a policy would have earned on the requests that were answered as drawn.

    Parameters
    ----------
    decisions
        Columns ``request_id, model, reason, propensity``, and ``propensities`` (a mapping by arm) where it is known.
    outcomes
        Columns ``request_id, ts`` and that named by ``reward``; the latest counts.
    policy
        Whose value is asked for.
    reward
        What is earned: ``reward`` or ``label``.
    unrewarded
        The reward of a request without an outcome, such as 0 where only clicks are recorded; None leaves it out.
    direct
        Expected rewards by decision and arm, from a model that has not seen these rewards. By default `by_arm` fits one.
    features
        Numbers by decision for that fit; without them it is the mean of each arm.
    clip
        The largest weight: less variance for some bias, which is downward where rewards are not negative.
    most_weight
        The largest weight that could have been; by default from ``propensities``, or ``clip``.
    span
        The least and the largest reward there can be, for the sure bound.
    level
        Of the intervals.

    Raises
    ------
    ValueError
        A probability is none, a drawn decision has a propensity of 0, a reward lies outside ``span``, the policy names no
        arm of the log, or nothing was drawn that has a reward.

    Examples
    --------
    >>> drawn = {"request_id": ["1", "2", "3", "4"], "model": ["a", "a", "b", "b"], "reason": "explored", "propensity": 0.5}
    >>> outcomes = pd.DataFrame({"request_id": ["1", "2", "3", "4"], "ts": 0.0, "reward": [1.0, 0.0, 1.0, 1.0]})
    >>> off_policy_value(pd.DataFrame(drawn), outcomes, "a").estimates["value"].round(6).to_dict()["IPS"]
    0.5
    """
    if clip is not None and not clip > 0:
        raise ValueError(f"a clip of {clip!r} leaves nothing: give a weight above 0")
    decisions = decisions.drop_duplicates("request_id")
    known = latest(outcomes, reward).reindex(decisions["request_id"])
    earned: Floats = np.asarray(known.to_list(), dtype=np.float64)
    if unrewarded is not None:
        earned[np.isnan(earned)] = unrewarded
    drawn = decisions["reason"].isin(DRAWN).to_numpy()
    used = drawn & ~np.isnan(earned)
    if not used.any():
        raise ValueError(
            f"of {len(decisions):,} decisions {drawn.sum():,} were drawn and none of these has a {reward}: give outcomes"
        )
    rows = decisions[used]
    r: Floats = earned[used]
    if r.min() < span[0] or r.max() > span[1]:
        raise ValueError(f"rewards from {r.min():g} to {r.max():g} lie outside of {span}: give their span")
    p = rows["propensity"].to_numpy(dtype=np.float64)
    if not ((p > 0) & (p <= 1)).all():
        raise ValueError("a decision was drawn with a propensity outside of (0, 1]: the log cannot be right")
    probabilities = _probabilities(policy, rows)
    place = probabilities.columns.get_indexer(pd.Index(rows["model"]))
    each = probabilities.to_numpy(dtype=np.float64)
    weights = each[np.arange(len(rows)), place] / p
    logged = _logged(rows, probabilities.columns)
    if most_weight is None and logged is not None:
        possible = np.divide(each, logged, out=np.zeros_like(each), where=logged > 0)
        most_weight = float(possible.max())
    cut: Floats = weights if clip is None else np.minimum(weights, clip)
    most = min((m for m in (most_weight, clip) if m is not None), default=np.nan)
    if direct is None:
        direct = by_arm(rows, r, list(probabilities.columns), features=features)
    expected = direct.loc[rows.index, probabilities.columns].to_numpy(dtype=np.float64)
    robust = (each * expected).sum(axis=1) + cut * (r - expected[np.arange(len(rows)), place])
    low, high = span
    uncovered = np.nan if logged is None else float((each * (logged <= 0)).sum(axis=1).mean())
    found = pd.DataFrame(
        [
            _mean(cut * r, level, (min(low * most, 0.0), max(high * most, 0.0))),
            (*hajek(cut, r, level), np.nan, np.nan),
            # What the model expects lies in the span, and misses by its width at the most: if it does not, no bound.
            _mean(
                robust,
                level,
                (low - most * (high - low), high + most * (high - low))
                if expected.min() >= low and expected.max() <= high
                else (np.nan, np.nan),
            ),
        ],
        index=pd.Index(["IPS", "self-normalised", "doubly robust"], name="estimator"),
        columns=["value", "error", "low", "high", "sure_low", "sure_high"],
    )
    if uncovered > 0 or (cut < weights).any():
        # What is cut or never drawn is missing from the mean: if no reward is negative, a bound from below still holds.
        found.loc[:, "sure_high"] = np.nan
        found.loc["doubly robust" if low >= 0 else slice(None), "sure_low"] = np.nan
    others = decisions[~drawn].assign(earned=earned[~drawn]).groupby("reason")
    apart = others.agg(n=("earned", "size"), rewarded=("earned", "count"), value=("earned", "mean"))
    return OffPolicy(
        estimates=found,
        n=len(rows),
        effective=float(cut.sum() ** 2 / np.square(cut).sum()) if cut.any() else 0.0,
        largest=_top(cut),
        mean_weight=float(weights.mean()),
        uncovered=uncovered,
        clipped=int((weights > cut).sum()),
        apart=apart,
        without_reward=int((drawn & ~used).sum()),
    )


def latest(outcomes: pd.DataFrame, field: str) -> "pd.Series[float]":
    """Give what is known last of each request, by its id."""
    known = outcomes[["request_id", "ts", field]].dropna().sort_values("ts", kind="stable")
    return known.drop_duplicates("request_id", keep="last").set_index("request_id")[field].astype(np.float64)


def by_arm(
    decisions: pd.DataFrame, rewards: Floats, arms: list[str], *, features: pd.DataFrame | None = None, folds: int = 5
) -> Arms:
    """Fit the expected reward of each arm, by linear regression on the features, cross-fitted.

    Every decision is predicted from others alone: the folds are every ``folds``-th row. A ridge of one event draws an arm
    with few decisions to the mean of all.

    Parameters
    ----------
    decisions, rewards
        Rows and their rewards, shape (n,).
    arms
        The columns to give.
    features
        Numbers by decision (its index); missing ones count as the mean. None fits means.
    folds
        How many.
    """
    n = len(decisions)
    x = np.ones((n, 1))
    if features is not None:
        given = features.loc[decisions.index].to_numpy(dtype=np.float64)
        scale = np.nanstd(given, axis=0)
        centred = (given - np.nanmean(given, axis=0)) / np.where(scale > 0, scale, 1.0)
        x = np.hstack([x, np.nan_to_num(centred)])
    model, fold = decisions["model"].to_numpy(), np.arange(n) % folds
    found = np.zeros((n, len(arms)))
    for k in range(folds):
        train, test = fold != k, fold == k
        overall = rewards[train].mean() if train.any() else rewards.mean()
        for j, arm in enumerate(arms):
            mine = train & (model == arm)
            gram = x[mine].T @ x[mine] + np.eye(x.shape[1])
            found[test, j] = overall + x[test] @ np.linalg.solve(gram, x[mine].T @ (rewards[mine] - overall))
    if features is None:
        found = np.clip(found, rewards.min(), rewards.max())
    return pd.DataFrame(found, index=decisions.index, columns=arms)


def bernstein(values: Floats, span: tuple[float, float], level: float = 0.95) -> tuple[float, float]:
    """Bound the mean of independent values in ``span``, for any n and any distribution (Maurer and Pontil, 2009).

    |mean − E| ≤ √(2·V·ln(4/α)/n) + 7·(b − a)·ln(4/α)/(3·(n − 1)), with V the sample variance, α/2 on either side.

    Examples
    --------
    >>> [round(x, 4) for x in bernstein(np.zeros(1001), (0.0, 1.0))]
    [0.0, 0.0102]
    """
    n = len(values)
    if n < 2 or not np.isfinite(span).all():
        return np.nan, np.nan
    logarithm = float(np.log(4 / (1 - level)))
    width = float(np.sqrt(2 * values.var(ddof=1) * logarithm / n)) + 7 * (span[1] - span[0]) * logarithm / (3 * (n - 1))
    mean = float(values.mean())
    return max(mean - width, span[0]), min(mean + width, span[1])


def _mean(values: Floats, level: float, span: tuple[float, float]) -> tuple[float, ...]:
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
    return *_normal(float(values.mean()), error, level), *bernstein(values, span, level)


def hajek(weights: Floats, r: Floats, level: float = 0.95) -> tuple[float, float, float, float]:
    """Give Σwr/Σw, its standard error by linearisation, √(Σw²(r − v)²)/Σw, and the normal interval; NaN without weight.

    Examples
    --------
    >>> [round(x, 3) for x in hajek(np.array([1.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0]))[:2]]
    [0.75, 0.234]
    """
    total = float(weights.sum())
    if not total:
        return np.nan, np.nan, np.nan, np.nan
    value = float(weights @ r) / total
    error = float(np.sqrt(np.square(weights * (r - value)).sum())) / total
    return _normal(value, error, level)


def _normal(value: float, error: float, level: float) -> tuple[float, float, float, float]:
    width = float(ndtri((1 + level) / 2)) * error
    return value, error, value - width, value + width


def _top(weights: Floats) -> float:
    total = float(weights.sum())
    count = int(np.ceil(_LARGEST * len(weights)))
    return float(np.sort(weights)[-count:].sum()) / total if total else np.nan


def _probabilities(policy: Policy, rows: pd.DataFrame) -> Arms:
    """Give the policy's probabilities by decision, with a column for every arm that the log or the policy has."""
    arms = sorted(set(rows["model"]))
    if "propensities" in rows:
        arms = sorted({*arms, *(arm for each in rows["propensities"] for arm in each or {})})
    if callable(policy):
        policy = policy(rows)
    if isinstance(policy, pd.DataFrame):
        found = policy.loc[rows.index]
    else:
        shares = {policy: 1.0} if isinstance(policy, str) else dict(policy)
        if not set(shares) & set(arms):
            raise ValueError(f"the policy's arms {sorted(shares)} were never among those of the log: {arms}")
        found = pd.DataFrame(shares, index=rows.index)
    found = found.reindex(columns=sorted({*arms, *found.columns}), fill_value=0.0)
    each = found.to_numpy(dtype=np.float64)
    if not ((each >= 0).all() and np.allclose(each.sum(axis=1), 1.0, atol=1e-6)):
        raise ValueError("the policy's probabilities of a decision are not ≥ 0 with a sum of 1")
    return found


def _logged(rows: pd.DataFrame, arms: "pd.Index[str]") -> Floats | None:
    """Give the logged probabilities, shape (n, arms); None where a decision does not say them."""
    if "propensities" not in rows or not all(rows["propensities"].map(bool)):
        return None
    return np.array([[each.get(arm) or 0.0 for arm in arms] for each in rows["propensities"]], dtype=np.float64)
