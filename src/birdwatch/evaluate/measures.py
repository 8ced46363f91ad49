"""What is compared of blocks of time: distributions, shares and volumes, each laid out block by block.

A block is a sum of panes, such as a day's. Versions of a model are added up, so that a new one is compared with the one
before it. What has too few events in a block is not there in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdwatch.detect.past import CATEGORY, MISSING, NUMBER
from birdwatch.detect.verdict import Subject
from birdwatch.stats.distances import stack
from birdwatch.stats.grid import Scale
from birdwatch.stats.quantiles import size
from birdwatch.windows.pane import COUNTERS, LATENCIES, PRESENCE, Counts, Pane, selection_of, total

__all__ = ["FEWEST", "Shape", "Share", "Volume", "measures"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST: Final = 50
"""Of fewer events in a block no share or distribution is told."""

_NOTHING: Final = Counts.of([])
_SHAPES: Final = ("score", "difference", *LATENCIES)
_IN_TIME: Final = ("first choice", "explored", "override")

# (measure, model, partner, segment), of all versions.
_Key = tuple[str, str, str, str]


class Shape(NamedTuple):
    """A distribution: ``blocks`` are histograms on the grid, or of the ranks of ``categories``."""

    what: str
    subject: Subject
    segment: str
    blocks: list[Counts]
    scale: Scale
    categories: tuple[str, ...] | None = None

    @property
    def n(self) -> Ints:
        """Count the events of each block."""
        return np.array([size(block) for block in self.blocks], dtype=np.int64)

    def distances(self) -> Floats:
        """Give the KS distance of each block from all others together; NaN where it has fewer than `FEWEST` events."""
        found = np.full(len(self.blocks), np.nan)
        known = np.flatnonzero(self.n >= FEWEST)
        if known.size > 1:
            cumulated = np.cumsum(stack([self.blocks[i] for i in known])[1], axis=1)
            whole = cumulated.sum(axis=0, keepdims=True)
            others = (whole - cumulated) / (whole[:, -1:] - cumulated[:, -1:])
            found[known] = np.abs(cumulated / cumulated[:, -1:] - others).max(axis=1)
        return found


class Share(NamedTuple):
    """How many of how many, block by block."""

    what: str
    subject: Subject
    segment: str
    k: Ints
    n: Ints


class Volume(NamedTuple):
    """How many, block by block."""

    what: str
    subject: Subject
    segment: str
    n: Ints


def measures(blocks: Sequence[Pane], scale: Scale = "probability") -> list[Shape | Share | Volume]:
    """Give all that was measured of blocks, in a fixed order.

    Parameters
    ----------
    blocks
        At least one; of a block in which something was not counted it is not there.
    scale
        How scores were counted.
    """
    laid: dict[_Key, list[list[Counts]]] = {}
    for place, block in enumerate(blocks):
        for series, counts in block.items():
            key = (series.measure, series.model, series.partner, series.segment)
            laid.setdefault(key, [[] for _ in blocks])[place].append(counts)
    whole = {key: [total(parts) if parts else _NOTHING for parts in laid[key]] for key in sorted(laid)}
    return [*_volumes(whole), *_shares(whole), *_shapes(whole, scale)]


def _volumes(whole: Mapping[_Key, list[Counts]]) -> Iterator[Volume]:
    fleet = whole.get(("counts", "", "", ""))
    if fleet is not None:
        yield Volume("requests", Subject(), "", _counter(fleet, "requests"))


def _shares(whole: Mapping[_Key, list[Counts]]) -> Iterator[Share]:
    found = list(_selection(whole))
    for (measure, model, _, segment), blocks in whole.items():
        if measure == "counts" and model:
            events = _counter(blocks, "events")
            found += [
                Share(name, Subject(model), segment, _counter(blocks, name), events) for name in ("errors", "nulls")
            ]
        elif measure == "counts" and not segment:
            for name, of, what in (("sla_misses", "decisions", "late answers"), ("positives", "outcomes", "positives")):
                found.append(Share(what, Subject(), "", _counter(blocks, name), _counter(blocks, of)))
        elif measure.startswith(MISSING):
            present = np.array([int(b.counts[b.bins == PRESENCE.index("present")].sum()) for b in blocks])
            n = np.array([size(b) for b in blocks])
            found.append(Share("missing", Subject(feature=measure.removeprefix(MISSING)), "", n - present, n))
    # What is none of all, or all of them, at all times tells nothing.
    yield from (share for share in [*found, *_traffic(whole), *_scored(whole)] if 0 < share.k.sum() < share.n.sum())


def _traffic(whole: Mapping[_Key, list[Counts]]) -> Iterator[Share]:
    """Give which part of the requests each segment is, of those that its dimension was counted of."""
    by_dimension: dict[str, dict[str, Ints]] = {}
    for (measure, model, _, segment), blocks in whole.items():
        if measure == "counts" and not model and segment:
            dimension = by_dimension.setdefault(segment.partition("=")[0], {})
            dimension[segment] = _counter(blocks, "requests")
    for segments in by_dimension.values():
        n = np.sum(list(segments.values()), axis=0)
        for segment, k in segments.items():
            yield Share("share of requests", Subject(), segment, k, n)


def _scored(whole: Mapping[_Key, list[Counts]]) -> Iterator[Share]:
    """Give how many requests each model scored, where models were counted beside requests."""
    fleet = whole.get(("counts", "", "", ""))
    events = {
        model: _counter(blocks, "events")
        for (measure, model, _, segment), blocks in whole.items()
        if measure == "counts" and model and not segment
    }
    if fleet is None or not events:
        return
    asked = _counter(fleet, "requests") * (np.sum(list(events.values()), axis=0) > 0)
    for model, k in events.items():
        yield Share("requests scored", Subject(model), "", np.minimum(k, asked), asked)


def _selection(whole: Mapping[_Key, list[Counts]]) -> Iterator[Share]:
    """Give how many answers were each model's, and how many time or failure brought about."""
    by_model = {model: blocks for (measure, model, _, _), blocks in whole.items() if measure == "selection"}
    if not by_model:
        return
    own = {model: np.array([size(b) for b in blocks]) for model, blocks in by_model.items()}
    n = np.sum(list(own.values()), axis=0)
    for model, k in own.items():
        yield Share("answers", Subject(model), "", k, n)
    late = np.sum([[_not_chosen(b) for b in blocks] for blocks in by_model.values()], axis=0)
    yield Share("answers by time-out or default", Subject(), "", late, n)


