"""Loads an ONNX graph: one input of all features, or an input a feature; one of its outputs is the score."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from birdwatch.errors import ServingError
from birdwatch.serving.runner.loaders.columns import one_a_row, where_complete
from birdwatch.serving.runner.model import Features, Model

__all__ = ["load"]

_TYPES: Final[dict[str, Any]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


def load(
    artifact: str,
    *,
    features: Sequence[str] | None = None,
    output: str | None = None,
    positive: Any = None,
    threads: int = 1,
) -> Model:
    """Load a graph.

    Parameters
    ----------
    features
        Where there is one input for all of them, their order; else it stands in the graph's metadata under ``features``,
        as a JSON list. Inputs of one feature each are named after it.
    output
        Which one is the score; the last by default.
    positive
        Which column of it, from 0, or which key, where it gives a probability a class; the second of two by default.
    threads
        How many one call may use. With more than one, runners on the same machine wait for each other.

    Raises
    ------
    ServingError
        The graph cannot be read, or its inputs or outputs are not such.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ServingError(f"ONNX needs more than is installed ({error}): pip install 'birdwatch[onnx]'") from error
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4  # what goes wrong is raised, and told once
    try:
        session = onnxruntime.InferenceSession(artifact, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no root of their own
        raise ServingError(f"it cannot be read as an ONNX graph: {error}") from error
    inputs = session.get_inputs()
    for one in inputs:
        if one.type not in _TYPES:
            raise ServingError(f"input {one.name!r} is {one.type}, and can be {', '.join(_TYPES)}")
    outputs = [one.name for one in session.get_outputs()]
    if output is not None and output not in outputs:
        raise ServingError(f"option 'output': there is no {output!r} among {', '.join(outputs)}")
    names, feed = _feeding(inputs, features, session.get_modelmeta().custom_metadata_map.get("features"))
    wanted = [output or outputs[-1]]

    def score(batch: list[Features]) -> list[Any]:
        # A graph that was written down with one row refuses more, and is then asked row by row.
        return _values(session.run(wanted, feed(batch))[0], positive)

    return where_complete(names, score)


Feed = Callable[[list[Features]], dict[str, npt.NDArray[Any]]]


def _feeding(inputs: list[Any], features: Sequence[str] | None, metadata: str | None) -> tuple[list[str], Feed]:
    """Give the features that the graph needs, and what lays them out for it."""
    named = _listed(metadata) if features is None and metadata is not None else features
    first = inputs[0]
    width = first.shape[1] if len(first.shape) == 2 else 1
    if len(inputs) > 1 or (named is None and width == 1):
        names = [one.name for one in inputs]

        def feed_each(batch: list[Features]) -> dict[str, npt.NDArray[Any]]:
            return {one.name: _column(batch, one.name, one.type).reshape(_shape(one, len(batch))) for one in inputs}

        return names, feed_each
    if named is None:
        raise ServingError(
            f"input {first.name!r} takes {width} features at once: give their order with the option"
            ' {"features": [...]}, or as a JSON list in the metadata of the graph under "features"'
        )
    names = list(named)
    if isinstance(width, int) and width != len(names):
        raise ServingError(f"input {first.name!r} takes {width} features, and {len(names)} are named")

    def feed_all(batch: list[Features]) -> dict[str, npt.NDArray[Any]]:
        return {first.name: np.stack([_column(batch, name, first.type) for name in names], axis=1)}

    return names, feed_all


def _listed(metadata: str) -> list[str]:
    try:
        names = json.loads(metadata)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ServingError(
            f'the metadata of the graph has under "features" {metadata!r}, which is no JSON list of names'
        )
    return names


def _shape(one: Any, rows: int) -> tuple[int, ...]:
    return (rows,) if len(one.shape) == 1 else (rows, 1)


def _column(batch: list[Features], name: str, kind: str) -> npt.NDArray[Any]:
    """Give a feature's values as the graph wants them; null is NaN where there is one."""
    values = [row[name] for row in batch]
    numeric = kind != "tensor(string)"
    for value in values:
        # numpy would read a number out of a text, and write one into it.
        if isinstance(value, str) == numeric or isinstance(value, list | dict):
            raise ServingError(f"feature {name!r} is {value!r}, which does not go into {kind}")
        if value is None and "float" not in kind and "double" not in kind:
            raise ServingError(f"feature {name!r} is null, which does not go into {kind}")
        if isinstance(value, float) and kind in {"tensor(int32)", "tensor(int64)"} and not value.is_integer():
            raise ServingError(f"feature {name!r} is {value!r}, which does not go into {kind}")
    return np.array([math.nan if value is None else value for value in values], dtype=_TYPES[kind])


def _values(output: Any, positive: Any) -> list[Any]:
    if isinstance(output, list):  # ZipMap: the probability of each class under its label
        return [_under(row, positive) for row in output]
    return one_a_row(output, positive)


def _under(row: Any, positive: Any) -> Any:
    if not isinstance(row, dict):
        return row
    if positive is None and len(row) == 2:
        return list(row.values())[1]
    if positive not in row:
        raise ServingError(f"option 'positive' is {positive!r}, and the classes are {', '.join(map(repr, row))}")
    return row[positive]
