"""Brokers die, and come back: what they acknowledged is counted once, by the same processes as before."""

import random
import time

import pytest

from .conftest import brokers, make_topics
from .ledger import Ledger
from .table import chosen
from .traffic import Traffic

pytestmark = [pytest.mark.integration, pytest.mark.faults]

KILLS = chosen(ci=1, nightly=12)
GONE_SECONDS = chosen(ci=15, nightly=60)
LOSSES = chosen(ci=2, nightly=12)


def test_a_broker_is_killed_and_started_again(broker, observe, faults):
    chance = random.Random(2)
    make_topics(broker.address, partitions=2)
    watching = observe(f"kafka://{broker.address}")
    ledger, alive = Ledger(rate=100, pane_seconds=1), []
    with Traffic(broker.address, ledger):
        watching.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, 1))
            broker.kill()
            broker.start()
            alive.append(watching.alive(time.time()))
        found = watching.audit(ledger, int(time.time()), broker.address)
    assert watching.died() == []
    faults.survived(
        f"broker killed and started again ({watching.form})",
        rounds=KILLS,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        alive=alive,
    )


def test_a_broker_is_gone_for_a_while(broker, observe, faults):
    make_topics(broker.address, partitions=2)
    watching = observe(f"kafka://{broker.address}")
    ledger = Ledger(rate=100, pane_seconds=1)
    with Traffic(broker.address, ledger):
        watching.start()
        broker.kill()
        time.sleep(GONE_SECONDS)
        broker.start()
        alive = watching.alive(time.time())
        found = watching.audit(ledger, int(time.time()), broker.address)
    assert watching.died() == []
    faults.survived(
        f"broker gone for a minute ({watching.form})",
        rounds=1,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        alive=[alive],
        note=f"{GONE_SECONDS} s; what came late was counted as late: {watching.late():,}",
    )


def test_a_cluster_of_three_loses_one(observe, faults):
    with brokers(3) as cluster:
        make_topics(cluster.address, partitions=2, replicas=3)
        watching = observe(f"kafka://{cluster.address}")
        ledger, alive = Ledger(rate=100, pane_seconds=1), []
        with Traffic(cluster.address, ledger):
            watching.start()
            for number in range(LOSSES):
                lost = cluster.brokers[number % 3]
                lost.kill()
                alive.append(watching.alive(time.time()))  # the fault goes on, and so do the others
                lost.start(wait=False)
                lost.await_(3)
                watching.alive(time.time())
            found = watching.audit(ledger, int(time.time()), cluster.address)
    assert watching.died() == []
    faults.survived(
        f"one of three brokers killed ({watching.form})",
        rounds=LOSSES,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        alive=alive,
        note="alive again while that broker is dead",
    )
