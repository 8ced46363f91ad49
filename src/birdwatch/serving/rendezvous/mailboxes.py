"""A mailbox for each open request: it fills with scores, gives one answer, and one decision that tells how it came about.

The first Result in the log is *the* answer, whoever wrote it: this process, one before it that was killed, or the gateway
when the deadline came. The Decision speaks of that one. Nothing here reads a clock or a stream:
`birdwatch.serving.rendezvous.rendezvous` brings the messages and the time.

All that belongs to a request lies in its *lane*, the partition of its number in each stream. Lanes come and go where
several instances share them; what is in one is known, and forgotten, as a whole.
"""

import heapq
import math
from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

import msgspec

from birdwatch.errors import RecordError
from birdwatch.records import Decision, Result, Score, Token, as_token, decode
from birdwatch.serving.control.fleet import Fleet
from birdwatch.serving.rendezvous.answer import make_result
from birdwatch.serving.rendezvous.decision import Wait, decide
from birdwatch.serving.rendezvous.mailbox import Envelope, Mailbox
from birdwatch.serving.rendezvous.turns import FIRST, Turns
from birdwatch.streams import Message, Partition, Positions

if TYPE_CHECKING:
    from birdwatch.serving.control.policy import Posteriors

__all__ = ["STREAMS_READ", "Fault", "Mailboxes"]

STREAMS_READ: Final = ("requests", "scores", "canary", "results", "metrics")
"""All that belongs to a request; by its key, in partitions of the same number."""


class _Decided(msgspec.Struct, gc=False):
    """What it needs of a Decision."""

    request_id: str


class Fault(NamedTuple):
    """A message that could not be read, and why."""

    message: Message
    reason: str


class _Closed:
    """What is remembered of a closed mailbox: since when, its lane, who scored, whether it was this rendezvous'."""

    __slots__ = ("lane", "mine", "models", "since")

    def __init__(self, since: float, lane: int, models: frozenset[str], *, mine: bool) -> None:
        self.since = since
        self.lane = lane
        self.models = models
        self.mine = mine


class _Early:
    """What came before its request."""

    __slots__ = ("decided", "first", "lane", "results", "scores", "since")

    def __init__(self, since: float, lane: int) -> None:
        self.since = since
        self.lane = lane
        self.first: Positions = {}
        self.scores: list[tuple[Score, Message]] = []
        self.results: list[tuple[Result, Message]] = []
        self.decided = False


