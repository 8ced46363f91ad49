"""How the models of a tier share its requests, and with what probability each is chosen.

A policy draws an *order* of its models for each request. The first in it that has not failed is to answer; propensities
are those of the draw among the models that have not failed. Chance comes from a hash of the request's id (of its sticky
key, in a ramp), so that a decision can be repeated from its record, and a process that was killed decides the same again.
"""

import hashlib
import math
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

__all__ = ["Draw", "Epsilon", "Policy", "Posteriors", "Priority", "Thompson", "Weights", "draw", "unit"]

Posteriors = Mapping[str, tuple[float, float]]
"""The parameters (α, β) of each model's Beta distribution."""

Odds = Callable[[tuple[str, ...]], dict[str, float]]

_MOST_CACHED: Final = 4096


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Priority(_Strict):
    """The first named; the others only when it has no score in time. Nothing is left to chance."""

    kind: Literal["priority"] = "priority"


class Weights(_Strict):
    """Each model in proportion to its weight."""

    kind: Literal["weights"]
    weights: dict[str, Annotated[FiniteFloat, Field(gt=0)]] = Field(min_length=1)


class Epsilon(_Strict):
    """The first named, but with probability ``epsilon`` any of them, each as likely as the other."""

    kind: Literal["epsilon"]
    epsilon: Annotated[float, Field(ge=0, le=1)]


class Thompson(_Strict):
    """Thompson sampling: each model as often as it is likely to be the best, by the rewards among the outcomes.

    The reward of a model is Bernoulli, what is known of its mean a Beta distribution (Thompson 1933; Chapelle and Li
    2011); evidence counts half after ``half_life_seconds`` of event time, so that the world may change.
    """

    kind: Literal["thompson"]
    half_life_seconds: Annotated[FiniteFloat, Field(gt=0)] | None = None
    prior: tuple[Annotated[FiniteFloat, Field(gt=0)], Annotated[FiniteFloat, Field(gt=0)]] = (1.0, 1.0)


Policy = Annotated[Priority | Weights | Epsilon | Thompson, Field(discriminator="kind")]


class Draw(NamedTuple):
    """What a policy drew for one request.

    Attributes
    ----------
    order
        The models in the order in which they are to answer, if those before them have failed.
    waits
        Whether the first is waited for; where nothing is left to chance, who is there first answers. The model of a
        ramp is waited for in any case.
    explored
        Whether another model than the usual one was drawn, in order to learn.
    odds
        Gives, for the models that have not failed, the probability with which each is to answer.
    """

    order: tuple[str, ...]
    waits: bool
    explored: bool
    odds: Odds


def unit(*parts: str) -> float:
    """Give a number in [0, 1) that looks random and depends on the parts alone.

    Examples
    --------
    >>> unit("a", "b") == unit("a", "b") != unit("ab")
    True
    """
    digest = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


def draw(
    policy: Policy,
    models: tuple[str, ...],
    ramps: Mapping[str, float],
    *,
    salt: str,
    request_id: str,
    key: str,
    posteriors: Posteriors,
) -> Draw:
    """Draw the order in which the models of a tier are to answer a request.

    Parameters
    ----------
    models
        Those among which the policy chooses.
    ramps
        By model, the percentage of the keys that are its own, before the policy chooses; a key that is a model's at p
        percent is so at any higher one.
    salt
        Makes the draws of one deployment independent of those of another, and unknown to clients who choose their ids.
    posteriors
        Of Thompson sampling; a model without one has the policy's prior.

    Returns
    -------
    Draw
    """
    base = _draw_base(policy, models, salt=salt, request_id=request_id, posteriors=posteriors)
    if not ramps:
        return base
    mine = tuple(model for model, percent in ramps.items() if unit(salt, "ramp", model, key) * 100 < percent)

    def odds(able: tuple[str, ...]) -> dict[str, float]:
        left, found = 1.0, {}
        for model, percent in ramps.items():
            if model in able:
                found[model] = left * percent / 100
                left *= 1 - percent / 100
        rest = base.odds(tuple(model for model in able if model not in ramps))
        return found | {model: left * odd for model, odd in rest.items()}

    return Draw((*mine, *base.order), base.waits, base.explored and not mine, odds)


def _draw_base(policy: Policy, models: tuple[str, ...], *, salt: str, request_id: str, posteriors: Posteriors) -> Draw:
    if isinstance(policy, Priority):
        return Draw(models, waits=False, explored=False, odds=_certain)
    chances = {model: unit(salt, policy.kind, request_id, model) for model in models}
    match policy:
        case Weights():
            # A race of exponential waiting times: among any of the models the winner is drawn by weight (Efraimidis
            # and Spirakis 2006), so that the order holds whoever fails.
            weights = policy.weights
            order = sorted(models, key=lambda model: -math.log1p(-chances[model]) / weights[model])
            return Draw(tuple(order), waits=True, explored=False, odds=lambda able: _in_proportion(weights, able))
        case Epsilon():
            exploring = unit(salt, "explore", request_id) < policy.epsilon
            order = sorted(models, key=lambda model: chances[model]) if exploring else list(models)
            return Draw(
                tuple(order),
                waits=True,
                explored=order[:1] != list(models[:1]),
                odds=lambda able: _epsilon(policy.epsilon, models, able),
            )
        case Thompson():
            known = {model: posteriors.get(model, policy.prior) for model in models}
            return _thompson(known, chances)


def _certain(able: tuple[str, ...]) -> dict[str, float]:
    return {model: float(place == 0) for place, model in enumerate(able)}


def _in_proportion(weights: Mapping[str, float], able: tuple[str, ...]) -> dict[str, float]:
    total = math.fsum(weights[model] for model in able)
    return {model: weights[model] / total for model in able}


def _epsilon(epsilon: float, models: Collection[str], able: tuple[str, ...]) -> dict[str, float]:
    usual = next((model for model in models if model in able), None)
    return {model: epsilon / len(able) + (1 - epsilon) * (model == usual) for model in able}


_best: dict[tuple[tuple[float, float], ...], tuple[float, ...]] = {}


def _thompson(known: Posteriors, chances: Mapping[str, float]) -> Draw:
    from birdwatch.stats.posterior import draw as draw_means  # noqa: PLC0415 - scipy, where it is needed

    arms = tuple(known)
    alpha, beta = zip(*known.values(), strict=True)
    drawn = dict(zip(arms, draw_means(alpha, beta, [chances[arm] for arm in arms]).tolist(), strict=True))
    order = tuple(sorted(arms, key=lambda arm: -drawn[arm]))
    usual = max(arms, key=lambda arm: known[arm][0] / sum(known[arm]))

    def odds(able: tuple[str, ...]) -> dict[str, float]:
        return dict(zip(able, _best_probabilities(tuple(known[arm] for arm in able)), strict=True))

    return Draw(order, waits=True, explored=order[0] != usual, odds=odds)


def _best_probabilities(parameters: tuple[tuple[float, float], ...]) -> tuple[float, ...]:
    """Remember what was integrated: many requests share a posterior."""
    found = _best.get(parameters)
    if found is None:
        from birdwatch.stats.posterior import best_probabilities  # noqa: PLC0415

        if len(_best) >= _MOST_CACHED:
            _best.clear()
        alpha, beta = zip(*parameters, strict=True)
        found = _best[parameters] = tuple(best_probabilities(alpha, beta).tolist())
    return found
