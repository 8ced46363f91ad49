"""The ledger would notice: what it says is right is right, and a lost or doubled id is named."""

import numpy as np
import pytest

from birdwatch.config import Feature, Settings
from birdwatch.stats.grid import bins_of
from birdwatch.streams import open_streams
from birdwatch.windows.pane import Counts, Series
from birdwatch.windows.store import Store
from birdwatch.windows.tail import Tail

from .ledger import SENT, Ledger, bin_of

START = 1_700_000_000
RATE, PANES, LENGTH = 90, 3, 2
TOTAL = RATE * PANES * LENGTH


@pytest.fixture
def ledger():
    return Ledger(RATE, LENGTH, START)


@pytest.fixture
def store(tmp_path, ledger):
    """What a tail makes of all that the ledger names."""
    place = open_streams(f"sqlite:{tmp_path}/streams")
    sent = {}
    for n in range(TOTAL):
        for part, (stream, value) in enumerate(ledger.messages(n)):
            sent.setdefault(stream, []).append((b"", value))
            ledger.acknowledge(part, n)
    for stream, messages in sent.items():
        place.append(stream, messages)
    counted = Store(tmp_path / "store.db", pane_seconds=LENGTH)
    settings = Settings(pane_seconds=LENGTH, scale="real", champion="champion", features={"n": Feature()})
    tail = Tail(place, counted, settings, finite=True, now=lambda: START + 1000.0)
    while tail.step(timeout=0.0):
        pass
    tail.finish()
    return counted


def test_the_bin_of_a_number_is_that_of_the_grid():
    numbers = [*np.random.default_rng(1).lognormal(0, 8, 1000), 1.0, 0.75, 2.0**-40]
    assert [bin_of(x) for x in numbers] == bins_of(numbers).tolist()
    assert [bin_of(-x) for x in numbers] == bins_of([-x for x in numbers]).tolist()


def test_what_was_counted_once_is_neither_lost_nor_doubled(store, ledger):
    assert ledger.audit(store, START + PANES * LENGTH) == (TOTAL, [], [], [])


@pytest.mark.parametrize(
    "series",
    [
        Series("score", "canary", "1"),
        Series("difference", "champion", "1", "canary"),
        Series("feature.n"),
        Series("latency.answer", "champion", "1"),
    ],
)
@pytest.mark.parametrize("times", [0, 2])
def test_an_id_that_is_lost_or_doubled_in_any_histogram_is_named(store, ledger, series, times):
    pane = store.pane(START + LENGTH, START + 2 * LENGTH)
    bins, counts = pane[series]
    changed = counts.copy()
    changed[7 if bins[0] > 0 else -8] = times
    store.put(START + LENGTH, pane | {series: Counts.of(bins, changed)})
    found = ledger.audit(store, START + PANES * LENGTH)
    label = " ".join(filter(None, (series.measure, series.model)))
    named = [f"{ledger.id_of(LENGTH * RATE + 7)} of {label}"]
    assert (found.lost, found.doubled) == ((named, []) if times == 0 else ([], named))


def test_what_was_never_acknowledged_is_not_lost(store, ledger):
    ledger.acknowledged[:, 5] = False
    pane = store.pane(START, START + LENGTH)
    bins, counts = pane[Series("feature.n")]
    store.put(START, pane | {Series("feature.n"): Counts.of(np.delete(bins, 5), np.delete(counts, 5))})
    found = ledger.audit(store, START + PANES * LENGTH)
    assert (found.ids, found.lost) == (TOTAL - 1, [])
    assert len(SENT) == len(ledger.acknowledged)
