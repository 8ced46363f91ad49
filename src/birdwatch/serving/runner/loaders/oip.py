"""Asks a model that is served elsewhere by the Open Inference Protocol (V2): MLServer, Triton, KServe, another gateway.

A batch travels as one request, one tensor a feature, over a connection that is kept. What goes wrong on the way is the
error of the scores that it costs; nothing is asked twice, but on a connection that had been closed while it was idle.
"""

import itertools
import weakref
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
import numpy as np

from birdwatch.errors import ServingError
from birdwatch.records import UNREADABLE
from birdwatch.serving.runner.loaders.columns import one_a_row, where_complete
from birdwatch.serving.runner.model import Answer, Features, Model

__all__ = ["load"]

_SPLIT: Final = frozenset({400, 413, 422, 500})
"""What one row can bring upon its whole batch; anything else says nothing of the rows."""

_SHOWN: Final = 200


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[Any]


class _Response(msgspec.Struct):
    outputs: list[_Output]


class _EndpointError(Exception):
    """The endpoint did not answer, or not with scores, whatever the rows."""


def load(
    artifact: str,
    *,
    features: Sequence[str] | None = None,
    datatypes: dict[str, str] | None = None,
    output: str | None = None,
    positive: int | None = None,
    timeout_seconds: float = 5.0,
) -> Model:
    """Give the model behind an address; it need not be up yet.

    Parameters
    ----------
    artifact
        As in ``http://host:8080/v2/models/NAME`` or ``.../NAME/versions/VERSION``.
    features
        Which to send; without it all that the request has.
    datatypes
        The protocol's type by feature, where it is not the one of the values at hand: whole numbers are INT64, other
        numbers FP64, texts BYTES, truth values BOOL.
    output
        The tensor that is the score, where there are several.
    positive
        Its column, from 0, where it has several; the second of two by default.
    timeout_seconds
        How long to wait for the connection, and for each piece of the answer.

    Raises
    ------
    ServingError
        The address is none.
    """
    url = artifact.rstrip("/").removesuffix("/infer")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "/models/" not in parts.path:
        raise ServingError("it is no address of a model: write http://HOST:PORT/v2/models/NAME")
    endpoint = _Endpoint(f"{url}/infer", datatypes or {}, output, positive, timeout_seconds)
    if features is not None:
        return where_complete(features, lambda batch: endpoint.score(list(features), batch))
    return endpoint.score_whole


class _Endpoint:
    def __init__(
        self, url: str, datatypes: dict[str, str], output: str | None, positive: int | None, timeout_seconds: float
    ) -> None:
        self._url = url
        self._datatypes = datatypes
        self._output = output
        self._positive = positive
        self._timeout_seconds = timeout_seconds
        self._client = httpx.Client(timeout=timeout_seconds)
        # Versions come and go in a runner: with the last reference to this one, its connections are closed.
        weakref.finalize(self, self._client.close).atexit = False

    def score_whole(self, batch: list[Features]) -> list[Any]:
        """Score rows by all that each has: those with the same features travel together."""
        scores: dict[int, Any] = {}
        for names, group in itertools.groupby(sorted(enumerate(batch), key=_names), _names):
            places, rows = zip(*group, strict=True)
            scores |= zip(places, self.score(list(names), list(rows)), strict=True)
        return [scores[place] for place in range(len(batch))]

    def score(self, names: list[str], batch: list[Features]) -> list[Any]:
        if not names:
            return [Answer(None, "the request has no features")] * len(batch)
        tensors = [self._tensor(name, [row[name] for row in batch]) for name in names]
        try:
            response = self._ask(msgspec.json.encode({"inputs": tensors}))
            return self._read(response, len(batch))
        except _EndpointError as error:
            return [Answer(None, str(error))] * len(batch)

    def _tensor(self, name: str, values: list[Any]) -> dict[str, Any]:
        for value in values:
            if not isinstance(value, bool | int | float | str):
                shown = "null" if value is None else type(value).__name__
                raise ServingError(
                    f"feature {name!r} is {shown}, which no tensor can carry; name in the option"
                    " 'features' those to send"
                )
        datatype = self._datatypes.get(name) or _datatype(values)
        if datatype.startswith(("FP", "BF")) and all(isinstance(value, int) for value in values):
            values = [float(value) for value in values]
        return {"name": name, "shape": [len(values), 1], "datatype": datatype, "data": values}

    def _ask(self, body: bytes) -> httpx.Response:
        try:
            response = self._post(body)
        except httpx.TimeoutException as error:
            raise _EndpointError(f"{self._url} did not answer within {self._timeout_seconds:g} s") from error
        except httpx.HTTPError as error:
            raise _EndpointError(f"{self._url} cannot be reached: {error or type(error).__name__}") from error
        if response.is_success:
            return response
        said = f"{self._url} answered {response.status_code} {response.reason_phrase}: {response.text[:_SHOWN]}"
        if response.status_code in _SPLIT:
            raise ServingError(said)  # then each row is asked by itself
        raise _EndpointError(said)

    def _post(self, body: bytes) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        try:
            return self._client.post(self._url, content=body, headers=headers)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # The other side had closed the connection that was kept: once more, on a new one.
            return self._client.post(self._url, content=body, headers=headers)

    def _read(self, response: httpx.Response, rows: int) -> list[Any]:
        try:
            outputs = msgspec.json.decode(response.content, type=_Response).outputs
        except UNREADABLE as error:
            raise _EndpointError(f"{self._url} gave what cannot be read: {error}") from error
        found = [one for one in outputs if self._output is None or one.name == self._output]
        if len(found) != 1:
            names = ", ".join(one.name for one in outputs) or "none"
            raise _EndpointError(f"{self._url} gave the outputs {names}: name one of them with the option 'output'")
        try:
            table = np.array(found[0].data).reshape(found[0].shape)
        except ValueError as error:
            raise _EndpointError(f"{self._url} gave an output that is not of its shape: {error}") from error
        scores = one_a_row(table, self._positive)
        if len(scores) != rows:
            raise _EndpointError(f"{self._url} gave {len(scores)} scores for {rows} requests")
        return scores


def _names(pair: tuple[int, Features]) -> list[str]:
    return sorted(pair[1])


def _datatype(values: list[Any]) -> str:
    """Give the narrowest of the protocol's types that holds all values."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64"
    if kinds <= {int, float}:
        return "FP64"
    if kinds == {str}:
        return "BYTES"
    raise ServingError(
        f"values of different kinds do not go into one tensor: {', '.join(sorted(k.__name__ for k in kinds))}"
    )
