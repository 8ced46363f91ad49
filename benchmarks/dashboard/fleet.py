"""A fleet of a hundred models, and what a pane of its traffic holds: drawn once in some variants, since drawing costs most."""

from itertools import product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.stats.grid import bins_of
from birdwatch.windows.joint import JOINT_SPAN
from birdwatch.windows.pane import (
    FIXED_POINT,
    JOINT_SHIFT,
    PROPENSITY_PARTS,
    Counts,
    Pane,
    Series,
    selection_bin,
)

__all__ = [
    "BAD",
    "CANARY",
    "CHAMPION",
    "FEATURES",
    "MODELS",
    "PAIRS",
    "SECOND",
    "Kind",
    "draw_panes",
    "kind_at",
    "sampled",
    "version_of",
]

CHAMPION: Final = "champion"
CANARY: Final = "canary"
SECOND: Final = "challenger-01"
"""In the second tier of the schedule, and drawn now and then by the policy."""

BAD: Final = "challenger-07"
"""Released anew a day before the end, and wrong since then."""

MODELS: Final = (CHAMPION, *(f"challenger-{i:02d}" for i in range(1, 99)), CANARY)
PAIRS: Final = (*((model, CHAMPION) for model in MODELS[1:-1]), (CHAMPION, CANARY))
FEATURES: Final = ("distance", "hour", "visib", "wind", "carrier", "origin")

_PER_MINUTE: Final = (20, 40, 65, 85)
"""Requests a minute in the small hours, in the morning and the evening, by day, and at noon."""

