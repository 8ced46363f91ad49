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

from birdwatch.deltas import PaneDelta
from birdwatch.errors import RecordError

__all__ = [
    "CONTROL_KEY",
    "LARGEST",
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
    "Snapshot",
    "Token",
    "as_token",
    "decode",
    "encode",
    "new_id",
]

Reason = Literal["first choice", "timed out", "explored", "override", "all failed", "default"]
Action = Literal[
    "register",
    "warm",
    "ramp",
    "hold",
    "champion",
    "schedule",
    "override",
    "rollback",
    "retire",
    "swap",
    "swapped",
]


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
    override, override_by
        The model that must answer, or none; and who says so: ``request``, or the name of a rule in the schedule.
    """

    id: str
    ts: float
    received_ts: float
    deadline_seconds: float
    features: dict[str, Any]
    reply_to: str = ""
    key: str = ""
    override: str | None = None
    override_by: str = ""
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
    """The answer to a request. The first Result in the log is *the* answer.

    The fields that `Decision` has too mean the same there.
    """

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
    propensity: float = 1.0
    propensities: dict[str, float] = {}
    drawn: str = ""
    override_by: str = ""
    accepted: bool | None = None
    model_accepts: bool | None = None
    acceptance_propensity: float | None = None


class Decision(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How the rendezvous came to its answer, and what the models it did not wait for said in the end.

    Attributes
    ----------
    latency_seconds
        From the gateway's receipt to the Result.
    tier
        Which tier of the schedule answered, from 0; -1 is the default.
    propensity, propensities
        The probability with which the chosen arm, and each arm, would have been chosen, among those that had not failed.
        An answer that is ``timed out`` or the ``default`` was brought about by time, which is not drawn.
    drawn
        The arm that the policy drew, where another one answered: by time, or by an override.
    override_by
        Who forced the model: ``request``, or the name of the schedule's rule.
    accepted, model_accepts, acceptance_propensity
        Where the schedule says what is accepted: whether this request is, whether the answering model would by itself,
        and the probability with which it is.
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
    drawn: str = ""
    override_by: str = ""
    accepted: bool | None = None
    model_accepts: bool | None = None
    acceptance_propensity: float | None = None


class Outcome(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The truth about a request, known later than the answer: a ``reward``, a ``label``, or both."""

    request_id: str
    request_ts: float
    ts: float
    reward: float | None = None
    label: float | None = None


class Control(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An operational change, so that it is ordered, kept and audited.

    ``params`` depends on the action:

    - ``register``: ``target``, ``artifact``, ``options`` (what the runner loads), ``role``;
    - ``warm``: the evidence that the version is fit to answer;
    - ``ramp``: ``percent`` of the keys that get this model, ``guard`` (``hold`` or ``rollback``, when an alert names it),
      ``anyway`` (though it is not warm, or held);
    - ``hold``: the ramp may not be raised;
    - ``schedule``: any field of a schedule; what is left out stays;
    - ``override``: ``name`` of the rule, ``when`` it holds (by feature), or ``clear``;
    - ``rollback``: ``to``, the version that serves instead;
    - ``swap``: ``component`` (``features`` or ``rendezvous``), ``token``, and what follows: ``to`` (the rendezvous' name),
      ``target`` and ``config`` (of the features);
    - ``swapped``: ``component``, ``token`` and ``at``, where it lies: the offset by partition of ``requests``.
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

    ``ts`` is the event time of the change, ``started`` that of the first window that showed it; ``value`` and
    ``tolerance`` are those of ``statistic``, and ``effect`` is by how much the one exceeds the other. ``since`` is when it
    most likely began, where the rule can tell. ``evidence`` is a natural logarithm, and ``cost`` how many false alarms were
    to be expected of this look, at the most: what it took of the budget; both of rules that gather evidence.
    ``attribution`` is the cause, and ``runbook`` what the rule says whoever is on call should do.
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
    feature: str = ""
    statistic: str = ""
    value: float | None = None
    tolerance: float | None = None
    n: int = 0
    effect: float = 0.0
    since: float | None = None
    evidence: float | None = None
    cost: float | None = None
    runbook: str = ""


class Token(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A cut through ``requests``: what lies before it is the old instance's, what lies after it the new one's.

    It travels among the requests, in every partition, and is read by `as_token`; who is not meant passes it by. ``by``
    is the gateway whose requests a swap of ``features`` cuts.
    """

    token: str
    component: Literal["features", "rendezvous"]
    to: str
    by: str = ""


class Snapshot(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The state of a component at a cut, from which a new instance starts.

    ``positions`` says how far the state had read: the next offset, by ``stream/partition``.
    """

    component: str
    by: str
    ts: float
    state: Any
    positions: dict[str, int] = {}
    token: str = ""


RECORDS: Final[dict[str, type[msgspec.Struct]]] = {
    "requests": Request,
    "scores": Score,
    "canary": Score,
    "results": Result,
    "metrics": Decision,
    "outcomes": Outcome,
    "control": Control,
    "alerts": Alert,
    "snapshots": Snapshot,
    "panes": PaneDelta,
}
"""The record that each stream carries."""

CONTROL_KEY: Final = b"control"
"""The key of all control records, so that they lie in one partition: what they add up to depends on their order."""

LARGEST: Final = 900_000
"""Bytes that a record may have: Kafka's brokers take a million by default, and one that is too large spoils its batch."""

STREAMS: Final = (*RECORDS, "deadletters")
"""All streams by name."""

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading somebody's JSON may raise; the last comes of objects nested a thousand deep."""

R = TypeVar("R", bound=msgspec.Struct)

_TOKEN: Final = b'{"token":'
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


def as_token(value: bytes) -> Token | None:
    """Give the token that lies among the requests in place of one, or None: mostly it is a request.

    Examples
    --------
    >>> as_token(b'{"token": "t1", "component": "rendezvous", "to": "second"}').to
    'second'
    >>> as_token(b'{"id": "r1", "features": {}}') is None
    True
    """
    if not value.startswith(_TOKEN):  # a look at nine bytes: this is asked of every request
        return None
    try:
        return decode(value, Token)
    except RecordError:
        return None


def new_id(now: float | None = None) -> str:
    """Draw a UUIDv7 (RFC 9562): 48 bits of milliseconds, so that ids sort by time, and 74 random bits."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    bits = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    bits = bits & ~(0xF << 76) | (0x7 << 76)
    bits = bits & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=bits))
