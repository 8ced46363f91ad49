"""What changed? A period against others of its length: all that was measured, ranked by how unlike usual it is.

Days differ, so a distance says little by itself, and a p-value that counts events says less: of a hundred thousand events
every day differs from every other. What counts is how the period differs from the others, against how they differ from
one another (`birdwatch.stats.unusual`). Of everything that is measured at once, false discoveries are kept at a share
(Benjamini and Hochberg 1995); where nothing changed, that is the chance to call anything changed. It rests on blocks that
are alike and normal in the logarithm of a distance or a number, or the logit of a share; heavier tails are met by calling
changed only what no other block reached. Where there are too few other periods to know, effects are given with what
sampling explains of them, and nothing is called changed.

A distribution's distance counts both as it is and against what sampling explains of it, whichever is less unusual: neither
a thin day, on which all distances are large, nor a busy one, on which little is noise, is strange for that alone.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from birdwatch.detect.past import Now, Past
from birdwatch.detect.reference import MIN_BLOCKS
from birdwatch.detect.tolerance import normal_noise
from birdwatch.detect.verdict import Subject
from birdwatch.detect.words import about
from birdwatch.evaluate.measures import FEWEST, Shape, Share, Volume, measures
from birdwatch.stats.distances import bucket_counts, bucket_cuts, ks_noise, psi, wasserstein
from birdwatch.stats.grid import Scale
from birdwatch.stats.quantiles import quantiles
from birdwatch.stats.unusual import strangeness, tail
from birdwatch.windows.pane import Counts, Pane, total

__all__ = ["Changes", "changed"]

Floats = NDArray[np.float64]

FLOOR: Final = 0.02
"""A KS distance below this matters to nobody, as by default in rules."""

_LEAST_LOG: Final = 0.2
"""The standard deviation of a distance's logarithm that chance alone gives is about .3."""

_BUCKETS: Final = 12
"""Of so many categories one sees which moved."""

_WORDS: Final = {
    "score": "scores",
    "difference": "difference",
    "latency.queue": "wait before the model",
    "latency.model": "time in the model",
    "latency.answer": "time to the answer",
    "missing": "missing input",
    "positives": "positive outcomes",
}


class Changes(NamedTuple):
    """What changed, and how sure that is.

    Attributes
    ----------
    table
        A row for each measurement, that with the strongest evidence first: its ``name``, ``what`` it is, ``of`` whom (``model, partner,
        feature, segment``, empty where it has none), ``statistic`` (``ks``, ``share`` or ``ratio``), its ``effect`` (a KS
        distance; a difference of shares; a ratio less 1), ``chance`` (what sampling alone exceeds once in twenty times),
        ``now`` and ``before`` (medians, shares or counts), ``psi`` and ``wasserstein`` (NaN where there is none), ``n``
        and ``m`` (events in the period and in all others), ``usual`` and ``most`` (median and largest effect, without sign,
        of the others), ``others`` (how many had enough events), ``unusual`` (standard deviations from the others), ``p``
        (NaN where nobody can know), ``q`` (adjusted for all rows), ``changed`` (None where nobody can know), and ``told``,
        what it is and was, in words.
    period, others
        The starts of the blocks: the one asked about, and those it is compared with, in order.
    seconds, alpha
        How long each is, and the share of false discoveries.
    strange
        By row of the table, how unusual each block is, shape (rows, blocks), the period last; NaN where not known.
    shapes
        By row of the table that is a distribution, its buckets: ``place, value, now, before``.
    """

    table: pd.DataFrame
    period: int
    others: list[int]
    seconds: int
    alpha: float
    strange: Floats
    shapes: dict[int, pd.DataFrame]


class _Row(NamedTuple):
    """A measurement: what is said of the period, how strange each block is, and the buckets of a distribution."""

    said: dict[str, Any]
    strange: Floats
    buckets: pd.DataFrame | None


