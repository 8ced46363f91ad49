"""Whatever is repeated, shuffled among partitions and late: the panes are those that a loop over all records counts."""

import math
import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birdwatch import records
from birdwatch.config import Feature, Settings
from birdwatch.testing import FakeClock
from birdwatch.windows.pane import COUNTERS, Series
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

from .brokers import MemoryBroker

START = 1_700_000_000
LENGTH, LATENESS = 10, 7
MODELS = ("champion", "challenger", "fallback")
SUMMED = ("counts", "score", "feature.size", "pair", "difference", "latency.model")

# A few values that meet in bins, at their edges and on both sides of zero.
values = st.sampled_from([0.0, 0.5, 1.0, 1.0078125, -1.0, -0.25, 3.75, 1e-9, 700.0]) | st.floats(-1e3, 1e3)


@st.composite
def traffic(draw):
    """Draw records, each with its stream and event time: requests, some of which are not scored, or not known."""
    found = []
    for n in range(draw(st.integers(1, 40))):
        name, ts = f"r{n}", START + draw(st.integers(0, 60 * 64)) / 64
        about = {"request_id": name, "request_ts": ts}
        if draw(st.integers(0, 9)):
            size = draw(values | st.sampled_from([None, "large"]))
            asked = {"id": name, "ts": ts, "received_ts": ts, "deadline_seconds": 1.0, "features": {"size": size}}
            found.append((ts, "requests", records.Request(**asked)))
        for model in (*MODELS, "canary"):
            if draw(st.integers(0, 3)):
                score, error = draw(st.tuples(values, st.none()) | st.just((None, None)) | st.just((None, "it died")))
                said = {"model": model, "version": draw(st.sampled_from("12")), "score": score, "error": error}
                stream = "canary" if model == "canary" else "scores"
                found.append((ts, stream, records.Score(**about, ts=ts + 0.1, **said, elapsed_seconds=0.01)))
        if draw(st.integers(0, 2)):
            found.append((ts, "outcomes", records.Outcome(**about, ts=ts, label=float(draw(st.booleans())))))
    return found


@st.composite
def arrivals(draw, events, most_late):
    """Draw the order in which records come, some of them again; none is behind another by more than ``most_late``."""
    again = draw(st.lists(st.sampled_from(events), max_size=10)) if events else []
    delayed = [(ts + draw(st.integers(0, 16)) / 16 * most_late, n, event) for n, (ts, *event) in enumerate(events)]
    delayed += [(ts + draw(st.integers(0, 16)) / 16 * most_late, -n, event) for n, (ts, *event) in enumerate(again)]
    return [event for _, _, event in sorted(delayed, key=lambda one: one[:2])]


def grid_bin(x):
    """Find the bin of a number as the grid is described: 128 to an octave, from zero outwards to both sides."""
    if x == 0:
        return 0
    if abs(x) < 2.0**-1022:
        grid = math.floor(abs(x) / 2.0**-1029)
    else:
        mantissa, exponent = math.frexp(abs(x))
        grid = (exponent + 1022) * 128 + math.floor((mantissa * 2 - 1) * 128)
    return grid if x > 0 else -grid - 1


