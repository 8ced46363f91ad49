"""What travels on the streams: one typed record a message, as a JSON object in UTF-8.

Times are Unix seconds, durations are seconds and end in ``_seconds``. ``ts`` is event time: in a replay it is the
recorded time, while deadlines always count on the wall clock from ``received_ts``. Unknown fields are ignored, so that
a writer may know more than its readers; a missing or mistyped one raises `RecordError`, which names it.
"""

import os
import time
import uuid
from typing import Any, Final, Literal, TypeVar

import msgspec

from birdwatch.errors import RecordError

__all__ = [
    "RECORDS",
    "STREAMS",
    "UNREADABLE",
    "Alert",
    "Control",
    "Decision",
    "Outcome",
    "Request",
    "Result",
    "Score",
    "decode",
    "encode",
    "new_id",
]

Reason = Literal["first choice", "timed out", "explored", "override", "all failed", "default"]
Action = Literal["register", "champion", "schedule", "rollback", "retire"]


class Request(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One question to all models: exactly what each of them sees.

    Attributes
    ----------
    id
        UUIDv7; a client that lost its connection asks again with the same one.
    ts
        Event time.
    received_ts
        The gateway's wall clock at receipt; the deadline counts from here.
    deadline_seconds
        The service-level objective of this request.
    reply_to
        Where the answer goes: the gateway that holds the connection.
    key
        What stays with one arm during a ramp (a user, say); the id when there is none.
    features
        What the models see, injected state included.
    override
        The model that must answer, or none.
    """

    id: str
    ts: float
    received_ts: float
    deadline_seconds: float
    features: dict[str, Any]
    reply_to: str = ""
    key: str = ""
    override: str | None = None
    provenance: dict[str, Any] = {}


class Score(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What one model said to one request: ``score`` is a number, or null with the ``error`` that explains it.

    ``elapsed_seconds`` is the time inside the model, ``queue_seconds`` the wait before it (both null where nobody
    measured, as in a backfill); ``output`` is whatever else the model gives.
    """

    request_id: str
    request_ts: float
    ts: float
    model: str
    version: str
    score: float | None
    error: str | None = None
    output: Any = None
    queue_seconds: float | None = None
    elapsed_seconds: float | None = None
    provenance: dict[str, Any] = {}


class Result(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The answer to a request. The first Result in the log is *the* answer."""

    request_id: str
    request_ts: float
    ts: float
    model: str
    version: str
    score: float | None
    output: Any = None
    tier: int = 0
    reason: Reason = "first choice"
    latency_seconds: float = 0.0
    reply_to: str = ""


class Decision(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the rendezvous came to its answer, and what the models it did not wait for said in the end.

    Attributes
    ----------
    latency_seconds
        From the gateway's receipt to the Result.
    tier
        Which tier of the schedule answered, from 0; -1 is the default.
    propensity, propensities
        The probability with which the chosen arm, and each arm, would have been chosen.
    scores, elapsed_seconds
        By model, of all that came before the mailbox closed; ``missing`` names the rest.
    schedule
        The version of the schedule in force.
    """

    request_id: str
    request_ts: float
    ts: float
    latency_seconds: float
    deadline_seconds: float
    model: str
    version: str
    tier: int
    reason: Reason
    within_sla: bool
    propensity: float = 1.0
    propensities: dict[str, float] = {}
    scores: dict[str, float | None] = {}
    elapsed_seconds: dict[str, float | None] = {}
    missing: list[str] = []
    schedule: str = ""


class Outcome(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The truth about a request, known later than the answer: a ``reward``, a ``label``, or both."""

    request_id: str
    request_ts: float
    ts: float
    reward: float | None = None
    label: float | None = None


class Control(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An operational change, so that it is ordered, kept and audited.

    ``params`` depends on the action: ``register`` takes ``target`` (what the runner loads), ``schedule`` takes
    ``tiers`` and ``default``; ``rollback`` retires ``version`` and names in ``to`` the version that serves instead.
    """

    ts: float
    action: Action
    author: str
    reason: str
    model: str = ""
    version: str = ""
    params: dict[str, Any] = {}


class Alert(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A change in what an operator should know: an alert that fires, or one that is over.

    ``ts`` is the event time of the change, ``started`` that of the first evidence; ``value`` and ``tolerance`` are
    those of ``statistic``.
    """

    fingerprint: str
    ts: float
    started: float
    state: Literal["firing", "resolved"]
    rule: str
    severity: Literal["page", "ticket", "info"]
    attribution: str
    model: str
    version: str
    reason: str
    partner: str = ""
    statistic: str = ""
    value: float | None = None
    tolerance: float | None = None
    n: int = 0


RECORDS: Final[dict[str, type[msgspec.Struct]]] = {
    "requests": Request,
    "scores": Score,
    "canary": Score,
    "results": Result,
    "metrics": Decision,
    "outcomes": Outcome,
    "control": Control,
    "alerts": Alert,
}
"""The record that each stream carries."""

STREAMS: Final = (*RECORDS, "deadletters")
"""All streams by name."""

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading somebody's JSON may raise; the last comes of objects nested a thousand deep."""

R = TypeVar("R", bound=msgspec.Struct)

_encoder = msgspec.json.Encoder()
_decoders: dict[type[msgspec.Struct], msgspec.json.Decoder[Any]] = {}


def encode(record: msgspec.Struct) -> bytes:
    """Give a record as the JSON that travels (NaN becomes null: JSON has no word for it)."""
    return _encoder.encode(record)


def decode(value: bytes, kind: type[R]) -> R:
    """Read a record.

    Raises
    ------
    RecordError
        The bytes are not JSON, or nested beyond reading, or a field is missing or of the wrong type; the message names
        which.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        record: R = decoder.decode(value)
    except UNREADABLE as error:
        raise RecordError(f"not a {kind.__name__}: {error}") from error
    return record


def new_id(now: float | None = None) -> str:
    """Draw a UUIDv7 (RFC 9562): 48 bits of milliseconds, so that ids sort by time, and 74 random bits."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    bits = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0xF << 76) | (0x7 << 76)
    bits = bits & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=bits))
