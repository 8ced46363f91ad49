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

    def watch(servers, breaking, notes):
        ledger = Ledger(rate=100)
        sides = [observe(servers), observe(servers, workers=2)]
        with Traffic(servers, ledger):
            for side in sides:
                side.start()
            alive = [(fault, [side.alive(over) for side in sides]) for fault, over in breaking(sides)]
            found = [side.audit(ledger) for side in sides]
        assert [side.died() for side in sides] == [[], []]
        for number, side in enumerate(sides):
            for fault, note in notes.items():
                seconds = [times[number] for name, times in alive if name == fault]
                faults.survived(
                    f"{fault} ({side.form})",
                    rounds=len(seconds),
                    ids=found[number].ids,
                    lost=found[number].lost,
                    doubled=found[number].doubled,
                    alive=seconds,
                    note=f"{note}{side.late():,} messages were late",
                )

    return watch


def test_a_broker_dies_and_comes_back_at_once_or_after_a_while(broker, watch):
    chance = random.Random(2)
    at_once, later = "broker killed and started again", "broker gone for a minute"

    def breaking(_sides):
        for _ in range(KILLS):
            time.sleep(chance.uniform(0, 1))
            broker.kill()
            broker.start()
            yield at_once, time.time()
        broker.kill()
        time.sleep(GONE_SECONDS)
        broker.start()
        yield later, time.time()

    make_topics(broker.address)
    watch(broker.address, breaking, {at_once: "", later: f"{GONE_SECONDS} s; "})


def test_a_cluster_of_three_loses_one(brokers, watch):
    fault = "one of three brokers killed"

    def breaking(sides):
        for number in range(LOSSES):
            lost = cluster.brokers[number % 3]
            lost.kill()
            yield fault, time.time()  # it stays away, and the others go on
            if number + 1 < LOSSES:
                lost.start(wait=False)
                lost.await_(3)
                for side in sides:
                    side.alive(time.time())

    with brokers(3) as cluster:
        make_topics(cluster.address, replicas=3)
        watch(cluster.address, breaking, {fault: "alive again while it is dead; "})