def batch(events):
    """Count all records in one go, one by one."""
    panes = {}
    for ts, series, place, amount in counts_of(events):
        if amount:
            panes.setdefault((int(ts // LENGTH * LENGTH), series), Counter())[place] += amount
    kept = {place: {b: n for b, n in bins.items() if n} for place, bins in panes.items()}
    return {place: bins for place, bins in kept.items() if bins}


def counts_of(events):
    """Give what each record counts for: event time, series, bin, amount."""
    asked = {record.id: ts for ts, stream, record in events if stream == "requests"}
    scored = {(r.request_id, r.model): r for _, stream, r in events if stream in ("scores", "canary")}
    for ts, stream, record in events:
        if stream == "requests":
            yield ts, Series("counts"), COUNTERS.index("requests"), 1
            if isinstance(record.features["size"], float):
                yield ts, Series("feature.size"), grid_bin(record.features["size"]), 1
        elif stream == "outcomes":
            yield ts, Series("counts"), COUNTERS.index("outcomes"), 1
            yield ts, Series("counts"), COUNTERS.index("positives"), int(record.label > 0)
        else:
            who = (record.model, record.version)
            # Where no request came into a pane at all, requests are not watched, and nothing is an orphan.
            some = any(other // LENGTH == ts // LENGTH for other in asked.values())
            yield ts, Series("counts", *who), COUNTERS.index("events"), 1
            yield ts, Series("counts", *who), COUNTERS.index("orphans"), int(some and record.request_id not in asked)
            yield ts, Series("counts", *who), COUNTERS.index("errors"), int(record.error is not None)
            yield ts, Series("counts", *who), COUNTERS.index("nulls"), int(record.score is None and not record.error)
            yield ts, Series("latency.model", *who), grid_bin(0.01), 1
            if record.score is not None:
                yield ts, Series("score", *who), grid_bin(record.score), 1
                yield from compared(ts, record, scored)


def compared(ts, record, scored):
    """Give what a score counts for beside that of its partner, where both models gave one."""
    partner = "canary" if record.model == "champion" else "champion"
    other = scored.get((record.request_id, partner))
    if record.model == "canary" or other is None or other.score is None:
        return
    pair, d = (record.model, record.version, partner), record.score - other.score
    yield ts, Series("difference", *pair), grid_bin(d), 1
    clipped = max(-256.0, min(256.0, d))
    terms = (1, round(clipped * 2**20), math.ceil(clipped * clipped * 2**20), int(clipped != d))
    for place, term in enumerate(terms):
        yield ts, Series("pair", *pair), place, term


def counted(order, partitions, lives):
    """Let tails count records that lie so in the partitions, each for so many steps; give the panes and what was late."""
    broker = MemoryBroker(partitions)
    for stream, record in order:
        name = getattr(record, "request_id", None) or record.id
        broker.append(stream, [(name.encode(), records.encode(record))])
    chosen = Settings(
        pane_seconds=LENGTH,
        lateness_seconds=LATENESS,
        scale="real",
        champion="champion",
        features={"size": Feature()},
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store.db", pane_seconds=LENGTH)
        for steps, limit in lives:
            tail = Tail(broker, store, chosen, finite=True, now=FakeClock(START + 1e6))
            for _ in range(steps):
                tail.step(limit, 0.0)
            tail.close()
        tail = Tail(broker, store, chosen, finite=True, now=FakeClock(START + 1e6))
        while tail.step(5, 0.0):
            pass
        tail.finish()
        panes = {
            (start, series): dict(zip(c.bins.tolist(), c.counts.tolist(), strict=True))
            for start, series, c in store.rows(0, 2**40)
            if series.measure in SUMMED
        }
        late = {stream: arrived.late for stream, arrived in store.arrivals(0, 2**40).items()}
        store.close()
    return panes, late


def additive(panes):
    """Leave out what needs two records to meet."""
    orphans = COUNTERS.index("orphans")
    kept = {place: bins for place, bins in panes.items() if place[1].measure not in ("pair", "difference")}
    return {
        (start, series): {b: n for b, n in bins.items() if series.measure != "counts" or b != orphans}
        for (start, series), bins in kept.items()
    }


LIVES = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 40)), max_size=4)
NIGHTLY = os.environ.get("BIRDWATCH_FAULTS") == "nightly"
DRAWN = settings(
    max_examples=2000 if NIGHTLY else 40,
    deadline=None,
    derandomize=not NIGHTLY,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.faults
def test_within_the_lateness_nothing_depends_on_order_repetition_partition_or_restarts(faults):
    seen = Counter()

    @DRAWN
    @given(data=st.data(), partitions=st.integers(1, 4), lives=LIVES)
    def check(data, partitions, lives):
        events = data.draw(traffic())
        panes, late = counted(data.draw(arrivals(events, LATENESS)), partitions, lives)
        assert panes == batch(events)
        assert {stream: n for stream, n in late.items() if n and stream != "outcomes"} == {}
        seen.update(rounds=1, ids=len(events))

    check()
    if NIGHTLY:
        faults.survived(
            "duplicates, shuffling, lateness against a batch", **seen, note="drawn by Hypothesis, in memory"
        )


@DRAWN
@given(data=st.data(), partitions=st.integers(1, 4), lives=LIVES)
def test_what_comes_later_than_allowed_is_still_counted_once(data, partitions, lives):
    events = data.draw(traffic())
    order = data.draw(arrivals(events, 20 * LATENESS))
    order = [event for n, event in enumerate(order) if event not in order[:n]]  # what is repeated so late counts again
    panes, _ = counted(order, partitions, lives)
    assert additive(panes) == additive(batch(events))
