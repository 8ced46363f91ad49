"""The demo's models: four that say how likely a flight lands late, from its schedule and the weather.

An artifact is one skops file with the estimator and the categories that it knows. Skops builds only the types listed
here, so that reading a file never runs code that came with it.
"""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from scipy import special

from birdwatch.errors import ServingError

__all__ = ["BOOSTED", "MODELS", "Model", "categories", "load", "load_utc", "matrix", "save", "train"]

Model = Callable[[Sequence[dict[str, Any]]], list[float]]
"""What a runner calls: features in, the probability of landing late out, in the same order."""

MODELS: Final = ("champion", "challenger", "fallback", "canary")

BOOSTED: Final[dict[str, dict[str, Any]]] = {
    "champion": {"random_state": 1},
    "challenger": {"random_state": 2, "learning_rate": 0.08, "max_iter": 120},
    "canary": {"random_state": 1},
}
"""The models that are boosted trees, and what sets each apart."""

NEW_YORK: Final = ZoneInfo("America/New_York")

_CATEGORIES: Final = ("carrier", "origin", "dest")
_MEASURES: Final = ("distance", "wind_speed", "precip", "visib")
_TRUSTED: Final = [
    # Boosted trees carry their trees, and the check of their input as a partial of a function that is listed too.
    "functools.partial",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
]


def matrix(
    rows: Sequence[dict[str, Any]], known: dict[str, list[str]], zone: tzinfo = NEW_YORK
) -> npt.NDArray[np.float64]:
    """Turn features into numbers: minute of day, weekday, the categories' places in ``known``, the measures.

    ``zone`` is the clock on which the schedule is read. A category never seen in training, and a measure that is
    missing, are NaN.

    >>> flight = {"scheduled": "2013-05-14T12:30:00Z", "carrier": "UA", "origin": "EWR", "dest": "IAH",
    ...           "distance": 1400.0, "wind_speed": 9.0, "precip": 0.0, "visib": None}
    >>> matrix([flight], {"carrier": ["AA", "UA"], "origin": ["EWR"], "dest": []}).tolist()
    [[510.0, 1.0, 1.0, 0.0, nan, 1400.0, 9.0, 0.0, nan]]
    """
    places = [(name, {value: place for place, value in enumerate(known[name])}) for name in _CATEGORIES]
    table = []
    for row in rows:
        scheduled = datetime.fromisoformat(row["scheduled"]).astimezone(zone)
        numbers: list[float] = [scheduled.hour * 60 + scheduled.minute, scheduled.weekday()]
        numbers += [place.get(row[name], math.nan) for name, place in places]
        numbers += [math.nan if row[name] is None else row[name] for name in _MEASURES]
        table.append(numbers)
    return np.array(table, dtype=np.float64).reshape(len(table), 2 + len(_CATEGORIES) + len(_MEASURES))


def categories(rows: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Give the values that each category has in some flights, sorted."""
    return {name: sorted({row[name] for row in rows}) for name in _CATEGORIES}


def train(
    name: str, numbers: npt.NDArray[np.float64], known: dict[str, list[str]], late: npt.NDArray[np.float64]
) -> dict[str, Any]:
    """Fit one of `MODELS` to what `matrix` made of flights and whether they were late; give what `save` writes."""
    if name in BOOSTED:
        from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - takes seconds

        # Leaves of 500 flights: finer ones learn single days by heart, and models then disagree every day.
        estimator = HistGradientBoostingClassifier(
            min_samples_leaf=500, categorical_features=[2, 3, 4], **BOOSTED[name]
        )
        return {"known": known, "estimator": estimator.fit(numbers, late)}
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes seconds

    spread = np.nanstd(numbers[:, 5:], axis=0)
    usual = {"mean": np.nanmean(numbers[:, 5:], axis=0), "spread": np.where(spread > 0, spread, 1.0)}
    # Few columns and many rows: this solver needs a handful of steps.
    estimator = LogisticRegression(solver="newton-cholesky").fit(_design(numbers, known, usual), late)
    return {"known": known, "estimator": estimator, "usual": usual}


def _design(
    numbers: npt.NDArray[np.float64], known: dict[str, list[str]], usual: dict[str, npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    """Spread the numbers out for a linear model: powers of the hour, a column for each category, measures scaled."""
    hour = numbers[:, :1] / (24 * 60)
    measures = (numbers[:, 5:] - usual["mean"]) / usual["spread"]
    columns = [hour, hour**2, hour**3, np.nan_to_num(measures, nan=0.0)]
    for column, size in zip(range(1, 5), [7, *(len(known[name]) for name in _CATEGORIES)], strict=True):
        columns.append((numbers[:, column : column + 1] == np.arange(size)).astype(float))
    return np.hstack(columns)


def save(model: dict[str, Any], path: Path) -> None:
    """Write what `train` gave as a skops file."""
    from skops.io import dump  # noqa: PLC0415 - imports scikit-learn

    dump(model, path)


def load(path: str | Path, *, zone: tzinfo = NEW_YORK) -> Model:
    """Read an artifact; give the function that scores a batch.

    Raises
    ------
    ServingError
        The file cannot be read, or holds types that no model of ours is made of.
    """
    from skops.io import load as read  # noqa: PLC0415 - imports scikit-learn
    from skops.io.exceptions import UntrustedTypesFoundException  # noqa: PLC0415

    try:
        model: dict[str, Any] = read(path, trusted=_TRUSTED)
    except (OSError, BadZipFile, ValueError, KeyError, UntrustedTypesFoundException) as error:
        raise ServingError(f"{path} is not a model of the demo: {error}") from error
    return partial(_score, model, zone)


def load_utc(path: str | Path) -> Model:
    """Read an artifact for the challenger's second version: the same model, but its adapter forgets the time zone.

    This is the deployment that goes wrong in the demo. Nothing fails and the scores look like scores; only the
    schedule is read in UTC, so that every flight seems to leave four hours later than it does.
    """
    return load(path, zone=UTC)


def _score(model: dict[str, Any], zone: tzinfo, rows: Sequence[dict[str, Any]]) -> list[float]:
    numbers = matrix(rows, model["known"], zone)
    estimator = model["estimator"]
    scores: list[float]
    if "usual" in model:
        # Row by row, as a matrix product is not: that rounds differently with the size of the batch, and a request must
        # score the same whoever it travels with.
        design = _design(numbers, model["known"], model["usual"])
        scores = special.expit(np.einsum("ij,j->i", design, estimator.coef_[0]) + estimator.intercept_[0]).tolist()
    else:
        scores = estimator.predict_proba(numbers)[:, 1].tolist()
    return scores
