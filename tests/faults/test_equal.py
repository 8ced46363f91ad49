"""However many tails share the partitions, and whatever happens to them: the judge's panes are those of one tail, bit for bit."""

import time

import pytest

from .ledger import Ledger
from .observing import make_topics
from .processes import wait_for
from .traffic import Traffic

pytestmark = [pytest.mark.integration]

LANES = 4


def test_three_tails_and_a_judge_count_what_one_tail_counts_bit_for_bit(servers, observe):
    make_topics(servers, partitions=LANES)
    # Enough lateness that nothing is late: how late it may be is for other tests.
    one = observe(servers, lateness_seconds=8)
    many = observe(servers, workers=3, lateness_seconds=8)
    with Traffic(servers, Ledger(rate=150)):
        one.start()
        many.start()
        many.processes.kill("worker-1")
        many.processes.kill("judge")
        many.launch("worker-4")
        many.launch("judge")
        many.alive(time.time())
        until = int(time.time())
        wait_for(lambda: min(one.closed(), many.closed()) >= until, what=many.last_words)
    since = max(one.store.closed_range()[0], many.store.closed_range()[0])
    assert one.late() == many.late() == 0

    def panes(side):
        return {at: sums for at, sums in side.store.digest().items() if since <= at[0] < until}

    assert len({start for start, _ in panes(one)}) > 10
    assert {series.measure for _, series in panes(one)} >= {"counts", "score", "pair", "joint", "feature.n"}
    assert panes(many) == panes(one)
