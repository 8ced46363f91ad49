"""A model as the runner sees it: a callable from a batch of features to one number each.

A batch that raises is tried again one by one, so that one poison request costs only its own score; what is not a finite
number is an error that says what came instead.
"""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from birdwatch.errors import ServingError
from birdwatch.serving.plugins import find_callable

__all__ = ["Answer", "Features", "Model", "Spec", "load_model", "score_batch"]

Features = dict[str, Any]
Model = Callable[[list[Features]], Sequence[Any]]


class Spec(NamedTuple):
    """What a runner loads under a version.

    Without ``artifact``, ``target`` names the function that scores; with one, ``target`` names a factory that is called
    with it and gives that function.
    """

    version: str
    target: str
    artifact: str | None = None


class Answer(NamedTuple):
    """What the model said to one request: a number, or None with the error."""

    score: float | None
    error: str | None = None


def load_model(spec: Spec) -> Model:
    """Load what a spec names.

    Raises
    ------
    ServingError
        It cannot be imported or made; the message names the target and the artifact.
    """
    target = find_callable(spec.target)
    if spec.artifact is None:
        return target
    try:
        model = target(spec.artifact)
    except Exception as error:
        raise ServingError(
            f"{spec.target}({spec.artifact!r}) gave no model: {type(error).__name__}: {error}"
        ) from error
    if not callable(model):
        raise ServingError(f"{spec.target}({spec.artifact!r}) gave {type(model).__name__}, not a callable")
    loaded: Model = model
    return loaded


def score_batch(model: Model, batch: list[Features]) -> list[Answer]:
    """Score a batch; what the model raises becomes the error of those requests that cause it.

    Examples
    --------
    >>> score_batch(lambda batch: [1 / row["x"] for row in batch], [{"x": 2}, {"x": 0}])
    [Answer(score=0.5, error=None), Answer(score=None, error='ZeroDivisionError: division by zero')]
    """
    try:
        return _checked(model, batch)
    except Exception as error:  # noqa: BLE001 - a model may raise anything
        if len(batch) == 1:
            return [Answer(None, f"{type(error).__name__}: {error}")]
    return [answer for row in batch for answer in score_batch(model, [row])]


def _checked(model: Model, batch: list[Features]) -> list[Answer]:
    values = list(model(batch))
    if len(values) != len(batch):
        raise ServingError(f"the model gave {len(values)} scores for {len(batch)} requests")
    return [_answer(value) for value in values]


def _answer(value: Any) -> Answer:
    if not isinstance(value, numbers.Real):  # numpy's numbers are registered as such
        return Answer(None, f"the model returned {value!r}, not a number")
    score = float(value)
    return Answer(score) if math.isfinite(score) else Answer(None, f"the model returned {score}")
