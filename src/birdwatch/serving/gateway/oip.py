"""The Open Inference Protocol (version 2, REST), as KServe, MLServer and Triton speak it: tensors to rows, answers to tensors.

Each input tensor is one feature; its first dimension counts the rows. A tensor of shape ``[n]`` or ``[n, 1]`` gives each
row a value, one of more dimensions gives each row nested lists. Tensors travel as JSON or, by the binary extension, as
bytes after the JSON: little-endian and row by row, BYTES with their length in four bytes before each.

Specification: https://github.com/kserve/open-inference-protocol, and Triton's `extension_binary_data.md` for the latter.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from birdwatch.records import UNREADABLE
from birdwatch.serving.gateway.ask import MOST_BYTES, Ask, RefusedError, Reply, check_ask, not_finite

__all__ = ["HEADER_LENGTH", "WHOLE", "Inference", "describe", "parse_inference", "respond"]

WHOLE: Final = "birdwatch"
"""The name of the rendezvous as a whole: the schedule chooses who answers."""

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""The HTTP header that says how much of a body is JSON; tensors follow as bytes."""

_TYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}
_BYTES: Final = "BYTES"
_OUTPUTS: Final = {
    "score": "FP64",
    "model": _BYTES,
    "version": _BYTES,
    "reason": _BYTES,
    "tier": "INT32",
    "output": _BYTES,
    "accepted": "BOOL",
}
_WHERE_THERE_IS_ONE: Final = ("output", "accepted")
_MOST_DIMENSIONS: Final = 16
_LENGTH_BYTES: Final = 4


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class _Wanted(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Parameters(msgspec.Struct):
    """Those that mean something here; others are for other servers."""

    ts: float | None = None
    key: str | None = None
    binary_data_output: bool = False


class _Body(msgspec.Struct):
    inputs: list[_Tensor]
    id: str = ""
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)
    outputs: list[_Wanted] = []


class Inference(NamedTuple):
    """What a client asks.

    Attributes
    ----------
    rows
        The features of each request.
    outputs
        By name, whether to send it as bytes; empty for all there are.
    binary
        Whether those are sent as bytes where it does not name them.
    """

    rows: list[dict[str, Any]]
    id: str
    ts: float | None
    key: str | None
    outputs: dict[str, bool]
    binary: bool

    def asks(self, base: str, override: str | None) -> list[Ask]:
        """Give the requests: under the id itself where there is one, else with their number after it."""
        alone = len(self.rows) == 1
        return [
            Ask(features=row, id=base if alone else f"{base}/{i}", ts=self.ts, key=self.key, override=override)
            for i, row in enumerate(self.rows)
        ]


_decoder: Final = msgspec.json.Decoder(_Body)


def parse_inference(body: bytes, header_length: str | None, *, most_rows: int, accepts: bool = True) -> Inference:
    """Read a body.

    Parameters
    ----------
    header_length
        The value of the header `HEADER_LENGTH`, where there is one.
    most_rows
        More are refused.
    accepts
        Whether the schedule says what is accepted, so that this may be asked for.

    Raises
    ------
    RefusedError
        400 for what is not JSON, or whose bytes do not add up, 413 for too much of it, 422 for tensors that cannot be.
    """
    if len(body) > MOST_BYTES:
        raise RefusedError(413, f"the body has more than {MOST_BYTES} bytes: send less")
    head, tail = _split(body, header_length)
    try:
        asked = _decoder.decode(head)
    except msgspec.ValidationError as error:
        raise RefusedError(422, not_finite(head) or str(error)) from error
    except UNREADABLE as error:
        raise RefusedError(400, not_finite(head) or f"the body is not JSON: {error}") from error
    check_ask(Ask(features={}, id=asked.id or None, ts=asked.parameters.ts))
    rows = _rows(asked.inputs, tail, most_rows)
    binary = asked.parameters.binary_data_output
    outputs = {each.name: _flag(each, binary) for each in asked.outputs}
    there = [name for name in _OUTPUTS if accepts or name != "accepted"]
    unknown = [name for name in outputs if name not in there]
    if unknown:
        raise RefusedError(422, f"outputs: there is no {unknown[0][:50]!r}: there are {', '.join(there)}")
    return Inference(rows, asked.id, asked.parameters.ts, asked.parameters.key, outputs, binary)


