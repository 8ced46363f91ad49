"""A model as the runner sees it: a callable from a batch of features to one number each.

A batch that raises is tried again one by one, so that one poison request costs only its own score; what is not a finite
number is an error that says what came instead.
"""

import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from birdwatch.errors import ServingError
from birdwatch.records import LARGEST, UNREADABLE, Score, encode
from birdwatch.serving.plugins import find_callable
from birdwatch.serving.runner.loaders import KINDS

__all__ = ["Answer", "Features", "Model", "Spec", "encode_score", "load_model", "score_batch"]

Features = dict[str, Any]
Model = Callable[[list[Features]], Sequence[Any]]

_LONGEST_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Spec:
    """What a runner loads under a version.

    Without ``artifact`` and ``options``, ``target`` names the function that scores; with them it names a factory, as
    ``module:function`` or one of `KINDS`, that is called with the artifact, and the options as keywords, and gives that
    function.
    """

    version: str
    target: str
    artifact: str | None = None
    options: dict[str, Any] = field(default_factory=dict, hash=False)


class Answer(NamedTuple):
    """What the model said to one request: a number, or None with the error; and what else it put out."""

    score: float | None
    error: str | None = None
    output: Any = None


def load_model(spec: Spec, *, allow_pickle: bool = False) -> Model:
    """Load what a spec names.

    Parameters
    ----------
    allow_pickle
        Whether pickles may be loaded: reading one runs whatever code is in it, so only the command line can say so.

    Raises
    ------
    ServingError
        It cannot be imported or made; the message names the target and the artifact.
    """
    name = KINDS.get(spec.target, spec.target)
    if ":" not in name:
        raise ServingError(f"{name!r} names no model: write module:function, or one of {', '.join(sorted(KINDS))}")
    if name == KINDS["pickle"] and not allow_pickle:
        raise ServingError(
            f"{spec.target}({spec.artifact!r}): reading a pickle runs whatever code is in it, so this runner takes none;"
            " save the model with skops, or start the runner with --allow-pickle"
        )
    factory = find_callable(name)
    if spec.artifact is None and name in KINDS.values():
        raise ServingError(f"target {spec.target!r} needs an artifact: say where the model is with --artifact")
    if spec.artifact is None and not spec.options:
        return factory
    return _make(factory, spec)


def _make(factory: Callable[..., Any], spec: Spec) -> Model:
    place = f"{spec.target}({spec.artifact!r})"
    given = [] if spec.artifact is None else [spec.artifact]
    refused = _misfit(factory, given, spec.options)
    if refused:
        raise ServingError(f"{place}: {refused}")
    try:
        model = factory(*given, **spec.options)
    except ServingError as error:
        raise ServingError(f"{place}: {error}") from error
    except Exception as error:
        raise ServingError(f"{place} gave no model: {type(error).__name__}: {error}") from error
    if not callable(model):
        raise ServingError(f"{place} gave {type(model).__name__}, not a callable")
    made: Model = model
    return made


def _misfit(factory: Callable[..., Any], given: list[str], options: dict[str, Any]) -> str | None:
    """Say why a factory cannot be called so, or None; the caller's mistakes are then told from the factory's own."""
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some that are written in C do not tell
        return None
    try:
        signature.bind(*given, **options)
    except TypeError as error:
        known = [name for name, what in signature.parameters.items() if what.kind == what.KEYWORD_ONLY]
        return f"{error}" + (f"; the options are {', '.join(sorted(known))}" if known else "")
    return None


_UNWANTED: Final = Answer(None, "nobody waited for it")


def _always() -> bool:
    return True


def score_batch(model: Model, batch: list[Features], wanted: Callable[[], bool] = _always) -> list[Answer]:
    """Score a batch; what the model raises becomes the error of those requests that cause it.

    For each row the model gives a number; or an object with ``score``, a number, and ``output``, any JSON; or an
    `Answer`, when it knows by itself what went wrong.

    Parameters
    ----------
    wanted
        Asked before a row is tried again by itself: the model need not go on when nobody waits for it.

    Examples
    --------
    >>> for answer in score_batch(lambda batch: [1 / row["x"] for row in batch], [{"x": 2}, {"x": 0}]):
    ...     print(answer.score, answer.error)
    0.5 None
    None ZeroDivisionError: division by zero
    >>> score_batch(lambda batch: [{"score": 0.5, "output": ["a", "b"]}], [{}])
    [Answer(score=0.5, error=None, output=['a', 'b'])]
    """
    try:
        return _checked(model, batch)
    except ServingError as error:
        if len(batch) == 1:
            return [_failed(str(error))]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a model may raise anything, and must not end its thread
        if len(batch) == 1:
            return [_failed(f"{type(error).__name__}: {error}")]
    return [answer for row in batch for answer in (score_batch(model, [row]) if wanted() else [_UNWANTED])]


def _checked(model: Model, batch: list[Features]) -> list[Answer]:
    values = list(model(batch))
    if len(values) != len(batch):
        raise ServingError(f"the model gave {len(values)} scores for {len(batch)} requests")
    return [_answer(value) for value in values]


def _answer(value: Any) -> Answer:
    if isinstance(value, Answer):
        return value
    output: Any = None
    if isinstance(value, dict):
        if "score" not in value:
            return _failed(f"the model returned an object without 'score': {value!r}")
        try:
            # As its readers will see it: and what they cannot read, they are not sent.
            output = msgspec.json.decode(msgspec.json.encode(value.get("output")))
        except (TypeError, ValueError, *UNREADABLE) as error:
            return _failed(f"the model's output cannot travel as JSON: {error}")
        value = value["score"]
    if not isinstance(value, numbers.Real):  # numpy's numbers are registered as such
        return _failed(f"the model returned {value!r}, not a number")
    score = float(value)
    return Answer(score, None, output) if math.isfinite(score) else _failed(f"the model returned {score}")


def _failed(error: str) -> Answer:
    """Say what went wrong in words that can travel, whatever they quote."""
    said = error.encode(errors="replace").decode()
    return Answer(None, said if len(said) <= _LONGEST_ERROR else f"{said[:_LONGEST_ERROR]}…")


def encode_score(score: Score) -> bytes:
    """Give a score as it travels; one with an output that is too large to do so is an error."""
    value = encode(score)
    if len(value) > LARGEST:
        score.output, score.score = None, None
        score.error = f"the model's output makes a record of {len(value)} bytes: {LARGEST} are allowed"
        value = encode(score)
    return value
