"""Rules on traffic: more requests than are expected at this hour, or fewer."""

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import Field, field_validator

from birdwatch.detect.duration import Duration, say_duration
from birdwatch.detect.kind import Case, Rule, State
from birdwatch.detect.reference import MIN_BLOCKS, Reference, ReferenceChoice
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.detect.window import by_model, once
from birdwatch.stats.silence import LAG_HOURS, count_surprise, fit_traffic
from birdwatch.windows.pane import Counts, Pane, Series, counters

__all__ = ["Expected", "TrafficRule", "expected_requests", "requests_of", "scored_by"]

_HOUR: Final = 3_600
_DAY: Final = 24 * _HOUR
_WEEK: Final = 7 * _DAY

_BEFORE: Final = (*LAG_HOURS, 25, 26)
"""Hours: with those before the same hour yesterday, the last ones tell how today differs, whatever the hour."""

_ENOUGH: Final = 8
"""So many windows are needed for each weight that is fitted."""


class Expected(NamedTuple):
    """How many requests are expected in a window, from ``least`` to ``most``, and with what excess of variance.

    Between what is fitted and what came at the same hour yesterday or a week ago, nothing is out of order: no fit is so
    good, least of all on the days after a change.
    """

    least: float
    most: float
    excess: float
    basis: str

    def __str__(self) -> str:
        """Say it in a sentence."""
        ends = [f"{end:,.0f}" if end >= 10 else f"{end:.2g}" for end in (self.least, self.most)]
        return f"{' to '.join(dict.fromkeys(ends))} were expected (from {self.basis})"


def requests_of(pane: Mapping[Series, Counts]) -> int:
    """Count the requests; over streams without them, the model that scored most stands for how many there were."""
    return counters(pane.get(Series("counts")))["requests"] or once(pane, "most scored", _most_scored)


def scored_by(pane: Mapping[Series, Counts], model: str) -> int:
    """Count the scores of a model, of all its versions."""
    its = by_model(pane).get(model, {})
    return sum(counters(counts)["events"] for series, counts in its.items() if series.measure == "counts")


def _most_scored(pane: Mapping[Series, Counts]) -> int:
    return max((scored_by(pane, model) for model in by_model(pane) if model), default=0)


