"""Which answer a request gets: what is in its mailbox, the schedule and the time give the choice, or until when to wait."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from birdwatch.records import Reason, Score
from birdwatch.serving.control.policy import Draw, Posteriors, Priority, draw
from birdwatch.serving.control.schedule import DEFAULT_MODEL, Schedule, Tier

__all__ = ["Choice", "Open", "Wait", "decide"]

_FORCED: Final = -1


class Open(Protocol):
    """What `decide` looks at: an open request, with the scores of those models that may answer."""

    @property
    def id(self) -> str: ...  # noqa: D102 - as in `birdwatch.records.Request`
    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def received_ts(self) -> float: ...  # noqa: D102
    @property
    def deadline_seconds(self) -> float: ...  # noqa: D102
    @property
    def override(self) -> str | None: ...  # noqa: D102
    @property
    def scores(self) -> Mapping[str, Score]: ...  # noqa: D102
    @property
    def draws(self) -> dict[int, tuple[Tier, Draw]]:
        """What was drawn for it so far, by the tier's number: once, whatever is learnt meanwhile."""
        ...


class Choice(NamedTuple):
    """The answer: whose, which, and why. Tier -1 is the default.

    ``drawn`` is the model that the policy drew, where that is another one.
    """

    model: str
    version: str
    score: float
    output: Any
    tier: int
    reason: Reason
    propensities: dict[str, float]
    drawn: str


class Wait(NamedTuple):
    """No answer yet: decide again when a score comes, or at this time."""

    until: float


def decide(
    mailbox: Open,
    schedule: Schedule,
    now: float,
    admits: Callable[[Score], bool] = lambda _: True,
    posteriors: Posteriors | None = None,
) -> Choice | Wait:
    """Choose the answer to a request, or say until when to wait.

    A tier opens at its time, or at once when every model before it has failed. The model that its policy drew is waited
    for until the next tier opens; from then on, and when the return margin begins, any score is better than none. An
    override is a single tier of its own. Once the deadline has passed, only the default is given, since that is what the
    gateway has told the client by then.

    Parameters
    ----------
    mailbox
        The request and the scores that have come, by model.
    now
        The wall clock.
    admits
        Whether a score may answer; one that may not (of a version rolled back, say) counts as failed.
    posteriors
        What Thompson sampling has learnt, by model.
    """
    box = _Box(mailbox, schedule, admits, posteriors or {})
    closes = mailbox.received_ts + mailbox.deadline_seconds - schedule.return_margin_seconds
    default = Choice(DEFAULT_MODEL, schedule.version, schedule.default, None, -1, "default", {}, "")
    if now >= mailbox.received_ts + mailbox.deadline_seconds:
        return default
    tiers = schedule.tiers if mailbox.override is None else (Tier(models=(mailbox.override,)),)
    opens = [min(mailbox.received_ts + tier.after_seconds, closes) for tier in tiers]
    all_failed = True
    for number, (tier, ends) in enumerate(zip(tiers, [*opens, closes][1:], strict=True)):
        if not all_failed and now < opens[number]:
            return Wait(opens[number])
        drawn = box.draw(number if mailbox.override is None else _FORCED, tier)
        order = [model for model in drawn.order if not box.failed(model)]
        chosen = next((model for model in order if box.there(model)), None)
        if chosen is not None:
            awaited = order[0] if drawn.waits or order[0] in tier.ramps else chosen
            if chosen == awaited or now >= ends:
                return box.choice(chosen, number, tier, drawn, awaited=awaited, after_failure=all_failed)
        all_failed = all_failed and not order
    if all_failed:
        return default._replace(reason="all failed")
    return default if now >= closes else Wait(closes)


class _Box(NamedTuple):
    """A mailbox as seen by one decision."""

    mailbox: Open
    schedule: Schedule
    admits: Callable[[Score], bool]
    posteriors: Posteriors

    def there(self, model: str) -> bool:
        score = self.mailbox.scores.get(model)
        return score is not None and score.score is not None and score.error is None and self.admits(score)

    def failed(self, model: str) -> bool:
        return model in self.mailbox.scores and not self.there(model)

    def draw(self, number: int, tier: Tier) -> Draw:
        known = self.mailbox.draws.get(number)
        if known is not None and known[0] is tier:  # it may be another by now: control has changed the schedule
            return known[1]
        drawn = draw(
            tier.policy,
            tier.models,
            tier.ramps,
            salt=self.schedule.salt,
            request_id=self.mailbox.id,
            key=self.mailbox.key,
            posteriors=self.posteriors,
        )
        self.mailbox.draws[number] = tier, drawn
        return drawn

    def choice(self, chosen: str, number: int, tier: Tier, drawn: Draw, *, awaited: str, after_failure: bool) -> Choice:
        """Tell why it is this model, and how likely it was."""
        late = chosen != awaited
        reason: Reason = "first choice"
        if self.mailbox.override is not None:
            reason = "override"
            awaited = self._preferred()
        elif late or (number > 0 and not after_failure):
            reason = "timed out"
        elif number > 0:
            reason = "all failed"
        elif drawn.explored and chosen == drawn.order[0]:
            reason = "explored"
        able = tuple(model for model in tier.arms if not self.failed(model))
        if isinstance(tier.policy, Priority) and chosen in tier.models:  # who of them is there first has it for certain
            able = tuple(model for model in able if model in tier.ramps or model == chosen)
        score = self.mailbox.scores[chosen]
        assert score.score is not None  # noqa: S101 - it is there
        return Choice(
            chosen,
            score.version,
            score.score,
            score.output,
            number,
            reason,
            propensities=drawn.odds(able),
            drawn=awaited if late or self.mailbox.override is not None else "",
        )

    def _preferred(self) -> str:
        """Give the model that the schedule would have chosen."""
        if not self.schedule.tiers:
            return ""
        return next((model for model in self.draw(0, self.schedule.tiers[0]).order if not self.failed(model)), "")
