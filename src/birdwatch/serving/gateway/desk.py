"""The gateway's memory: which requests are open, and what was answered a while ago.

It is filled from the log, so that a client that lost its connection, or its gateway, asks again with the same id and gets
the answer already given, or joins the wait for it: never a second request.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from birdwatch.errors import RecordError, StreamError
from birdwatch.records import Result, as_token, decode
from birdwatch.streams import Message

__all__ = ["Desk", "Pending"]

_MOST: Final = 400_000


class Pending(msgspec.Struct, gc=False):
    """An open request: what of it an answer needs.

    ``answer`` is set when the first Result has come, or when the request could not be put on its stream.
    """

    id: str
    ts: float
    received_ts: float
    deadline_seconds: float
    reply_to: str = ""
    override_by: str = ""
    answer: asyncio.Future[Result | StreamError] | None = None
    default: Result | None = None


class Desk:
    """Open and answered requests; used by one event loop.

    Parameters
    ----------
    horizon_seconds
        How long an answer is remembered.
    most
        How many are, at most.

    Attributes
    ----------
    contradicted
        How many answers were given without the log, in which another one then came first.
    """

    def __init__(self, *, horizon_seconds: float = 300.0, most: int = _MOST) -> None:
        self._horizon = horizon_seconds
        self._most = most
        self._open: dict[str, tuple[float, Pending]] = {}
        self._answered: dict[str, tuple[float, Result]] = {}
        self._unconfirmed: dict[str, tuple[float, Result]] = {}
        self.contradicted = 0

    def answered(self, request_id: str) -> Result | None:
        """Give the answer in the log, if it is there."""
        found = self._answered.get(request_id)
        return None if found is None else found[1]

    def pending(self, request_id: str) -> Pending | None:
        """Give the open request, if it is one."""
        found = self._open.get(request_id)
        return None if found is None else found[1]

    def add(self, pending: Pending, now: float) -> None:
        """Take note of a request that is being put on its stream."""
        self._open[pending.id] = (now, pending)

    def fail(self, request_id: str, error: StreamError) -> None:
        """Tell those who wait that a request could not be put on its stream; it may then be asked again."""
        found = self._open.pop(request_id, None)
        if found is not None:
            _resolve(found[1], error)

    def answer(self, pending: Pending, result: Result, now: float) -> None:
        """Take note of an answer that is given although the log has none: who waits or asks again gets the same one."""
        self._answered[pending.id] = self._unconfirmed[pending.id] = (now, result)
        self._open.pop(pending.id, None)
        _resolve(pending, result)

    def take(self, messages: Iterable[Message], now: float) -> int:
        """Take note of what lies on the streams ``requests`` and ``results``; the first Result of a request counts.

        Returns
        -------
        int
            How many could not be read: their readers elsewhere make dead letters of them.
        """
        unreadable = 0
        for message in messages:
            try:
                if message.stream == "results":
                    self._take_result(decode(message.value, Result), now)
                else:
                    self._take_request(message, now)
            except (RecordError, UnicodeDecodeError):  # the latter: of the key
                unreadable += 1
        self._forget(now)
        return unreadable

    def _take_request(self, message: Message, now: float) -> None:
        known = message.key.decode()  # most are this gateway's own: the key tells without decoding
        if known not in self._open and known not in self._answered and as_token(message.value) is None:
            logged = decode(message.value, _Logged)
            self._open[logged.id] = (
                now,
                Pending(
                    logged.id,
                    logged.ts,
                    logged.received_ts,
                    logged.deadline_seconds,
                    logged.reply_to,
                    logged.override_by,
                ),
            )

    def _take_result(self, result: Result, now: float) -> None:
        given = self._unconfirmed.pop(result.request_id, None)
        if given is not None:
            self.contradicted += (given[1].model, given[1].score) != (result.model, result.score)
        if result.request_id not in self._answered:
            self._answered[result.request_id] = (now, result)
            found = self._open.pop(result.request_id, None)
            if found is not None:
                _resolve(found[1], result)

    def _forget(self, now: float) -> None:
        before = now - self._horizon
        # All are in the order of time: the first to stay ends the search.
        for kept in (self._answered, self._open, self._unconfirmed):
            while kept and (len(kept) > self._most or kept[next(iter(kept))][0] < before):
                del kept[next(iter(kept))]


class _Logged(msgspec.Struct, gc=False):
    """What the desk needs of a Request."""

    id: str
    ts: float
    received_ts: float
    deadline_seconds: float
    reply_to: str = ""
    override_by: str = ""


def _resolve(pending: Pending, answer: Result | StreamError) -> None:
    if pending.answer is not None and not pending.answer.done():
        pending.answer.set_result(answer)