class Mailboxes:
    """The mailboxes of all open requests, and the memory of those closed a while ago.

    Parameters
    ----------
    fleet
        The schedule in force and who is live; the caller applies control records to it.
    turns
        Which requests are for this rendezvous; the others' mailboxes are filled, and left to them.
    horizon_seconds
        How long a closed mailbox is remembered, so that what comes late or twice is known for what it is, and how long
        scores wait for their request.

    Attributes
    ----------
    counts
        (what, model) counted since the start. For each model, requests = scores + errors + missing - late_scores:
        what was missing may come after all.
    posteriors
        What Thompson sampling has learnt so far; the caller keeps it up to date.
    taken_over
        The tokens read after which the requests are this rendezvous'; the caller puts that on record.
    """

    def __init__(self, fleet: Fleet, turns: Turns | None = None, *, horizon_seconds: float = 60.0) -> None:
        self.fleet = fleet
        self.turns = turns or Turns(FIRST)
        self.posteriors: Posteriors = {}
        self.taken_over: list[tuple[Message, Token]] = []
        self.counts: Counter[tuple[str, str]] = Counter()
        self._horizon = horizon_seconds
        self._open: dict[str, Mailbox] = {}
        self._closed: dict[str, _Closed] = {}
        self._early: dict[str, _Early] = {}
        self._touched: dict[str, Mailbox] = {}
        self._due: list[tuple[float, str]] = []

    @property
    def open(self) -> int:
        """How many mailboxes are open."""
        return len(self._open)

    def oldest(self) -> float:
        """Give the wall time at which the oldest open request was read; infinity when none is open."""
        return next((box.since for box in self._open.values()), math.inf)

    def last_deadline(self) -> float:
        """Give the wall time by which all that is open will be closed; minus infinity when nothing is."""
        return max((box.deadline for box in self._open.values()), default=-math.inf)

    def due(self) -> float:
        """Give the wall time at which `settle` has something to do even if no message comes; infinity for never."""
        while self._due and self._due[0][1] not in self._open:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    @property
    def held_up(self) -> bool:
        """Whether something is due in a lane that was not to be settled."""
        return bool(self._touched)

    def unjoined(self) -> Positions:
        """Give where the first message lies, by partition, of what has come before its request.

        Who goes on from an earlier place than that of the request must read these again as well.
        """
        first: Positions = {}
        for early in self._early.values():
            for partition, offset in early.first.items():
                first[partition] = min(offset, first.get(partition, offset))
        return first

    def drop(self, lanes: Collection[int] | None = None) -> None:
        """Forget all that is known of some lanes, or of all: they are another instance's now, or are read again."""
        before = len(self._open)
        self._open = _without(self._open, lanes)
        self._touched = _without(self._touched, lanes)
        self._closed = _without(self._closed, lanes)
        self._early = _without(self._early, lanes)
        self.counts["moved_requests", ""] += before - len(self._open)

    def take(self, messages: Iterable[Message], now: float) -> list[Fault]:
        """Sort messages into the mailboxes, in whatever order they come; nothing is decided yet.

        Returns
        -------
        list of Fault
            Those that could not be read.
        """
        faults = []
        for message in messages:
            try:
                if message.stream == "requests":
                    self._take_from_requests(message, now)
                elif message.stream == "results":
                    self._take_result(decode(message.value, Result), now, message)
                elif message.stream == "metrics":
                    self._take_decided(decode(message.value, _Decided).request_id, now, message)
                else:
                    self._take_score(decode(message.value, Score), now, message)
            except RecordError as error:
                self.counts["dead_letters", ""] += 1
                faults.append(Fault(message, str(error)))
        return faults

    def _take_from_requests(self, message: Message, now: float) -> None:
        token = as_token(message.value)
        if token is None:
            mine = self.turns.mine(message.partition, message.offset)
            self._take_request(decode(message.value, Envelope), now, message.partition, mine=mine)
        elif self.turns.cut(message.partition, message.offset, token):
            self.taken_over.append((message, token))

    def _take_request(self, request: Envelope, now: float, lane: int, *, mine: bool) -> None:
        if request.id in self._open or request.id in self._closed:
            self.counts["duplicate_requests", ""] += 1
            return
        self.counts["requests" if mine else "requests_of_others", ""] += 1
        box = self._open[request.id] = self._touched[request.id] = Mailbox(request, now, lane, mine=mine)
        heapq.heappush(self._due, (box.deadline, request.id))
        early = self._early.pop(request.id, None)
        if early is not None:
            for result, message in early.results:
                self._take_result(result, now, message)
            for score, message in early.scores:
                self._take_score(score, now, message)
            if early.decided:
                self._close(box, now)

    def _take_result(self, result: Result, now: float, message: Message) -> None:
        box = self._open.get(result.request_id)
        if box is not None and box.answer is None:
            box.answer = result  # the first in the log; those after it change nothing
            self._touched[result.request_id] = box
        elif box is not None or result.request_id in self._closed:
            self.counts["superseded_results", result.model] += 1
        else:
            self._before_request(result.request_id, now, message).results.append((result, message))

    def _take_decided(self, request_id: str, now: float, message: Message) -> None:
        box = self._open.get(request_id)
        if box is not None:
            self._close(box, now)
        elif request_id not in self._closed:
            self._before_request(request_id, now, message).decided = True

    def _take_score(self, score: Score, now: float, message: Message) -> None:
        """Put a score into its mailbox: a model's first counts; the fleet admits no canary's to the choice."""
        self.fleet.hear(score.model, canary=message.stream == "canary")
        box = self._open.get(score.request_id)
        closed = self._closed.get(score.request_id)
        if box is None and closed is None:
            self._before_request(score.request_id, now, message).scores.append((score, message))
            return
        if score.model in (closed.models if closed is not None else box.scores if box is not None else ()):
            self.counts["duplicate_scores", score.model] += 1
            return
        holder = box or closed
        if holder is not None and holder.mine:
            self.counts["scores" if score.error is None else "errors", score.model] += 1
            self.counts["late_scores", score.model] += box is None
        if box is not None:
            box.scores[score.model] = score
            self._touched[score.request_id] = box
        elif closed is not None:
            closed.models |= {score.model}

    def _before_request(self, request_id: str, now: float, message: Message) -> _Early:
        early = self._early.get(request_id)
        if early is None:
            early = self._early[request_id] = _Early(now, message.partition)
        early.first.setdefault(Partition(message.stream, message.partition), message.offset)
        return early

    def settle(self, now: float, lanes: Collection[int] | None = None) -> tuple[list[Result], list[Decision]]:
        """Give the answers and the decisions that are due.

        A Decision waits until its Result has been read back from the log, and until every live model has scored or the
        deadline has passed, so that slower models are seen too.

        Parameters
        ----------
        lanes
            Those to settle; all unless given. What is due in the others waits.
        """
        while self._due and self._due[0][0] <= now:
            _, request_id = heapq.heappop(self._due)
            if request_id in self._open:
                self._touched[request_id] = self._open[request_id]
        results: list[Result] = []
        decisions: list[Decision] = []
        touched, self._touched = self._touched, {}
        for request_id, box in touched.items():
            if request_id not in self._open:
                continue
            if lanes is not None and box.lane not in lanes:
                self._touched[request_id] = box
                continue
            if not box.mine:
                if now >= box.deadline:
                    self._close(box, now)
                continue
            if box.answer is None and box.sent is None:
                results += self._answer(box, now)
            if box.answer is not None and (now >= box.deadline or self._complete(box)):
                decisions.append(self._decision(box, box.answer, now))
                self._close(box, now)
        results += self._not_read_back(now, lanes)
        self._forget(now)
        return results, decisions

    def _not_read_back(self, now: float, lanes: Collection[int] | None) -> list[Result]:
        """Give the oldest answer again if it has not come back: it lies in another lane, where partitions were added."""
        box = next(iter(self._open.values()), None)
        if box is None or box.sent is None or box.answer is not None or box.since >= now - self._horizon:
            return []
        if lanes is not None and box.lane not in lanes:
            return []
        box.since = now
        del self._open[box.id]
        self._open[box.id] = box  # they are in the order of time
        self.counts["unread_answers", box.sent.model] += 1
        return [box.sent]

    def _answer(self, box: Mailbox, now: float) -> list[Result]:
        choice = decide(box, self.fleet.schedule, now, self.fleet.admits, self.posteriors)
        if isinstance(choice, Wait):
            heapq.heappush(self._due, (choice.until, box.request.id))
            return []
        box.sent = make_result(box.request, choice, self.fleet.schedule, now)
        self.counts["answers", choice.model] += 1
        return [box.sent]

    def _complete(self, box: Mailbox) -> bool:
        return all(model in box.scores for model in self.fleet.live)

    def _decision(self, box: Mailbox, answer: Result, now: float) -> Decision:
        missing = [model for model in self.fleet.live if model not in box.scores]
        within_sla = answer.latency_seconds <= box.deadline_seconds
        self.counts["decisions", answer.model] += 1
        self.counts["sla_misses", answer.model] += not within_sla
        self.counts.update(("missing", model) for model in missing)
        return Decision(
            request_id=box.request.id,
            request_ts=box.request.ts,
            ts=box.request.ts + (now - box.received_ts),
            latency_seconds=answer.latency_seconds,
            deadline_seconds=box.deadline_seconds,
            model=answer.model,
            version=answer.version,
            tier=answer.tier,
            reason=answer.reason,
            within_sla=within_sla,
            propensity=answer.propensity,
            propensities=answer.propensities,
            scores={model: score.score for model, score in box.scores.items()},
            elapsed_seconds={model: score.elapsed_seconds for model, score in box.scores.items()},
            missing=missing,
            schedule=self.fleet.schedule.version,
            drawn=answer.drawn,
            override_by=answer.override_by,
            accepted=answer.accepted,
            model_accepts=answer.model_accepts,
            acceptance_propensity=answer.acceptance_propensity,
        )

    def _close(self, box: Mailbox, now: float) -> None:
        del self._open[box.request.id]
        self._closed[box.request.id] = _Closed(now, box.lane, frozenset(box.scores), mine=box.mine)

    def _forget(self, now: float) -> None:
        """Let go of what lies before the horizon; scores whose request never came are counted."""
        before = now - self._horizon
        # Both are in the order of time: the first to stay ends the search.
        while self._closed and self._closed[oldest := next(iter(self._closed))].since < before:
            del self._closed[oldest]
        while self._early and self._early[oldest := next(iter(self._early))].since < before:
            for score, _ in self._early.pop(oldest).scores:
                self.counts["unknown_scores", score.model] += 1


class _InLane(Protocol):
    lane: int


_Kept = TypeVar("_Kept", bound=_InLane)


def _without(kept: dict[str, _Kept], lanes: Collection[int] | None) -> dict[str, _Kept]:
    return {} if lanes is None else {name: each for name, each in kept.items() if each.lane not in lanes}
