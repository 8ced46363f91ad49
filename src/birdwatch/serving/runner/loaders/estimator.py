"""A fitted scikit-learn estimator as a model: a classifier gives a probability, anything else its prediction."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from birdwatch.errors import ServingError
from birdwatch.serving.runner.loaders.columns import one_a_row, where_complete
from birdwatch.serving.runner.model import Features, Model

__all__ = ["as_model"]


def as_model(estimator: Any, features: Sequence[str] | None = None, positive: Any = None) -> Model:
    """Give the model that asks an estimator.

    Parameters
    ----------
    estimator
        Anything with ``predict``; its ``predict_proba`` is asked where it has one.
    features
        Which feature goes into which column, in order; without it those that it was fitted on. An estimator that was
        fitted on a DataFrame is given one, with the same columns.
    positive
        The class whose probability is the score; without it the second of two, as in 0 and 1.

    Raises
    ------
    ServingError
        It does not know the names of its features, or the class is not one of its own.
    """
    if not hasattr(estimator, "predict"):
        raise ServingError(f"it holds {type(estimator).__name__}, which predicts nothing")
    fitted = getattr(estimator, "feature_names_in_", None)
    columns = None if fitted is None else [str(name) for name in fitted]
    names = columns if features is None else list(features)
    if names is None:
        raise ServingError(
            'the estimator was fitted on columns without names: give their order with the option {"features": [...]}'
        )
    width = getattr(estimator, "n_features_in_", len(names))
    if width != len(names):
        raise ServingError(f"the estimator takes {width} features, and the option 'features' names {len(names)}")
    ask, column = _question(estimator, positive)

    def score(batch: list[Features]) -> list[Any]:
        # A null is the NaN that the estimator knows from training, or refuses.
        table = {name: [math.nan if row[name] is None else row[name] for row in batch] for name in names}
        return one_a_row(ask(_laid_out(table, columns)), column)

    return where_complete(names, score)


def _laid_out(table: dict[str, list[Any]], columns: list[str] | None) -> pd.DataFrame | npt.NDArray[Any]:
    if columns is not None:
        return pd.DataFrame(dict(zip(columns, table.values(), strict=True)))
    return np.array(list(table.values()), dtype=np.float64).T


def _question(estimator: Any, positive: Any) -> tuple[Any, int | None]:
    """Give what to ask, and which column of the answer counts."""
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict, None
    classes: list[Any] = list(np.asarray(estimator.classes_).tolist())
    if positive is None and len(classes) == 2:
        return estimator.predict_proba, 1
    if positive not in classes:
        raise ServingError(f"option 'positive' is {positive!r}, and the classes are {', '.join(map(repr, classes))}")
    return estimator.predict_proba, classes.index(positive)
