"""One open request and all that has come for it so far."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from birdwatch.records import Result, Score
    from birdwatch.serving.control.policy import Draw
    from birdwatch.serving.control.schedule import Tier

__all__ = ["Envelope", "Mailbox"]


class Envelope(msgspec.Struct, gc=False):
    """What the rendezvous needs of a Request: not its features."""

    id: str
    ts: float
    received_ts: float
    deadline_seconds: float
    reply_to: str = ""
    key: str = ""
    override: str | None = None
    override_by: str = ""


class Mailbox:
    """A request and all that has come for it so far.

    Attributes
    ----------
    since
        The wall time at which the request was read.
    lane
        The number of the partition in which it lies.
    sent
        What this rendezvous has answered.
    mine
        Whether it is for this rendezvous to answer, and not for another one before or after a swap's cut.
    """

    __slots__ = (
        "answer",
        "deadline_seconds",
        "draws",
        "id",
        "key",
        "lane",
        "mine",
        "override",
        "received_ts",
        "request",
        "scores",
        "sent",
        "since",
    )

    def __init__(self, request: Envelope, since: float, lane: int, *, mine: bool) -> None:
        self.request = request
        self.since = since
        self.lane = lane
        self.mine = mine
        self.id = request.id
        self.key = request.key or request.id
        self.received_ts = request.received_ts
        self.deadline_seconds = request.deadline_seconds
        self.override = request.override
        self.scores: dict[str, Score] = {}
        self.draws: dict[int, tuple[Tier, Draw]] = {}
        self.answer: Result | None = None
        self.sent: Result | None = None

    @property
    def deadline(self) -> float:
        """Wall time by which the client must have its answer."""
        return self.received_ts + self.deadline_seconds
