"""Was anything lost? Every request against the scores of every model, hour by hour: missing, twice, or too late."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

__all__ = ["audit"]

_HOUR: Final = 3600.0
COUNTS: Final = ("requests", "scored", "failed", "missing", "pending", "late", "duplicates")


def audit(
    requests: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    serving: Mapping[str, tuple[float, float]] | None = None,
    control: pd.DataFrame | None = None,
    until: float | None = None,
    step_seconds: float = _HOUR,
) -> pd.DataFrame:
    """Account for each request by model and hour: requests = scored + failed + missing + pending.

    Parameters
    ----------
    requests
        Columns ``id, ts, deadline_seconds``.
    scores
        Columns ``request_id, ts, model, score``, of all models, canaries too.
    models
        Who must answer every request; by default whoever has a score.
    serving
        From when to when each did, in event time. By default from the first request that it answered to the end: a model
        that falls silent is missed.
    control
        Control records: columns ``ts, action, model, version, params``. From when a model was retired until it is registered
        again, it need not answer.
    until
        Up to when everything could be read; by default the latest time of any record. Requests whose deadline lies beyond
        are ``pending`` when they have no score.
    step_seconds
        The length of a step.

    Returns
    -------
    DataFrame
        ``time`` (UTC), ``model`` and, of the requests of that step: ``requests``, ``scored`` and ``failed`` (by the first
        score: a number, or an error), ``missing``, ``pending``; ``late`` (scored or failed, but after the deadline) and
        ``duplicates`` (scores beyond the first). ``attrs["strangers"]`` counts scores of requests that are not there.

    Examples
    --------
    >>> requests = pd.DataFrame({"id": ["a", "b", "c"], "ts": [0.0, 1.0, 2.0], "deadline_seconds": 1.0})
    >>> scores = pd.DataFrame({"request_id": ["a", "a", "c"], "ts": [0.1, 0.2, 9.0], "model": "m", "score": 0.5})
    >>> audit(requests, scores)[["requests", "scored", "missing", "late", "duplicates"]].to_numpy().tolist()
    [[3, 2, 1, 1, 1]]
    """
    asked = requests.drop_duplicates("id")
    latest = max((float(t["ts"].max()) for t in (asked, scores) if len(t)), default=0.0)
    end = latest if until is None else until
    known = scores[scores["request_id"].isin(asked["id"])].sort_values("ts", kind="stable")
    names = list(models) if models is not None else sorted(set(scores["model"]))
    away = {} if control is None else _away(control)
    found = [
        _account(asked, known[known["model"] == name], name, (serving or {}).get(name), away.get(name, ()), end)
        for name in names
    ]
    rows = pd.concat(found) if found else pd.DataFrame(columns=["ts", "model", *COUNTS])
    step = np.floor(rows["ts"].astype(float) / step_seconds) * step_seconds
    table = rows.assign(time=pd.to_datetime(step, unit="s", utc=True)).groupby(["time", "model"], as_index=False)
    result = table[list(COUNTS)].sum()
    result.attrs["strangers"] = len(scores) - len(known)
    return result


def _away(control: pd.DataFrame) -> dict[str, list[tuple[float, float]]]:
    """Give the stretches of event time in which each model was retired, as its runner understands control."""
    found: dict[str, list[tuple[float, float]]] = {}
    versions: dict[str, list[str]] = {}
    columns = (control[name] for name in ("ts", "action", "model", "version", "params"))
    for ts, action, model, version, params in zip(*columns, strict=True):
        stretches, known = found.setdefault(model, []), versions.setdefault(model, [])
        if action == "register":
            known[:] = [*(one for one in known if one != version), version]
            if stretches and stretches[-1][1] == np.inf:
                stretches[-1] = (stretches[-1][0], ts)
        elif action == "rollback":
            kept = [one for one in known if one != version]
            known[:] = [*kept, params["to"]] if "to" in params else kept
        elif action == "retire" and version in {"", *(known[-1:] or [version])}:
            stretches.append((ts, np.inf))
    return found


def _account(
    asked: pd.DataFrame,
    scores: pd.DataFrame,
    name: str,
    served: tuple[float, float] | None,
    away: Sequence[tuple[float, float]],
    end: float,
) -> pd.DataFrame:
    """Give one row for each request that a model had to answer, with a 1 under what became of it."""
    first = scores.drop_duplicates("request_id").set_index("request_id")
    times: Any = scores.groupby("request_id").size()
    if served is None:
        answered = asked[asked["id"].isin(first.index)]["ts"]
        served = (float(answered.min()) if len(answered) else -np.inf, np.inf)
    rows = asked[asked["ts"].between(*served, inclusive="left")]
    for since, until in away:
        rows = rows[~rows["ts"].between(since, until, inclusive="left") | rows["id"].isin(first.index)]
    came = rows["id"].isin(first.index).to_numpy()
    mine = first.reindex(rows["id"])
    number = pd.to_numeric(mine["score"], errors="coerce").notna().to_numpy()
    due = (rows["ts"] + rows["deadline_seconds"]).to_numpy()
    return pd.DataFrame(
        {
            "ts": rows["ts"].to_numpy(),
            "model": name,
            "requests": 1,
            "scored": (came & number).astype(int),
            "failed": (came & ~number).astype(int),
            "missing": (~came & (due <= end)).astype(int),
            "pending": (~came & (due > end)).astype(int),
            "late": (came & (mine["ts"].to_numpy() > due)).astype(int),
            "duplicates": times.reindex(rows["id"]).fillna(1).to_numpy(dtype=int) - 1,
        }
    )
