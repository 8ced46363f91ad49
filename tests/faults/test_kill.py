"""Killed with -9 at any moment, and started again, the tail loses nothing and counts nothing twice."""

import random
import signal
import time

import pytest

from .conftest import make_topics
from .die_at import POINTS
from .ledger import Ledger
from .processes import wait_for
from .table import chosen
from .traffic import Traffic

pytestmark = [pytest.mark.integration, pytest.mark.faults]

MOMENTS = chosen(ci=4, nightly=60)
AT_EACH_POINT = chosen(ci=1, nightly=15)


def test_a_tail_that_is_killed_counts_every_id_once(servers, observe, faults):
    chance = random.Random(1)
    make_topics(servers, partitions=2)
    watching = observe(f"kafka://{servers}")
    run, ledger = watching.processes, Ledger(rate=100, pane_seconds=1)
    alive, rounds = [], 0
    with Traffic(servers, ledger):
        watching.start()
        for _ in range(MOMENTS):
            run.kill("tail")
            rounds += 1
            started = run.start("tail", "tail")
            if chance.random() < 0.2:  # again, while it starts
                time.sleep(chance.uniform(0, 2))
            else:
                alive.append(watching.alive(started))
                time.sleep(chance.uniform(0, 0.5))
        for point in [point for point in POINTS if "state" in point] * AT_EACH_POINT:
            run.kill("tail")
            run.start("tail", "tail", die_at=(point, chance.randint(1, 40)))
            wait_for(lambda: run.ended("tail") is not None, what=watching.last_words)
            assert run.kill("tail") == -signal.SIGKILL, run.said("tail")[-2000:]
            rounds += 1
            alive.append(watching.alive(run.start("tail", "tail")))
        until = int(time.time())
        found = watching.audit(ledger, until, servers)
    faults.survived(
        "kill -9 of the tail", rounds=rounds, ids=found.ids, lost=found.lost, doubled=found.doubled, alive=alive
    )
