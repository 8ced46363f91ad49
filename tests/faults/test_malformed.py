"""However many messages are malformed, memory stays bounded, each is a dead letter, and the good ones are counted."""

import random
import signal
import time
from itertools import cycle, islice

import pytest

from birdwatch.streams import open_streams

from .ledger import SENT, STREAMS, Ledger
from .malformed import letters, malformed
from .observing import make_topics
from .processes import wait_for
from .table import chosen
from .traffic import Traffic

pytestmark = [pytest.mark.integration, pytest.mark.faults]

BAD = chosen(ci=50_000, nightly=1_000_000)
GOOD = BAD // len(SENT)  # requests: as many good messages as bad ones
RATE = chosen(ci=500, nightly=1_000)


def test_malformed_messages_hold_up_nothing(servers, observe, faults):
    make_topics(servers)
    watching = observe(servers)
    streams = open_streams(f"kafka://{servers}")
    run, ledger = watching.processes, Ledger(RATE, 1, time.time() - 2 * GOOD / RATE)
    traffic = Traffic(servers, ledger)

    def drained():
        ends = sum(streams.ends(STREAMS).values())
        started = time.monotonic()
        wait_for(lambda: sum(point.position for point in watching.store.checkpoints().values()) >= ends, 600)
        return ends, time.monotonic() - started

    # First good ones alone: how fast that is.
    traffic.send(GOOD)
    traffic.flush()
    run.start("tail", "tail")
    run.ready("tail")
    good, seconds_good = drained()
    before = run.rss("tail")

    # Then as many again, each behind a malformed one.
    run.signal("tail", signal.SIGSTOP)
    bad = cycle(islice(malformed(Ledger(RATE, 1), random.Random(5)), 20_000))
    for n in range(GOOD, 2 * GOOD):
        traffic.send(n + 1)
        for stream, value in islice(bad, len(SENT)):
            traffic.produce(stream, value)
    traffic.flush()
    run.signal("tail", signal.SIGCONT)
    whole, seconds_mixed = drained()
    after = run.rss("tail")

    traffic.skip()
    with traffic:
        found = watching.audit(ledger)
    dead = [letter.key() for letter in letters(servers)]
    share = (good / seconds_mixed) / (good / seconds_good)
    faults.survived(
        "malformed messages",
        rounds=BAD,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        note=f"each a dead letter; {good / seconds_good:,.0f} good messages/s alone, {good / seconds_mixed:,.0f} and as many "
        f"malformed ones together; memory {before / 2**20:.0f} → {after / 2**20:.0f} MiB",
    )
    assert (len(dead), len(set(dead))) == (BAD, BAD)
    assert whole == 2 * good + BAD
    assert after - before < 150 * 2**20
    assert share > 0.02  # what else the machine does is not the test's to say
