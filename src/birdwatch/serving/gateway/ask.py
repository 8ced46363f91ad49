"""What a client may ask, read from the body of a request or refused in words that name the field; and what it gets."""

import json
import math
from typing import Any, Final

import msgspec

from birdwatch.records import LARGEST, Result

__all__ = ["MOST_BYTES", "Ask", "RefusedError", "Reply", "check_ask", "not_finite", "parse_ask", "reply_to"]

MOST_BYTES: Final = LARGEST
"""Larger bodies are refused."""

_MOST_ID: Final = 128
_FIRST_TS: Final = -62_135_596_800.0  # the years 1 to 9999: panes and archives need a date
_LAST_TS: Final = 253_402_300_799.0


class Ask(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/score``.

    Attributes
    ----------
    features
        What the models should see; the gateway's plug-in adds to it.
    id
        Ask again with the same one to get the same answer; drawn when it is left out.
    ts
        Event time in Unix seconds; now when it is left out.
    key
        What stays with one arm during a ramp; the id when it is left out.
    override
        The model that must answer.
    """

    features: dict[str, Any]
    id: str | None = None
    ts: float | None = None
    key: str | None = None
    override: str | None = None


class Reply(msgspec.Struct, kw_only=True):
    """What a client gets: the answer, and how it came about."""

    id: str
    score: float | None
    model: str
    version: str
    tier: int
    reason: str
    latency_seconds: float
    within_sla: bool
    output: Any = None
    accepted: bool | msgspec.UnsetType = msgspec.UNSET


def reply_to(result: Result, latency: float, deadline: float) -> Reply:
    """Give a client the answer.

    Parameters
    ----------
    latency, deadline
        Seconds from the receipt: until now, and until the answer had to be there.
    """
    return Reply(
        id=result.request_id,
        score=result.score,
        model=result.model,
        version=result.version,
        tier=result.tier,
        reason=result.reason,
        latency_seconds=latency,
        within_sla=latency <= deadline,
        output=result.output,
        accepted=msgspec.UNSET if result.accepted is None else result.accepted,
    )


class RefusedError(Exception):
    """A request that is not taken, with the HTTP status and the reason for the client."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


_decoder: Final = msgspec.json.Decoder(Ask)


def parse_ask(body: bytes) -> Ask:
    """Read a body.

    Raises
    ------
    RefusedError
        400 for what is not JSON, 413 for too much of it, 422 for JSON that is not an `Ask`.
    """
    if len(body) > MOST_BYTES:
        raise RefusedError(413, f"the body has more than {MOST_BYTES} bytes: send less")
    try:
        ask = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise RefusedError(422, not_finite(body) or str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, not_finite(body) or f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise RefusedError(422, "features: nested too deeply") from error
    check_ask(ask)
    return ask


def check_ask(ask: Ask) -> None:
    """Refuse values that no field may have.

    Raises
    ------
    RefusedError
        422.
    """
    if ask.id is not None and not 0 < len(ask.id) <= _MOST_ID:
        raise RefusedError(422, f"id: has {len(ask.id)} characters, 1 to {_MOST_ID} are allowed")
    if ask.ts is not None and not _FIRST_TS <= ask.ts <= _LAST_TS:
        raise RefusedError(422, f"ts: {ask.ts} is no time in Unix seconds between the years 1 and 9999")
    if ask.override == "":
        raise RefusedError(422, "override: names no model; leave it out, or send null")


def not_finite(body: bytes) -> str | None:
    """Name the first number that JSON has no word for, where that is what is wrong: Python's own reader lets it pass."""
    try:
        found = _first_not_finite(json.loads(body), "")
    except (ValueError, RecursionError):
        return None
    return None if found is None else f"{found}: a number must be finite; send null for what is not known"


def _first_not_finite(value: Any, path: str) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} = {value}"
    children: list[tuple[Any, str]] = []
    if isinstance(value, dict):
        children = [(child, f"{path}.{name}" if path else str(name)) for name, child in value.items()]
    elif isinstance(value, list):
        children = [(child, f"{path}[{i}]") for i, child in enumerate(value)]
    return next((found for child, where in children if (found := _first_not_finite(child, where))), None)