_DRAWS: Final = {60: 6, 3_600: 4}
_CATEGORIES: Final = {"carrier": ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E"), "origin": ("EWR", "JFK", "LGA")}
_NOISE: Final = 0.15
_DAY: Final = 86_400


class Kind(NamedTuple):
    """What a pane is like: how much traffic, whether the inputs are odd, whether the bad release is there."""

    level: int
    odd: bool
    bad: bool


def kind_at(second: int, days: int) -> Kind:
    """Give what the traffic is like so many seconds after the beginning."""
    day, of_day = divmod(second, _DAY)
    hour = of_day // 3_600
    level = 3 if 10 <= hour < 15 else 2 if 7 <= hour < 19 else 1 if 5 <= hour < 22 else 0
    return Kind(level, odd=day == days // 2, bad=second >= (days - 1) * _DAY)


def sampled(model: str) -> float:
    """Give the share of requests that a model is asked: some shadows see a part of the traffic alone."""
    number = int(model.rpartition("-")[2]) if model.startswith("challenger") else 0
    return 0.2 if number % 3 == 2 else 1.0


def version_of(model: str, kind: Kind) -> str:
    """Give the version that scores."""
    return "2" if model == BAD and kind.bad else "1"


def draw_panes(rng: np.random.Generator, seconds: int) -> dict[Kind, list[Pane]]:
    """Draw some panes of each kind, of a minute or of an hour."""
    kinds = [Kind(*parts) for parts in product(range(len(_PER_MINUTE)), (False, True), (False, True))]
    return {
        kind: [_pane(rng, kind, _PER_MINUTE[kind.level] * seconds // 60) for _ in range(_DRAWS[seconds])]
        for kind in kinds
        if not (kind.odd and kind.bad)
    }


def _pane(rng: np.random.Generator, kind: Kind, mean: int) -> Pane:
    n = int(rng.poisson(mean))
    risk = rng.normal(-1.4 + 0.5 * kind.odd, 0.8, n)
    scores = {model: _scores(rng, model, risk, kind) for model in MODELS}
    pane: Pane = {}
    for place, model in enumerate(MODELS):
        version = version_of(model, kind)
        found = scores[model]
        seen = found.size
        failed = int(rng.binomial(seen, 0.0005))
        slow = 0.004 + 0.0004 * place
        pane[Series("counts", model, version)] = Counts.of([1, 2], [seen, failed])
        pane[Series("score", model, version)] = Counts.of(bins_of(found, "probability"))
        inside = slow * np.exp(rng.normal(0, 0.4, seen)) * (2.5 if version == "2" else 1.0)
        pane[Series("latency.model", model, version)] = Counts.of(bins_of(inside))
        pane[Series("latency.queue", model, version)] = Counts.of(bins_of(0.0008 * np.exp(rng.normal(0, 0.6, seen))))
    for model, partner in PAIRS:
        pane |= _pair((model, version_of(model, kind), partner), scores[model], scores[partner])
    pane |= _inputs(rng, kind, n)
    pane |= _answers(rng, n)
    return {series: counts for series, counts in pane.items() if counts.bins.size}


def _scores(rng: np.random.Generator, model: str, risk: NDArray[np.float64], kind: Kind) -> NDArray[np.float64]:
    """Give a model's scores; a model that sees a part of the traffic sees the first requests."""
    mine = risk[: int(risk.size * sampled(model))]
    place = MODELS.index(model)
    wrong = 0.9 if version_of(model, kind) == "2" else 0.0
    logit = mine + 0.3 * np.sin(place) + wrong + rng.normal(0, _NOISE * (1 + place % 4), mine.size)
    return 1 / (1 + np.exp(-logit))


def _pair(name: tuple[str, str, str], ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Pane:
    n = min(ours.size, theirs.size)
    ours, theirs = ours[:n], theirs[:n]
    d = ours - theirs
    sums = [n, int(np.round(d * FIXED_POINT).sum()), int(np.ceil(d * d * FIXED_POINT).sum())]
    mine, other = (bins_of(scores, "probability") for scores in (ours, theirs))
    centre = JOINT_SPAN // 2
    cells = ((mine >> JOINT_SHIFT) + centre) * JOINT_SPAN + (other >> JOINT_SHIFT) + centre
    return {
        Series("pair", *name): Counts.of([0, 1, 2], sums),
        Series("difference", *name): Counts.of(bins_of(d)),
        Series("apart", *name): Counts.of(mine - other),
        Series("joint", *name): Counts.of(cells),
    }


def _inputs(rng: np.random.Generator, kind: Kind, n: int) -> Pane:
    pane: Pane = {}
    for name in FEATURES:
        pane[Series(f"missing.{name}")] = Counts.of([0, 2], [n // 50, n - n // 50])
        if name in _CATEGORIES:
            of = _CATEGORIES[name]
            each = rng.multinomial(n, np.arange(len(of), 0, -1) / sum(range(len(of) + 1)))
            for value, count in zip(of, each.tolist(), strict=True):
                pane[Series(f"category.{name}", segment=value)] = Counts.of([0], [count])
        else:
            low = 3.0 if name == "visib" and kind.odd else 8.0
            pane[Series(f"feature.{name}")] = Counts.of(bins_of(rng.normal(low, 1.0, n)))
    return pane


def _answers(rng: np.random.Generator, n: int) -> Pane:
    late, drawn = (int(rng.binomial(n, share)) for share in (0.003, 0.02))
    theta = round(0.02 * PROPENSITY_PARTS)
    first, timed_out, explored = (
        selection_bin(*why) for why in ((0, "first choice"), (1, "timed out"), (0, "explored"))
    )
    return {
        Series("counts"): Counts.of(
            [0, 4, 5, 6, 7], [n, n, int(rng.binomial(n, 0.0006)), n * 9 // 10, int(rng.binomial(n, 0.2))]
        ),
        Series("latency.answer", CHAMPION, "1"): Counts.of(bins_of(0.004 + 0.01 * np.exp(rng.normal(0, 0.45, n)))),
        Series("selection", CHAMPION, "1"): Counts.of([first], [n - late - drawn]),
        Series("selection", SECOND, "1"): Counts.of([timed_out, explored], [late, drawn]),
        Series("propensity", CHAMPION, "1"): Counts.of(
            [2 * (PROPENSITY_PARTS - theta), 2 * (PROPENSITY_PARTS - theta) + 1], [drawn, n - drawn]
        ),
        Series("propensity", SECOND, "1"): Counts.of([2 * theta, 2 * theta + 1], [n - drawn, drawn]),
    }
