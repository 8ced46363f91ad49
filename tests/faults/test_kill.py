"""Killed with -9 at any moment, and started again, the processes lose nothing and count nothing twice."""

import random
import signal
import time

import pytest

from .die_at import POINTS
from .ledger import Ledger
from .observing import make_topics
from .processes import wait_for
from .table import chosen
from .traffic import Traffic

pytestmark = [pytest.mark.integration, pytest.mark.faults]

MOMENTS = chosen(ci=2, nightly=50)
AT_EACH_POINT = chosen(ci=1, nightly=12)
# The group takes a worker for dead after six seconds, and the broker its transaction after ten.
SOONER = chosen(ci="session.timeout.ms=2000&heartbeat.interval.ms=500&transaction.timeout.ms=2000", nightly="")


@pytest.mark.parametrize("workers", [0, 2], ids=["tail", "workers"])
def test_processes_that_are_killed_count_every_id_once(workers, servers, observe, faults):
    chance = random.Random(1)
    make_topics(servers)
    watching = observe(servers, workers=workers, properties=SOONER if workers else "")
    run, ledger, alive = watching.processes, Ledger(rate=100), []
    points = [(point, name) for point, on in POINTS.items() for name in watching.names if name.partition("-")[0] in on]
    points = [
        chance.choice([place for place in points if place[0] == point]) for point in sorted({p for p, _ in points})
    ]
    with Traffic(servers, ledger):
        watching.start()
        for _ in range(MOMENTS):
            victim = chance.choice(watching.names)
            run.kill(victim)
            started = watching.launch(victim)
            if chance.random() < 0.2:  # the next one comes while it starts
                time.sleep(chance.uniform(0, 2))
            else:
                alive.append(watching.alive(started))
                time.sleep(chance.uniform(0, 0.5))
        for point, victim in sorted(points * AT_EACH_POINT):
            run.kill(victim)
            watching.launch(victim, die_at=(point, chance.randint(1, 5)))
            wait_for(lambda victim=victim: run.ended(victim) is not None, what=watching.last_words)
            assert run.kill(victim) == -signal.SIGKILL, run.said(victim)[-2000:]
            alive.append(watching.alive(watching.launch(victim)))
        found = watching.audit(ledger)
    assert watching.died() == []
    faults.survived(
        f"kill -9 ({watching.form})",
        rounds=MOMENTS + len(points) * AT_EACH_POINT,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        alive=alive,
        note=f"{MOMENTS} at random moments, the others {', '.join(sorted({point for point, _ in points}))}",
    )
