"""How good would have been what was rejected? From the few that were accepted all the same.

The truth comes only of what is accepted. What the model would have rejected is accepted with a known probability where the
schedule draws some of it, so those drawn stand for all, each for 1/probability of them (Horvitz and Thompson, 1952; the
ratio of Hájek, 1971). Where somebody overrode the choice of the model, they had their reasons: what came of those is told
beside, and is no estimate for the rest.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from birdwatch.evaluate.off_policy import Floats, hajek, latest

__all__ = ["Rejected", "reject_inference"]


class Rejected(NamedTuple):
    """What is known of the requests that the model rejects.

    Attributes
    ----------
    bands
        By band of the score, lowest first, and for ``all``: ``band, rejected``, ``drawn`` (accepted at random), ``labelled``
        (of these), ``rate`` (of the outcome among all rejected), ``error, low, high`` (normal interval), ``effective``
        (sample size). Rates are NaN where nothing is labelled.
    accepted_rate
        That of what the model accepts, for comparison, over ``accepted_labelled`` requests.
    never
        Rejected requests that could not be accepted: the rates say nothing of them.
    overrides
        ``n, labelled, rate`` of rejected requests on which the choice of the model was overridden: chosen, not drawn.
    """

    bands: pd.DataFrame
    accepted_rate: float
    accepted_labelled: int
    never: int
    overrides: dict[str, float]


def reject_inference(
    decisions: pd.DataFrame, outcomes: pd.DataFrame, *, field: str = "label", bands: int = 3, level: float = 0.95
) -> Rejected:
    """Estimate the outcome of rejected requests.

    Labels of drawn requests that are missing are taken to be missing at random within the drawn; ``drawn`` and ``labelled``
    say how many are.

    Parameters
    ----------
    decisions
        Columns ``request_id, model, scores, reason, accepted, model_accepts, acceptance_propensity``.
    outcomes
        Columns ``request_id, ts`` and that of ``field``; the latest counts.
    field
        What is asked about: ``label`` or ``reward``.
    bands
        Into how many parts of equal size the rejected are cut, by the answering model's score.
    level
        Of the intervals.

    Raises
    ------
    ValueError
        No decision says whether the model accepts: the schedule has no rule of acceptance.
    """
    rows = decisions.drop_duplicates("request_id")
    rows = rows[rows["model_accepts"].notna()].reset_index(drop=True)
    if rows.empty:
        raise ValueError(
            f"none of {len(decisions):,} decisions says whether the model accepts: give the schedule an `acceptance`"
        )
    known = latest(outcomes, field).reindex(rows["request_id"]).to_numpy()
    score = [(each or {}).get(model) for each, model in zip(rows["scores"], rows["model"], strict=True)]
    p = pd.to_numeric(rows["acceptance_propensity"]).fillna(0.0).to_numpy(dtype=np.float64)
    rows = rows.assign(known=known, score=pd.Series(score, index=rows.index, dtype=np.float64), p=p)
    accepts, accepted = (rows[name].astype(bool) for name in ("model_accepts", "accepted"))
    forced = rows["reason"] == "override"
    by_choice = rows[accepts & ~forced]["known"].dropna()
    rejected = rows[~accepts & ~forced].assign(drawn=accepted)
    overridden = rows[~accepts & forced & accepted]
    possible = rejected[rejected["p"] > 0]
    scores = possible["score"].to_numpy(dtype=np.float64)
    place = (
        np.searchsorted(np.nanquantile(scores, np.linspace(0, 1, bands + 1)[1:-1]), scores) if scores.size else scores
    )
    found = [_told(part, level) for _, part in possible.groupby(place)]
    return Rejected(
        bands=pd.DataFrame([*found, {**_told(possible, level), "band": "all"}]),
        accepted_rate=float(by_choice.mean()),
        accepted_labelled=len(by_choice),
        never=len(rejected) - len(possible),
        overrides={
            "n": len(overridden),
            "labelled": int(overridden["known"].notna().sum()),
            "rate": float(overridden["known"].mean()),
        },
    )


def _told(part: pd.DataFrame, level: float) -> dict[str, object]:
    drawn = part[part["drawn"]]
    used = drawn[drawn["known"].notna()]
    weights: Floats = 1 / used["p"].to_numpy(dtype=np.float64)
    rate, error, low, high = hajek(weights, used["known"].to_numpy(dtype=np.float64), level)
    return {
        "band": f"{part['score'].min():.3g} to {part['score'].max():.3g}",
        "rejected": len(part),
        "drawn": len(drawn),
        "labelled": len(used),
        "rate": rate,
        "error": error,
        "low": low,
        "high": high,
        "effective": float(weights.sum() ** 2 / np.square(weights).sum()) if len(used) else 0.0,
    }
