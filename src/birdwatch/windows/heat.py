"""Tables of distributions over time: what was counted on the grid in few cells, and how far it lies from what was before."""

from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from birdwatch.stats.distances import (
    bucket_counts,
    bucket_cuts,
    ks,
    ks_noise,
    psi,
    psi_noise,
    stack,
    wasserstein,
    wasserstein_noise,
)
from birdwatch.stats.grid import Scale, midpoints
from birdwatch.stats.quantiles import Histogram, quantiles, size
from birdwatch.windows.pane import Counts, total
from birdwatch.windows.store import Store
from birdwatch.windows.tables import MOST_POINTS, Span, step_for

__all__ = ["distance_table", "distances", "distances_frame", "heat_table", "shape_table", "sides", "step_of"]

_STEPS: Final = 80
"""So many columns can be told apart in a picture, and a column of several panes has enough events to have a shape."""

_CELLS: Final = 20
_ZERO: Final = 1e-100
_DAY: Final = 86_400
_WEEK: Final = 7 * _DAY
_BEFORE: Final = 28 * _DAY


def heat_table(
    store: Store, span: Span, measure: str, *, model: str | None = None, scale: Scale = "real", segment: str = ""
) -> pd.DataFrame:
    """Give how a measure was distributed, step by step: the cells of a heat map.

    Parameters
    ----------
    measure
        ``score`` or ``latency.*``, whose cells are even in the logarithm.
    model
        All versions of it; None is all models.

    Returns
    -------
    DataFrame
        ``time, to, low, high`` are a cell's edges, ``n`` the events in it, ``share`` their share of the step's. Cells
        without an event are left out; there are at most `MOST_POINTS`.
    """
    steps = _by_step(store, step_of(store, span), measure, model, segment)
    whole = total(steps.values())
    if not whole.bins.size:
        return _cells([])
    # Coarser until it fits: a picture has room for so many cells and no more.
    for cells in (8, 6, 4, 3, 2, 1):
        edges = _log_edges(whole, cells) if measure.startswith("latency.") else _even_edges(whole, scale)
        table = _cells(
            [
                (start, low, high, int(n), n / size(counts))
                for start, counts in steps.items()
                for (low, high), n in zip(pairwise(edges), _folded(counts, edges, scale), strict=True)
                if n
            ]
        )
        if len(table) <= MOST_POINTS:
            break
    step = step_of(store, span).step
    return table.assign(to=table["time"] + pd.Timedelta(seconds=step))


def shape_table(
    store: Store,
    model: str,
    now: tuple[int, int],
    *,
    before: tuple[int, int] | None = None,
    measure: str = "score",
    scale: Scale = "real",
    segment: str = "",
) -> pd.DataFrame:
    """Give a model's scores in a stretch of event time beside those of another, by default of the four weeks before it.

    Parameters
    ----------
    measure
        Another measure than scores, such as ``feature.age`` of no model.

    Returns
    -------
    DataFrame
        ``place, value, now, before``, as `birdwatch.charts.values_chart` draws them: shares by range of scores. Empty where
        one side has no scores.
    """
    found = sides(store, model, now, segment, before=before, measure=measure)
    if not all(side.bins.size for side in found):
        return pd.DataFrame(columns=["place", "value", "now", "before"])
    edges = _even_edges(total(found), scale)
    shares = {
        name: _folded(side, edges, scale) / size(side) for name, side in zip(("now", "before"), found, strict=True)
    }
    names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    return pd.DataFrame({"place": range(len(names)), "value": names, **shares})


def sides(
    store: Store,
    model: str,
    now: tuple[int, int],
    segment: str = "",
    *,
    before: tuple[int, int] | None = None,
    measure: str = "score",
) -> tuple[Counts, Counts]:
    """Give the histograms of a model's scores in a stretch of event time, and in another, by default the four weeks before it.

    ``measure`` may be another than scores, such as ``feature.age`` of no model.
    """
    since, until = now
    stretches = ((since, until), before or (since - _BEFORE, since))
    ours, theirs = (
        total(c for _, _, c in store.rows(*one, measure=measure, model=model, segment=segment, step=one[1] - one[0]))
        for one in stretches
    )
    return ours, theirs