def _split(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    if header_length is None:
        return body, b""
    if not (header_length.isascii() and header_length.isdigit()) or int(header_length[:20]) > len(body):
        raise RefusedError(
            400, f"{HEADER_LENGTH}: {header_length[:20]!r} is no part of the {len(body)} bytes of the body"
        )
    return body[: int(header_length)], body[int(header_length) :]


def _flag(wanted: _Wanted, binary: bool) -> bool:
    if "classification" in wanted.parameters:
        raise RefusedError(422, f"outputs, {wanted.name!r}: classification is not offered")
    flag = wanted.parameters.get("binary_data", binary)
    if not isinstance(flag, bool):
        raise RefusedError(422, f"outputs, {wanted.name!r}: binary_data = {flag!r} is neither true nor false")
    return flag


def _rows(tensors: list[_Tensor], tail: bytes, most: int) -> list[dict[str, Any]]:
    if not tensors:
        raise RefusedError(422, "inputs: there is none: send one tensor a feature")
    n = tensors[0].shape[0] if tensors[0].shape else 0
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        place = f"inputs, {tensor.name!r}"
        _check_shape(tensor.shape, n, place, most)
        if tensor.name in columns:
            raise RefusedError(422, f"{place}: is there a second time")
        if tensor.datatype != _BYTES and tensor.datatype not in _TYPES:
            known = ", ".join([*_TYPES, _BYTES])
            raise RefusedError(422, f"{place}: datatype {tensor.datatype[:20]!r} is none of {known}")
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            values = _from_json(tensor, place)
        else:
            if (
                isinstance(size, bool)
                or not isinstance(size, int)
                or not 0 <= size <= len(tail)
                or tensor.data is not None
            ):
                raise RefusedError(
                    400, f"{place}: binary_data_size = {size!r} with {len(tail)} bytes left, and no data"
                )
            values, tail = _from_bytes(tensor, tail[:size], place), tail[size:]
        columns[tensor.name] = _by_row(values, tensor.shape)
    if tail:
        raise RefusedError(
            400, f"{len(tail)} bytes belong to no tensor: {HEADER_LENGTH} and binary_data_size do not add up"
        )
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _check_shape(shape: list[int], n: int, place: str, most: int) -> None:
    if not 0 < len(shape) <= _MOST_DIMENSIONS or min(shape) < 1:
        raise RefusedError(422, f"{place}: shape {shape[:20]} needs 1 to {_MOST_DIMENSIONS} dimensions of 1 or more")
    if shape[0] != n:
        raise RefusedError(422, f"{place}: has {shape[0]} rows, and the tensor before it {n}")
    if n > most:
        raise RefusedError(413, f"{place}: {n} rows are more than the {most} that may wait: send fewer at once")


def _by_row(values: list[Any], shape: list[int]) -> list[Any]:
    inner = shape[1:]
    if math.prod(inner) == 1 and len(inner) <= 1:
        return values
    for size in reversed(inner):
        values = [values[i : i + size] for i in range(0, len(values), size)]
    return values


def _from_json(tensor: _Tensor, place: str) -> list[Any]:
    if not isinstance(tensor.data, list):
        raise RefusedError(422, f"{place}: needs data, a list, or binary_data_size")
    flat = _flat(tensor.data, place)
    _check_count(flat, tensor, place)
    if tensor.datatype == _BYTES:
        _check_each(flat, lambda value: isinstance(value, str), "a text", place)
        return flat
    dtype = _TYPES[tensor.datatype]
    if dtype.kind == "b":
        _check_each(flat, lambda value: isinstance(value, bool), "true or false", place)
        return flat
    if dtype.kind in "iu":
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        said = f"an integer from {low} to {high}"
        _check_each(flat, lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high, said, place)
        return flat
    _check_each(flat, lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number", place)
    try:
        with np.errstate(over="ignore"):
            return _finite(np.array(flat, dtype=np.float64).astype(dtype), place)  # as if it had come in bytes
    except OverflowError as error:
        raise RefusedError(422, f"{place}: {error}") from error


def _flat(data: list[Any], place: str) -> list[Any]:
    for _ in range(_MOST_DIMENSIONS):
        if not any(isinstance(each, list) for each in data):
            return data
        if not all(isinstance(each, list) for each in data):
            raise RefusedError(422, f"{place}: data mixes lists and values")
        data = [value for each in data for value in each]
    raise RefusedError(422, f"{place}: data is nested too deeply")


def _check_each(flat: list[Any], fits: Any, said: str, place: str) -> None:
    for i, value in enumerate(flat):
        if not fits(value):
            raise RefusedError(422, f"{place}: data[{i}] is {str(value)[:50]!r}, not {said}")


def _check_count(values: Sequence[Any], tensor: _Tensor, place: str) -> None:
    wanted = math.prod(tensor.shape)
    if len(values) != wanted:
        raise RefusedError(422, f"{place}: has {len(values)} values, and shape {tensor.shape} {wanted}")


def _finite(array: np.ndarray[Any, np.dtype[Any]], place: str) -> list[Any]:
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise RefusedError(422, f"{place}: data[{bad[0]}] is {array[bad[0]]}: a number must be finite")
    values: list[Any] = array.tolist()
    return values


def _from_bytes(tensor: _Tensor, raw: bytes, place: str) -> list[Any]:
    if tensor.datatype == _BYTES:
        texts = _texts(raw, place)
        _check_count(texts, tensor, place)
        return texts
    dtype = _TYPES[tensor.datatype]
    if len(raw) != math.prod(tensor.shape) * dtype.itemsize:
        raise RefusedError(400, f"{place}: {len(raw)} bytes are no {tensor.datatype} of shape {tensor.shape}")
    array = np.frombuffer(raw, dtype)
    if dtype.kind == "f":
        return _finite(array, place)
    values: list[Any] = array.tolist()
    return values


def _texts(raw: bytes, place: str) -> list[str]:
    texts = []
    at = 0
    while at < len(raw):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(raw[at:start], "little")
        if start > len(raw) or at > len(raw):
            raise RefusedError(400, f"{place}: the lengths before its texts go beyond its {len(raw)} bytes")
        try:
            texts.append(raw[start:at].decode())
        except UnicodeDecodeError as error:
            raise RefusedError(422, f"{place}: text {len(texts)} is not UTF-8: {error}") from error
    return texts


def respond(
    asked: Inference, model: str, version: str, base: str, replies: Sequence[Reply]
) -> tuple[bytes, dict[str, str]]:
    """Give the body of the response, and the HTTP headers that belong to it.

    Parameters
    ----------
    model, version
        As the client named the model, and what of it answers.
    base
        The id, without a row's number.
    """
    there = [name for name in _OUTPUTS if name not in _WHERE_THERE_IS_ONE or _has(name, replies)]
    outputs: list[dict[str, Any]] = []
    tail = b""
    for name, as_bytes in (asked.outputs or dict.fromkeys(there, asked.binary)).items():
        values = [_value(name, reply) for reply in replies]
        tensor: dict[str, Any] = {"name": name, "datatype": _OUTPUTS[name], "shape": [len(values)]}
        if as_bytes:
            raw = _to_bytes(values, _OUTPUTS[name])
            tensor["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            tensor["data"] = values
        outputs.append(tensor)
    head = msgspec.json.encode({"model_name": model, "model_version": version, "id": base, "outputs": outputs})
    if not any("parameters" in tensor for tensor in outputs):
        return head, {"Content-Type": "application/json"}
    return head + tail, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def _has(name: str, replies: Sequence[Reply]) -> bool:
    if name == "output":
        return any(reply.output is not None for reply in replies)
    return all(reply.accepted is not msgspec.UNSET for reply in replies)


def _value(name: str, reply: Reply) -> Any:
    if name == "output":
        return msgspec.json.encode(reply.output).decode()
    if name == "accepted":
        return reply.accepted is not False  # an answer from before there was a rule
    return getattr(reply, name)


def _to_bytes(values: list[Any], datatype: str) -> bytes:
    if datatype == _BYTES:
        texts = [value.encode() for value in values]
        return b"".join(len(text).to_bytes(_LENGTH_BYTES, "little") + text for text in texts)
    return np.array([math.nan if value is None else value for value in values], _TYPES[datatype]).tobytes()


def describe(model: str, versions: Sequence[str]) -> dict[str, Any]:
    """Give a model's metadata. Which features it wants is the model's own matter, so no inputs are listed."""
    return {
        "name": model,
        "versions": list(versions),
        "platform": "birdwatch",
        "inputs": [],
        "outputs": [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in _OUTPUTS.items()],
    }
