"""Brokers die, and come back: what they acknowledged is counted once, by the same processes as before."""

import random
import time

import pytest

from .ledger import Ledger
from .observing import make_topics
from .table import chosen
from .traffic import Traffic

pytestmark = [pytest.mark.integration, pytest.mark.faults]

KILLS = chosen(ci=1, nightly=12)
GONE_SECONDS = chosen(ci=15, nightly=60)
LOSSES = chosen(ci=1, nightly=12)


@pytest.fixture
def watch(observe, faults):
    """Lets one tail, and workers with a judge, watch the same traffic while something is broken, again and again."""

    def watch(servers, breaking, fault, note=""):
        ledger = Ledger(rate=100)
        sides = [observe(servers), observe(servers, workers=2)]
        with Traffic(servers, ledger):
            for side in sides:
                side.start()
            alive = [[side.alive(over) for side in sides] for over in breaking(sides)]
            found = [side.audit(ledger) for side in sides]
        assert [side.died() for side in sides] == [[], []]
        for number, side in enumerate(sides):
            faults.survived(
                f"{fault} ({side.form})",
                rounds=len(alive),
                ids=found[number].ids,
                lost=found[number].lost,
                doubled=found[number].doubled,
                alive=[times[number] for times in alive],
                note=f"{note}{side.late():,} messages were late",
            )

    return watch


def test_a_broker_is_killed_and_started_again(broker, watch):
    chance = random.Random(2)

    def breaking(_sides):
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, 1))
            broker.kill()
            broker.start()
            yield time.time()

    make_topics(broker.address)
    watch(broker.address, breaking, "broker killed and started again")


def test_a_broker_is_gone_for_a_while(broker, watch):
    def breaking(_sides):
        broker.kill()
        time.sleep(GONE_SECONDS)
        broker.start()
        yield time.time()

    make_topics(broker.address)
    watch(broker.address, breaking, "broker gone for a minute", f"{GONE_SECONDS} s; ")


def test_a_cluster_of_three_loses_one(brokers, watch):
    def breaking(sides):
        for number in range(LOSSES):
            lost = cluster.brokers[number % 3]
            lost.kill()
            yield time.time()  # the fault goes on, and so do the others
            lost.start(wait=False)
            lost.await_(3)
            for side in sides:
                side.alive(time.time())

    with brokers(3) as cluster:
        make_topics(cluster.address, replicas=3)
        watch(cluster.address, breaking, "one of three brokers killed", "alive again while it is dead; ")