def _not_chosen(counts: Counts) -> int:
    each = zip(counts.bins.tolist(), counts.counts.tolist(), strict=True)
    return sum(n for bin_, n in each if selection_of(bin_)[1] not in _IN_TIME)


def _shapes(whole: Mapping[_Key, list[Counts]], scale: Scale) -> Iterator[Shape]:
    for (measure, model, partner, segment), blocks in whole.items():
        if measure in _SHAPES:
            on: Scale = scale if measure == "score" else "real"
            yield Shape(measure, Subject(model, partner=partner), segment, blocks, on)
        elif measure.startswith(NUMBER):
            yield Shape("input", Subject(feature=measure.removeprefix(NUMBER)), "", blocks, "real")
    for measure in sorted({key[0] for key in whole if key[0].startswith(CATEGORY)}):
        sizes = {key[3]: np.array([size(b) for b in blocks]) for key, blocks in whole.items() if key[0] == measure}
        ranked = tuple(sorted(sizes, key=lambda name: (-int(sizes[name].sum()), name)))
        table = np.array([sizes[name] for name in ranked])
        ranks = [Counts(np.flatnonzero(column), column[column > 0]) for column in table.T]
        yield Shape("input", Subject(feature=measure.removeprefix(CATEGORY)), "", ranks, "real", ranked)


def _counter(blocks: Sequence[Counts], name: str) -> Ints:
    bin_ = COUNTERS.index(name)
    return np.array([int(b.counts[b.bins == bin_].sum()) for b in blocks], dtype=np.int64)
