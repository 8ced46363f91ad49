"""Traffic whose ids can be found again in the panes, one by one.

Request n lies in the pane of its event time and has a place k there, from 0. The number v(k) lies in a bin of the grid
that no other request of the pane has. It is the request's watched feature, the champion's score and the latency of the
answer; challenger and canary say 2v, so that every joined pair differs by v. Each histogram of a pane is thus a ledger:
a bin with 0 is an id that was lost, one with 2 an id that was counted twice.
"""

import json
import struct
import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from birdwatch.windows.pane import Series
from birdwatch.windows.store import Store

__all__ = ["COUNTED", "SENT", "STREAMS", "Found", "Ledger", "bin_of"]

STREAMS = ("requests", "scores", "canary", "results", "metrics", "outcomes")
"""The streams that are joined, and so have one number of partitions."""

SENT = ("requests", "champion", "challenger", "canary", "metrics")
"""What is sent of each request, in this order."""

COUNTED = {
    Series("feature.n"): (0,),
    Series("score", "champion", "1"): (1,),
    Series("score", "challenger", "1"): (2,),
    Series("score", "canary", "1"): (3,),
    Series("latency.answer", "champion", "1"): (4,),
    Series("difference", "challenger", "1", "champion"): (1, 2),
    Series("difference", "champion", "1", "canary"): (1, 3),
}
"""Which histograms are ledgers, and which of `SENT` must have come for an id to be in them."""

_BELOW = 52 - 7  # the bits of a number's mantissa that a bin leaves open
_ONE = 1023 << 7  # the bin of 1.0


def number_in(grid_bin: int) -> float:
    """Give the middle of a bin of the grid for real numbers above 0, from how they are written in bits."""
    return struct.unpack(">d", struct.pack(">q", grid_bin << _BELOW | 1 << _BELOW - 1))[0]


def bin_of(x: float) -> int:
    """Give the bin of a number: the inverse, also below 0."""
    grid_bin = struct.unpack(">q", struct.pack(">d", abs(x)))[0] >> _BELOW
    return -grid_bin - 1 if x < 0 else grid_bin


class Found(NamedTuple):
    """What the panes of a store say: ids with the histogram that lacks them, or has them twice; and what is nobody's."""

    ids: int
    lost: list[str]
    doubled: list[str]
    strange: list[str]


class Ledger:
    """Which requests there are, and where each is counted.

    Parameters
    ----------
    rate
        Requests in a second of event time.
    pane_seconds
        Event time in a pane.
    start
        Event time of the first pane; the wall clock's by default.
    """

    def __init__(self, rate: int, pane_seconds: int = 1, start: float | None = None) -> None:
        self.rate, self.pane_seconds = rate, pane_seconds
        self.start = int(time.time() if start is None else start) // pane_seconds * pane_seconds
        self.per_pane = rate * pane_seconds
        self.run = uuid.uuid4().hex[:6]
        self.acknowledged = np.zeros((len(SENT), 0), dtype=np.bool_)

    def id_of(self, n: int) -> str:
        """Name a request."""
        return f"{self.run}-{n:07d}"

    def time_of(self, n: int) -> float:
        """Give a request's event time."""
        return self.start + (n + 0.5) / self.rate

    def pane_of(self, n: int) -> int:
        """Give the start of its pane."""
        return self.start + n // self.per_pane * self.pane_seconds

    def messages(self, n: int) -> Iterator[tuple[str, bytes]]:
        """Give what is sent of a request: stream and JSON, in the order of `SENT`."""
        name, ts, v = self.id_of(n), self.time_of(n), number_in(_ONE + n % self.per_pane - 512)
        common = {"request_id": name, "request_ts": ts, "ts": ts, "version": "1"}
        request = {"id": name, "ts": ts, "received_ts": ts, "deadline_seconds": 1.0, "features": {"n": v}}
        yield "requests", json.dumps(request).encode()
        for stream, model, score in (
            ("scores", "champion", v),
            ("scores", "challenger", 2 * v),
            ("canary", "canary", 2 * v),
        ):
            yield stream, json.dumps({**common, "model": model, "score": score}).encode()
        decision = {"latency_seconds": v, "deadline_seconds": 1.0, "tier": 0, "reason": "first choice"}
        yield "metrics", json.dumps({**common, **decision, "model": "champion", "within_sla": True}).encode()

    def acknowledge(self, part: int, n: int) -> None:
        """Note that the broker has said that it keeps part ``SENT[part]`` of request n."""
        if n >= self.acknowledged.shape[1]:
            more = np.zeros((len(SENT), max(n + 1, 4096)), dtype=np.bool_)
            self.acknowledged = np.concatenate([self.acknowledged, more], axis=1)
        self.acknowledged[part, n] = True

    def audit(self, store: Store, until: int) -> Found:
        """Look for every acknowledged id in the panes that end by ``until``."""
        total = (until - self.start) // self.pane_seconds * self.per_pane
        known = np.zeros((len(SENT), total), dtype=np.bool_)
        width = min(total, self.acknowledged.shape[1])
        known[:, :width] = self.acknowledged[:, :width]
        found: dict[str, list[str]] = {"lost": [], "doubled": [], "strange": []}
        for series, parts in COUNTED.items():
            counts = np.zeros(total, dtype=np.int64)
            where = {"measure": series.measure, "model": series.model or None}
            for start, name, (bins, times) in store.rows(self.start, until, **where):
                if name != series:
                    continue
                places = (bins if bins[0] >= 0 else -bins - 1) - _ONE + 512
                if series.measure == "score" and series.model != "champion":
                    places = places - 128  # 2v lies an octave higher
                ours = (places >= 0) & (places < self.per_pane)
                found["strange"] += [f"{series.measure} {series.model} at {start}"] * int((~ours).sum())
                first = (start - self.start) // self.pane_seconds * self.per_pane
                counts[first + places[ours]] += times[ours]
            wanted = known[list(parts)].all(axis=0)
            label = " ".join(filter(None, (series.measure, series.model)))
            found["lost"] += [f"{self.id_of(n)} of {label}" for n in np.flatnonzero(wanted & (counts == 0)).tolist()]
            found["doubled"] += [f"{self.id_of(n)} of {label}" for n in np.flatnonzero(counts > 1).tolist()]
        return Found(int(known.any(axis=0).sum()), **found)