def distance_table(
    store: Store, span: Span, model: str, *, scale: Scale = "real", unit: float = 1.0, segment: str = ""
) -> pd.DataFrame:
    """Give how far a model's scores lie, step by step, from those of the four weeks before that step.

    Rules look at windows of their own and at references of their own; this is the same look for all models. From a week on
    a step is a day at the least: one hour differs from all others whatever happens.

    Returns
    -------
    DataFrame
        ``time, statistic, value, error, chance, n``: see `distances`.
    """
    coarse = step_of(store, span)
    if span.until - span.since >= _WEEK and _DAY % store.pane_seconds == 0:
        coarse = max(coarse, Span(span.since // _DAY * _DAY, -(-span.until // _DAY) * _DAY, _DAY), key=lambda s: s.step)
    reach = -(-_BEFORE // coarse.step)
    steps = _by_step(store, coarse._replace(since=coarse.since - reach * coarse.step), "score", model, segment)
    if not steps:
        return distances_frame([])
    bins, counts = stack([(c.bins, c.counts) for c in steps.values()])
    # A reference is the difference of two sums from the beginning on.
    until = np.concatenate([np.zeros((1, bins.size), dtype=np.int64), np.cumsum(counts, axis=0)])
    starts = np.array(list(steps))
    rows = []
    for i, start in enumerate(steps):
        first = int(np.searchsorted(starts, start - reach * coarse.step))
        before = until[i] - until[first]
        if start < coarse.since or not before.any():
            continue
        ours, theirs = (bins, counts[i]), (bins, before)
        rows += [(start, *row) for row in distances(ours, theirs, scale, unit)]
    return distances_frame(rows)


def step_of(store: Store, span: Span) -> Span:
    """Choose the step at which distributions over a span are looked at: a few dozen, of whole panes."""
    return max(span, step_for(span.since, span.until, store.pane_seconds, _STEPS), key=lambda s: s.step)


def _by_step(store: Store, span: Span, measure: str, model: str | None, segment: str) -> dict[int, Counts]:
    parts: dict[int, list[Counts]] = {}
    rows = store.rows(span.since, span.until, measure=measure, model=model, segment=segment, step=span.step)
    for start, _, counts in rows:
        parts.setdefault(span.since + (start - span.since) // span.step * span.step, []).append(counts)
    return {start: total(found) for start, found in sorted(parts.items())}


def _even_edges(counts: Counts, scale: Scale) -> NDArray[np.float64]:
    if scale == "probability":
        return np.linspace(0.0, 1.0, _CELLS + 1)
    # The grid's bin of zeros has a middle too, which nobody wants to read.
    low, high = (q.value if abs(q.value) > _ZERO else 0.0 for q in quantiles(counts, (0.001, 0.999)))
    return np.linspace(low, high if high > low else low + 1.0, _CELLS + 1)


def _log_edges(counts: Counts, each: int) -> NDArray[np.float64]:
    """Give edges that are the same whatever was counted: ``each`` to a factor of ten."""
    seconds = np.maximum(midpoints(counts.bins), 1e-6)
    first, last = np.floor(np.log10(seconds[0]) * each), np.floor(np.log10(seconds[-1]) * each) + 1
    edges: NDArray[np.float64] = 10.0 ** (np.arange(first, last + 1) / each)
    return edges


def _folded(counts: Counts, edges: NDArray[np.float64], scale: Scale) -> NDArray[np.int64]:
    """Add up by cell; what lies beyond the outermost edges falls into the outermost cells."""
    cells = np.clip(np.searchsorted(edges, midpoints(counts.bins, scale), "right") - 1, 0, edges.size - 2)
    return np.bincount(cells, counts.counts, edges.size - 1).astype(np.int64)


def _cells(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["time", "low", "high", "n", "share"])
    return table.assign(time=pd.to_datetime(table["time"], unit="s", utc=True))


def distances(ours: Histogram, theirs: Histogram, scale: Scale = "real", unit: float = 1.0) -> list[tuple[Any, ...]]:
    """Give (statistic, value, error, chance, n) of what people look at, between a window and what it is compared with.

    ``ks`` is Kolmogorov-Smirnov, ``psi`` the population stability index in ten buckets, ``w1`` Wasserstein in the unit of the
    scores. The distance of the events themselves lies within ``error``, which is what the grid leaves open; ``chance``
    is what two samples of these sizes from one distribution exceed one time in twenty (at most, for ``w1``).
    """
    n, m = size(ours), size(theirs)
    some = theirs[1] > 0
    cuts = bucket_cuts((theirs[0][some], theirs[1][some]))
    gap, moved = ks(ours, theirs), wasserstein(ours, theirs, scale)
    shift = psi(bucket_counts(ours, cuts), bucket_counts(theirs, cuts))
    return [
        ("ks", gap.value, gap.error, float(ks_noise(n, m)), n),
        ("psi", shift, 0.0, psi_noise(n, m, cuts.size + 1), n),
        ("w1", moved.value * unit, moved.error * unit, wasserstein_noise(n, m, theirs, scale) * unit, n),
    ]


def distances_frame(rows: list[tuple[Any, ...]], *more: str) -> pd.DataFrame:
    """Make a table of rows of a time in Unix seconds, what `distances` gives, and ``more``."""
    table = pd.DataFrame(rows, columns=["time", "statistic", "value", "error", "chance", "n", *more])
    return table.assign(time=pd.to_datetime(table["time"], unit="s", utc=True))
