"""Under traffic that goes on and on, memory stays flat, and every id is counted once."""

import statistics
import time

import pytest

from .ledger import SENT, Ledger
from .observing import make_topics
from .table import chosen
from .traffic import Traffic

pytestmark = [pytest.mark.integration, pytest.mark.faults]

SECONDS = chosen(ci=60, nightly=3600)
WARM_UP_SECONDS = chosen(ci=20, nightly=300)
RATE = chosen(ci=200, nightly=1_000)  # requests; five messages each
GROWTH = 0.10


def test_memory_stays_flat(servers, observe, faults):
    # What was read is not kept: an hour of it would be many gigabytes.
    make_topics(servers, **{"retention.ms": "300000", "segment.ms": "60000"})
    ledger = Ledger(RATE)
    sides = [observe(servers), observe(servers, workers=2)]
    curves = {}
    with Traffic(servers, ledger):
        for side in sides:
            side.start()
        started = time.monotonic()
        while time.monotonic() < started + SECONDS:
            time.sleep(1)
            for side in sides:
                for name in side.names:
                    curves.setdefault(name, []).append(side.processes.rss(name) / 2**20)
        sent = ledger.acknowledged.sum() / (time.time() - ledger.start)
        found = [side.audit(ledger, recounted=False) for side in sides]
    assert [side.died() for side in sides] == [[], []]
    grown = {name: _growth(curve[WARM_UP_SECONDS:]) for name, curve in curves.items()}
    for number, side in enumerate(sides):
        said = [f"{name} {_points(curves[name])} MiB ({grown[name]:+.1%})" for name in side.names]
        faults.survived(
            f"soak ({side.form})",
            rounds=1,
            ids=found[number].ids,
            lost=found[number].lost,
            doubled=found[number].doubled,
            note=f"{SECONDS / 60:.0f} minutes at {sent:,.0f} events/s; {side.late():,} late; memory: {'; '.join(said)}",
        )
    assert ledger.acknowledged.sum() > 0.9 * RATE * len(SENT) * SECONDS
    assert {name: round(growth, 3) for name, growth in grown.items() if growth > GROWTH} == {}


def _growth(curve):
    """Give by how much the last quarter lies above the first."""
    quarter = len(curve) // 4
    return statistics.median(curve[-quarter:]) / statistics.median(curve[:quarter]) - 1


def _points(curve):
    """Give eight points of a curve, from its beginning to its end."""
    return " ".join(f"{curve[round(i * (len(curve) - 1) / 7)]:.0f}" for i in range(8))