def expected_requests(reference: Reference, start: int, known: Mapping[int, float] | None = None) -> Expected | int:
    """Tell how many requests a window should have, from the windows before it.

    From one, two and 24 to 26 hours ago, and a week where the reference is long enough; from the same hour of the day
    where it is shorter, or was over long before.

    Parameters
    ----------
    start
        When the window begins.
    known
        Requests by the starts of windows: of those since the reference, and what to put in place of some in it.

    Returns
    -------
    Expected, or the number of blocks where they are too few
    """
    later = dict(known or {})
    counts = {block.start: float(requests_of(block.pane)) for block in reference.blocks} | later
    window = reference.block_seconds
    if reference.blocks and all(at in later for at in range(reference.until, start, window)):
        # A window in which nothing came has no block.
        series = [counts.get(at, 0.0) for at in range(reference.blocks[0].start, start, window)]
        lags = sorted({max(1, hours * _HOUR // window) for hours in _BEFORE})
        for chosen in (sorted({*lags, max(1, _WEEK // window)}), lags):
            if len(series) - chosen[-1] >= _ENOUGH * (len(chosen) + 1):
                ago = ", ".join(say_duration(lag * window) for lag in chosen)
                traffic = fit_traffic(series, chosen)
                near = [float(traffic.expect([series[-lag] for lag in chosen]))]
                near += [series[-lag] for lag in chosen if lag * window in (_DAY, _WEEK)]
                return Expected(min(near), max(near), traffic.excess, f"{ago} before")
    alike = [count for at, count in counts.items() if (at - start) % _DAY == 0]
    if len(alike) < MIN_BLOCKS:
        return len(alike)
    traffic = fit_traffic(alike, [])
    usual = float(traffic.expect([]))
    return Expected(usual, usual, traffic.excess, f"{len(alike)} days at this hour")


class TrafficRule(Rule):
    """Requests far from what is expected for this hour: surprising enough for the page budget, and by a factor.

    The surprise of a window is -ln of the probability of a count as far off, and alarms where it reaches ln A: so it is
    false in one window of A, as far as counts vary as they used to. A window that alarmed is replaced by what was
    expected of it when later ones are told from it, or an outage would make the return to normal look like a flood. What
    goes on for a day, or comes again at the same hour of the next day or week, is taken for normal.
    """

    spends: ClassVar[bool] = True

    kind: Literal["traffic"] = Field(default="traffic", description="Requests, against those expected at this hour.")
    window: Duration = Field(default=_HOUR, description="How much event time is judged at once: `15m`, `1h`.")
    min_events: Annotated[int, Field(ge=1)] = Field(
        default=20, description="Where fewer requests than these came, and were expected, it is no data."
    )
    factor: Annotated[float, Field(gt=1)] = Field(
        default=2.0, description="How many times what is expected it must be, or what part of it."
    )
    reference: ReferenceChoice = Field(
        default=ReferenceChoice(trailing=14 * _DAY),
        description="`{trailing: 14d}`, from which it knows the hours of the day; from two weeks on those of the week.",
    )

    @field_validator("reference")
    @classmethod
    def _finds_the_hours_itself(cls, value: ReferenceChoice) -> ReferenceChoice:
        if value.by:
            raise ValueError("traffic finds the hours by itself: leave out `by`")
        return value

    @property
    def stream(self) -> str:
        """Requests, or what models scored of them."""
        return "requests"

    @property
    def compares_with(self) -> ReferenceChoice:
        """The reference."""
        return self.reference

    def subjects(self, pane: Pane, known: Collection[Subject]) -> list[Subject]:
        """Name the fleet, also where nothing came."""
        del pane, known
        return [Subject()]

    def needs(self, subject: Subject) -> tuple[str, ...]:
        """Name the measures that it reads of its reference."""
        del subject
        return ("counts",)

    def judge(self, case: Case, state: State, threshold: float) -> tuple[Verdict, State]:
        """Compare how many requests came with how many were expected."""
        count = requests_of(case.pane)
        known = {int(at): float(used) for at, _, used in state.get("windows", [])}
        found = expected_requests(case.reference, case.start, known) if case.reference else 0
        measured: dict[str, Any] = {"statistic": "requests", "value": float(count), "n": count}
        if isinstance(found, int):
            reason = f"{found} of {MIN_BLOCKS} days are known at this hour: too few to expect anything"
            return self.say(case, "no data", reason, **measured), self._remember(case, state, count)
        expected = min(max(float(count), found.least), found.most)
        reason = f"{count:,} requests, where {found}"
        if max(count, found.most) < self.min_events:
            reason += f": too few to tell, under {self.min_events}"
            return self.say(case, "no data", reason, **measured), self._remember(case, state, count)
        surprise = float(count_surprise(count, expected, found.excess)) if count != expected else 0.0
        most = expected * self.factor if count > expected else expected / self.factor
        effect = max(0.0, count - most if count > expected else most - count)
        drifting = effect > 0 and (surprise >= threshold or "since" in state)
        if drifting:
            reason += f": {'more' if count > expected else 'fewer'} than by a factor of {self.factor:g}"
        elif effect > 0:
            reason += ", which chance may bring about"
        verdict = self.say(
            case,
            "drifting" if drifting else "ok",
            reason,
            tolerance=most,
            effect=effect,
            evidence=surprise,
            threshold=threshold,
            alarmed=drifting and "since" not in state,
            details={"least": found.least, "most": found.most, "excess": found.excess},
            **measured,
        )
        return verdict, self._remember(case, state, count, expected if drifting else None)

    def _remember(self, case: Case, state: State, count: int, expected: float | None = None) -> State:
        """Keep what came in windows since the reference, and what to put in place of those that alarmed."""
        since = None if expected is None else int(state.get("since", case.start))
        used = float(count) if expected is None else expected
        windows: list[tuple[int, float, float]] = [*map(tuple, state.get("windows", [])), (case.start, count, used)]
        normal_since = math.inf if since is None or case.end - since < _DAY else since
        again = {
            at
            for at, came, put in windows
            if at in (case.start - _DAY, case.start - _WEEK) and (came - put) * (count - used) > 0
        }
        again |= {case.start} if again else set()
        windows = [(at, came, came if at >= normal_since or at in again else put) for at, came, put in windows]
        recent = max(case.reference.until if case.reference else 0, case.end - _DAY)
        oldest = case.start - (self.reference.trailing or _WEEK)
        kept = [one for one in windows if one[0] >= recent or (one[1] != one[2] and one[0] >= oldest)]
        after: State = {"windows": [list(one) for one in kept]}
        return after if since is None else {**after, "since": since}
