"""What the loaders share: rows of features become columns on the way in, and columns one number a row on the way out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from birdwatch.errors import ServingError
from birdwatch.serving.runner.model import Answer, Features, Model

__all__ = ["one_a_row", "where_complete"]


def where_complete(names: Sequence[str], score: Callable[[list[Features]], Sequence[Any]]) -> Model:
    """Give a model that scores only requests with all the features it needs; the others are told what they lack.

    Features that are there and null are handed on: what that means is the model's to know.

    Examples
    --------
    >>> model = where_complete(["x", "y"], lambda batch: [row["x"] + row["y"] for row in batch])
    >>> model([{"x": 1, "y": 2}, {"y": 2}])
    [3, Answer(score=None, error="the request has no feature 'x'", output=None)]
    """

    def model(batch: list[Features]) -> list[Any]:
        lacking = [[name for name in names if name not in row] for row in batch]
        complete = [row for row, lacks in zip(batch, lacking, strict=True) if not lacks]
        scores = list(score(complete)) if complete else []
        if len(scores) != len(complete):
            raise ServingError(f"the model gave {len(scores)} scores for {len(complete)} requests")
        scored = iter(scores)
        return [_lacks(lacks) if lacks else next(scored) for lacks in lacking]

    return model


def _lacks(names: list[str]) -> Answer:
    return Answer(None, f"the request has no feature {', '.join(map(repr, names))}")


def one_a_row(values: npt.ArrayLike, positive: Any = None) -> list[Any]:
    """Give one number a row of what a model put out.

    Parameters
    ----------
    values
        Of shape [n] or [n, 1]; or [n, k], of which one column is meant.
    positive
        Which; without it the second of two.

    Raises
    ------
    ServingError
        It is not said which, or there is no such column.

    Examples
    --------
    >>> one_a_row([[0.25, 0.75], [0.5, 0.5]])
    [0.75, 0.5]
    """
    table = np.asarray(values)
    if table.ndim > 2:
        raise ServingError(f"the model gives a tensor of shape {list(table.shape)}, not a number a row")
    if table.ndim < 2:
        return list(table.reshape(-1).tolist())
    width = table.shape[1]
    if positive is None and width > 2:
        raise ServingError(f"the model gives {width} numbers a row: say which with the option 'positive', from 0")
    column = width - 1 if positive is None else positive
    if not isinstance(column, int) or not 0 <= column < width:
        raise ServingError(f"option 'positive': there is no column {column!r} among {width}")
    return list(table[:, column].tolist())
