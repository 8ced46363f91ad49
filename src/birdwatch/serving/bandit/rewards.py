"""Which reward is for which model: decisions and outcomes joined by request, each pair once, in whatever order they come.

Only an answer that the draw brought about teaches something of its model: who answers because of time, an override or
the failure of all others was not drawn, and would be learned of with a bias.
"""

import heapq
import math
from collections import Counter
from typing import Final, NamedTuple

import msgspec

from birdwatch.records import Decision, Outcome

__all__ = ["Lesson", "Rewards"]

_DRAWN: Final = ("first choice", "explored")
_UNDRAWN: Final = ""

# How much longer than the label horizon is remembered: an outcome also takes a while from its own time to its reader,
# which in a replay that runs fast is a long time.
_DELIVERY: Final = 0.1
_DELIVERY_SECONDS: Final = 300.0


class Lesson(NamedTuple):
    """A reward to learn from: of which model, and the event time of its request."""

    model: str
    reward: float
    ts: float


class _Case(msgspec.Struct, gc=False):
    """What is known of one request: by whom it was answered, and with what reward."""

    ts: float
    model: str | None = None
    reward: float | None = None
    fresh: bool = False


class Rewards:
    """The decisions and outcomes that may still meet, and the memory of those that have.

    Both are kept until the label horizon, and a tenth of it for the delivery, has passed in event time, by the requests of
    the decisions; about 400 bytes a request. What is older than that is refused, since nobody knows any more whether it
    has been learned.

    Parameters
    ----------
    horizon_seconds
        How long after its request an outcome may be known.

    Attributes
    ----------
    counts
        (what, model) counted since the start, with the model left empty where none is known. Every decision and every
        outcome is counted once as such; once it is not waiting any more, also as what has become of it: ``rewards``
        are those learned.
    latest
        The event time of the latest request that was decided; minus infinity before the first.
    newest
        The same of all that waits, decided or not.
    floor
        The event time before which requests are refused.
    """

    def __init__(self, horizon_seconds: float) -> None:
        if not 0 < horizon_seconds < math.inf:
            raise ValueError(f"a label horizon is a positive number of seconds, not {horizon_seconds}")
        self.counts: Counter[tuple[str, str]] = Counter()
        self.latest = self.newest = self.floor = -math.inf
        self._horizon = horizon_seconds
        self._memory = horizon_seconds + max(_DELIVERY * horizon_seconds, _DELIVERY_SECONDS)
        self._cases: dict[str, _Case] = {}
        self._oldest: list[tuple[float, str]] = []

    @property
    def waiting(self) -> int:
        """How many decisions and outcomes wait for each other."""
        return sum(
            case.model is None or (case.model != _UNDRAWN and case.reward is None) for case in self._cases.values()
        )

    def take_decision(self, decision: Decision, *, fresh: bool = True) -> Lesson | None:
        """Take note of who answered.

        Parameters
        ----------
        fresh
            False when it has been taken before, by the process whose state this one goes on from: two that are both not
            fresh have been learned.

        Returns
        -------
        Lesson or None
            What is to be learned, if the reward was there already.
        """
        model = decision.model
        self._count("decisions", model, fresh=fresh)
        if decision.request_ts < self.floor:
            self._count("late_decisions", model, fresh=fresh)
            return None
        case = self._case(decision.request_id, decision.request_ts)
        if case.model is not None:
            self._count("duplicate_decisions", model, fresh=fresh)
            return None
        self.latest = max(self.latest, decision.request_ts)
        case.ts = decision.request_ts
        case.model = model if decision.reason in _DRAWN else _UNDRAWN
        if case.model == _UNDRAWN:
            self._count("undrawn_decisions", model, fresh=fresh)
        return self._learn(case, fresh=fresh)

    def take_outcome(self, outcome: Outcome, *, fresh: bool = True) -> Lesson | None:
        """Take note of a reward; as `take_decision`."""
        self._count("outcomes", fresh=fresh)
        if outcome.reward is None:
            self._count("outcomes_without_reward", fresh=fresh)
            return None
        if not 0 <= outcome.reward <= 1:
            self._count("refused_outcomes", fresh=fresh)
            return None
        if outcome.request_ts < self.floor or outcome.ts - outcome.request_ts > self._horizon:
            self._count("late_outcomes", fresh=fresh)
            return None
        case = self._case(outcome.request_id, outcome.request_ts)
        if case.reward is not None:
            self._count("duplicate_outcomes", fresh=fresh)
            return None
        case.reward = outcome.reward
        return self._learn(case, fresh=fresh)

    def forget(self) -> None:
        """Let go of what lies before the horizon, and count what has not met.

        Called when all there is has been read: before that, what is missing may only be behind in the log.
        """
        self.floor = max(self.floor, self.latest - self._memory)
        while self._oldest and self._oldest[0][0] < self.floor:
            _, request_id = heapq.heappop(self._oldest)
            case = self._cases.pop(request_id)
            if case.model is None:
                self._count("unmet_outcomes")
            elif case.model != _UNDRAWN and case.reward is None:
                self._count("unmet_decisions", case.model)

    def _case(self, request_id: str, ts: float) -> _Case:
        case = self._cases.get(request_id)
        if case is None:
            case = self._cases[request_id] = _Case(ts)
            self.newest = max(self.newest, ts)
            heapq.heappush(self._oldest, (ts, request_id))
        return case

    def _learn(self, case: _Case, *, fresh: bool) -> Lesson | None:
        case.fresh |= fresh
        if case.model is None or case.reward is None:
            return None
        if case.model == _UNDRAWN:
            self._count("undrawn_outcomes", fresh=case.fresh)
            return None
        self._count("rewards", case.model, fresh=case.fresh)
        return Lesson(case.model, case.reward, case.ts) if case.fresh else None

    def _count(self, what: str, model: str = "", *, fresh: bool = True) -> None:
        self.counts[what, model] += fresh