def changed(
    blocks: Mapping[int, Pane], period: int, seconds: int, *, scale: Scale = "probability", alpha: float = 0.05
) -> Changes:
    """Compare a period with others of its length.

    Parameters
    ----------
    blocks
        The sum of the panes of each, by its start; that of the period among them.
    period
        The start of the period.
    seconds
        The length of each.
    scale
        How scores were counted.
    alpha
        The share of what is called changed that may not have; where nothing has, the chance that anything is called so.

    Raises
    ------
    ValueError
        The period has nothing in it, or there is nothing to compare it with.
    """
    others = sorted(start for start in blocks if start != period)
    if not blocks.get(period):
        raise ValueError("nothing was counted in the period")
    if not others:
        raise ValueError("there is nothing to compare the period with")
    found = [_row(one) for one in measures([*(blocks[start] for start in others), blocks[period]], scale)]
    rows = [row for row in found if row is not None]
    strange = np.array([row.strange for row in rows]).reshape(len(rows), len(others) + 1)
    table = pd.DataFrame([row.said for row in rows], columns=list(_COLUMNS))
    able = (table["others"] >= MIN_BLOCKS).to_numpy()
    p, q = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    sides = np.where(table["statistic"] == "ks", 1, 2)  # a distance is only ever too large
    p[able] = np.minimum(sides * tail(strange[:, -1], table["others"]), 1.0)[able]
    if able.any():
        q[able] = false_discovery_control(p[able])
    table["p"], table["q"] = p, q
    beyond = strange[:, -1] > np.nanmax(strange[:, :-1], axis=1, initial=-np.inf)
    matters = ((table["statistic"] != "ks") | (table["effect"] >= FLOOR)).to_numpy()
    moved = (q <= alpha) & beyond & matters
    table["changed"] = pd.Series([bool(x) if k else None for x, k in zip(moved, able, strict=True)], dtype=object)
    # Where nobody can know, by how much more it is than sampling explains.
    order = np.lexsort([-(table["effect"].abs() / table["chance"]), np.where(able, p, 2.0), ~moved])
    return Changes(
        table.iloc[order].reset_index(drop=True),
        period,
        others,
        seconds,
        alpha,
        strange[order],
        {place: b for place, i in enumerate(order.tolist()) if (b := rows[i].buckets) is not None},
    )


_COLUMNS: Final = (
    *("name", "what", "of", "model", "partner", "feature", "segment", "statistic", "effect", "chance", "now", "before"),
    *("psi", "wasserstein", "n", "m", "usual", "most", "others", "unusual", "told"),
)


def _row(one: Shape | Share | Volume) -> _Row | None:
    """Say what is to be said of a measurement; None where the period, or all others, have too few events."""
    found = _shape(one) if isinstance(one, Shape) else _share(one) if isinstance(one, Share) else _volume(one)
    if found is None:
        return None
    said, strange, buckets = found
    subject = one.subject
    name = subject.feature or about(subject)
    whom = f"{name} in {one.segment}" if one.segment else name
    what = _WORDS.get(one.what, one.what)
    full = what if whom == about(Subject()) else f"{what}: {whom}"
    names = {"name": full, "what": what, "of": whom, "segment": one.segment}
    parts = {"model": subject.model, "partner": subject.partner, "feature": subject.feature}
    known = {"others": int(np.isfinite(strange[:-1]).sum()), "unusual": float(strange[-1])}
    empty = dict.fromkeys(("psi", "wasserstein", "now", "before"), np.nan)
    return _Row({**empty, **names, **parts, **known, **said}, strange, buckets)


