"""The Result of a choice: its ranking dithered, and accepted or not, as the schedule says.

The rendezvous and the gateway's default come to it in the same way, and by draws that depend on the request's id alone.
"""

from typing import Any, Protocol

from birdwatch.records import Result
from birdwatch.serving.control.policy import unit
from birdwatch.serving.control.schedule import Dithering, Schedule
from birdwatch.serving.rendezvous.decision import Choice
from birdwatch.serving.rendezvous.dithering import dither

__all__ = ["Asked", "make_result"]


class Asked(Protocol):
    """What an answer repeats of its request."""

    @property
    def id(self) -> str: ...  # noqa: D102 - as in `birdwatch.records.Request`
    @property
    def ts(self) -> float: ...  # noqa: D102
    @property
    def received_ts(self) -> float: ...  # noqa: D102
    @property
    def reply_to(self) -> str: ...  # noqa: D102
    @property
    def override_by(self) -> str: ...  # noqa: D102


def make_result(asked: Asked, choice: Choice, schedule: Schedule, now: float) -> Result:
    """Give the answer as it travels.

    Parameters
    ----------
    now
        The wall clock; the Result's event time is as long after the request's as has passed on the wall.
    """
    latency = now - asked.received_ts
    result = Result(
        request_id=asked.id,
        request_ts=asked.ts,
        ts=asked.ts + latency,
        model=choice.model,
        version=choice.version,
        score=choice.score,
        output=choice.output,
        tier=choice.tier,
        reason=choice.reason,
        latency_seconds=latency,
        reply_to=asked.reply_to,
        propensity=choice.propensities.get(choice.model, 1.0),
        propensities=choice.propensities,
        drawn=choice.drawn,
        override_by=asked.override_by,
    )
    if schedule.dithering is not None:
        result.output = _dithered(choice.output, schedule.dithering, f"{schedule.salt}\x1f{asked.id}")
    rule = schedule.acceptance
    if rule is not None:
        result.model_accepts = rule.accepts_score(choice.score)
        result.acceptance_propensity = 1.0 if result.model_accepts else rule.rate
        result.accepted = unit(schedule.salt, "accept", asked.id) < result.acceptance_propensity
    return result


def _dithered(output: Any, rule: Dithering, seed: str) -> Any:
    """Reorder the ranking in an output; an output without one stays as it is."""
    if rule.field is None:
        return dither(output, rule.epsilon, seed) if isinstance(output, list) else output
    if not isinstance(output, dict) or not isinstance(output.get(rule.field), list):
        return output
    return {**output, rule.field: dither(output[rule.field], rule.epsilon, seed)}
