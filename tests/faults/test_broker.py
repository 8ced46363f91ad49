"""Brokers die, and come back: what they acknowledged is counted once, by the same processes as before."""

import random
import time

import pytest

from .ledger import Ledger
from .observing import make_topics
from .table import chosen
from .traffic import Traffic

pytestmark = [pytest.mark.integration, pytest.mark.faults]

FORMS = [pytest.param(0, id="tail"), pytest.param(2, id="workers")]
KILLS = chosen(ci=1, nightly=12)
GONE_SECONDS = chosen(ci=15, nightly=60)
LOSSES = chosen(ci=2, nightly=12)


@pytest.mark.parametrize("workers", FORMS)
def test_a_broker_is_killed_and_started_again(workers, broker, observe, faults):
    chance = random.Random(2)
    make_topics(broker.address)
    watching = observe(broker.address, workers=workers)
    ledger, alive = Ledger(rate=100), []
    with Traffic(broker.address, ledger):
        watching.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, 1))
            broker.kill()
            broker.start()
            alive.append(watching.alive(time.time()))
        found = watching.audit(ledger)
    assert watching.died() == []
    faults.survived(
        f"broker killed and started again ({watching.form})",
        rounds=KILLS,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        alive=alive,
    )


@pytest.mark.parametrize("workers", FORMS)
def test_a_broker_is_gone_for_a_while(workers, broker, observe, faults):
    make_topics(broker.address)
    watching = observe(broker.address, workers=workers)
    ledger = Ledger(rate=100)
    with Traffic(broker.address, ledger):
        watching.start()
        broker.kill()
        time.sleep(GONE_SECONDS)
        broker.start()
        alive = watching.alive(time.time())
        found = watching.audit(ledger)
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


@pytest.mark.parametrize("workers", FORMS)
def test_a_cluster_of_three_loses_one(workers, brokers, observe, faults):
    with brokers(3) as cluster:
        make_topics(cluster.address, replicas=3)
        watching = observe(cluster.address, workers=workers)
        ledger, alive = Ledger(rate=100), []
        with Traffic(cluster.address, ledger):
            watching.start()
            for number in range(LOSSES):
                lost = cluster.brokers[number % 3]
                lost.kill()
                alive.append(watching.alive(time.time()))  # the fault goes on, and so do the others
                lost.start(wait=False)
                lost.await_(3)
                watching.alive(time.time())
            found = watching.audit(ledger)
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