def _shape(one: Shape) -> tuple[dict[str, Any], Floats, pd.DataFrame] | None:
    distances, n = one.distances(), one.n
    if not np.isfinite(distances[-1]):
        return None
    m = n[np.isfinite(distances)].sum() - n
    with np.errstate(divide="ignore", invalid="ignore"):
        against_noise = np.log1p(distances**2 * n * m / (n + m)) / 2
    strange = np.fmin(
        strangeness(np.log(np.maximum(distances, FLOOR)), _LEAST_LOG), strangeness(against_noise, _LEAST_LOG)
    )
    now, before = one.blocks[-1], total(one.blocks[:-1])
    cuts = bucket_cuts(before)
    told = Past([before], [], one.categories, "score")
    said = {
        "statistic": "ks",
        "effect": float(distances[-1]),
        "chance": float(ks_noise(n[-1], m[-1])),
        "psi": psi(bucket_counts(now, cuts), bucket_counts(before, cuts)),
        "n": int(n[-1]),
        "m": int(m[-1]),
        **_others(distances),
    }
    if one.categories is None:
        middle, was = (quantiles(h, [0.5], one.scale)[0].value for h in (now, before))
        said |= {"now": middle, "before": was, "wasserstein": wasserstein(now, before, one.scale).value}
    said["told"] = _in_words(one, now, before, told)
    names, shares = told.by_value(Now(now), one.scale)
    buckets = pd.DataFrame({"value": names, "now": shares.now, "before": shares.before, "psi": shares.psi})
    most = buckets.nlargest(_BUCKETS, "psi").sort_index().drop(columns="psi")
    return said, strange, most.assign(place=range(len(most)))


def _in_words(one: Shape, now: Counts, before: Counts, past: Past) -> str:
    """Say what a distribution is and was: of a difference where most of it lies, of a latency its tail too."""
    if one.what in ("input", "score"):
        return past.told(Now(now), one.scale)
    if one.what == "difference":
        (low, high), (was_low, was_high) = (
            [q.value for q in quantiles(h, [0.1, 0.9], one.scale)] for h in (now, before)
        )
        return f"eight in ten from {low:+.2g} to {high:+.2g}, it was {was_low:+.2g} to {was_high:+.2g}"
    (middle, end), (was, was_end) = ([q.value for q in quantiles(h, [0.5, 0.99], one.scale)] for h in (now, before))
    return f"p50 {_time(middle)}, it was {_time(was)}; p99 {_time(end)}, it was {_time(was_end)}"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _share(one: Share) -> tuple[dict[str, Any], Floats, None] | None:
    known = one.n >= FEWEST
    if not (known[-1] and known[:-1].any()):
        return None
    k, n = np.where(known, one.k, 0), np.where(known, one.n, 0)
    whole = (k.sum() + 0.5) / (n.sum() + 1)
    logit = np.log((k + 0.5) / (n - k + 0.5))
    sampling = 1 / np.sqrt(np.maximum(n, 1) * whole * (1 - whole))
    strange = np.abs(strangeness(np.where(known, logit, np.nan), sampling))
    others = (k.sum() - k) / np.maximum(n.sum() - n, 1)
    effects = np.where(known, k / np.maximum(n, 1) - others, np.nan)
    now, before = float(k[-1] / n[-1]), float(others[-1])
    m = int(n[:-1].sum())
    said = {
        "statistic": "share",
        "effect": float(effects[-1]),
        "chance": float(normal_noise(np.sqrt(whole * (1 - whole) * (1 / n[-1] + 1 / m)), 0.95)),
        "now": now,
        "before": before,
        "n": int(n[-1]),
        "m": m,
        "told": f"{now:.2%}, it was {before:.2%}",
        **_others(np.abs(effects)),
    }
    return said, strange, None


def _volume(one: Volume) -> tuple[dict[str, Any], Floats, None] | None:
    known = one.n > 0
    if not (known[-1] and known[:-1].any()):
        return None
    n = np.maximum(one.n, 1)
    strange = np.abs(strangeness(np.where(known, np.log(n), np.nan), 1 / np.sqrt(n[known].mean())))
    usual = float(n[:-1][known[:-1]].mean())
    effects = np.where(known, n / usual - 1, np.nan)
    said = {
        "statistic": "ratio",
        "effect": float(effects[-1]),
        "chance": float(normal_noise(np.sqrt((1 + 1 / known[:-1].sum()) / usual), 0.95)),
        "now": float(n[-1]),
        "before": usual,
        "n": int(n[-1]),
        "m": int(n[:-1][known[:-1]].sum()),
        "told": f"{n[-1]:,}, {usual:,.0f} were usual",
        **_others(np.abs(effects)),
    }
    return said, strange, None


def _others(effects: Floats) -> dict[str, float]:
    known = effects[:-1][np.isfinite(effects[:-1])]
    return {"usual": float(np.median(known)), "most": float(known.max())}
