"""The demo with something to earn: a bandit chooses who answers, and only flights that the answer accepts are booked.

The traveller may take the train. It is worth `TRAIN`, a flight 1 if it lands in time and nothing otherwise; so a flight
is worth booking when it is late with a probability below 1 - `TRAIN`. What becomes of a flight is learned by who is on it:
of those that the model rejects, some are booked all the same, by lot.
"""

from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from birdwatch.demo import story
from birdwatch.demo.feeder import Answer, Landing
from birdwatch.demo.flights import Question
from birdwatch.records import Outcome

__all__ = ["TRAIN", "earned", "schedule", "worth"]

TRAIN: Final = 0.7
"""What the train is worth, on the scale from 0 (late) to 1 (in time)."""

_BY_LOT: Final = 0.2
_FAR_MILES: Final = 2000
_THRESHOLD: Final = round(1 - TRAIN, 4)
_GIVEN_UP_SECONDS: Final = 86_400.0


def schedule(base_rate: float) -> dict[str, Any]:
    """Give the rendezvous schedule: three models by Thompson sampling, far flights to the champion, and acceptance."""
    return {
        **story.schedule(base_rate),
        "tiers": [{"models": [story.CHAMPION, story.CHALLENGER, "fallback"], "policy": {"kind": "thompson"}}],
        "overrides": [{"name": "far", "when": {"distance": {"at_least": _FAR_MILES}}, "model": story.CHAMPION}],
        "acceptance": {"threshold": _THRESHOLD, "accepts": "below", "rate": _BY_LOT},
    }


def earned(question: Question, answer: Answer | None, landing: Landing | None) -> Outcome | None:
    """Give the reward of a question, and the truth about its flight if somebody was on it.

    The train is known at once, a flight when it lands; one that never does is given up after a day, and earns nothing.
    """
    if answer is None:
        return None
    outcome = partial(Outcome, request_id=question.id, request_ts=question.ts)
    if not answer.accepted:
        return outcome(ts=question.ts, reward=TRAIN)
    if landing is None:
        return outcome(ts=question.ts + _GIVEN_UP_SECONDS, reward=0.0)
    return outcome(ts=landing.arrived, reward=1.0 - landing.late, label=landing.late)


def worth(scores: ArrayLike, in_time: ArrayLike) -> NDArray[np.float64]:
    """Give what each flight earns if its answer is this score: expected, since the lot decides of those that are rejected.

    It takes the truth about flights that nobody was on: it is what estimates are held against.

    Parameters
    ----------
    scores
        How likely each is late, by whoever answers.
    in_time
        1 if it landed in time, otherwise 0.

    Examples
    --------
    >>> worth([0.1, 0.1, 0.9, 0.9], [1, 0, 1, 0]).round(6).tolist()
    [1.0, 0.0, 0.76, 0.56]
    """
    booked = np.where(np.asarray(scores, dtype=np.float64) < _THRESHOLD, 1.0, _BY_LOT)
    return booked * np.asarray(in_time, dtype=np.float64) + (1 - booked) * TRAIN
