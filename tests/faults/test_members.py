"""Members of the group come, go, and are stopped for so long that others take their place: every id is counted once."""

import random
import signal
import time

import pytest

from .ledger import Ledger
from .observing import make_topics
from .processes import wait_for
from .table import chosen
from .traffic import Traffic

pytestmark = [pytest.mark.integration, pytest.mark.faults]

STORM_SECONDS = chosen(ci=10, nightly=60)
STORMS = chosen(ci=1, nightly=3)
STOPS = chosen(ci=1, nightly=10)
SESSION_SECONDS = 3
SHORT = f"session.timeout.ms={SESSION_SECONDS}000&heartbeat.interval.ms=500"


def test_a_worker_joins_or_leaves_every_second(servers, observe, faults):
    chance, alive, changes = random.Random(3), [], 0
    make_topics(servers, partitions=4)
    watching = observe(servers, workers=2, properties=SHORT)
    ledger = Ledger(rate=100)
    with Traffic(servers, ledger):
        watching.start()
        for storm in range(STORMS):
            extra: list[str] = []
            for second in range(STORM_SECONDS):
                tick = time.monotonic() + 1
                if extra and (len(extra) == 3 or chance.random() < 0.5):
                    # Most leave, some die.
                    how = chance.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGKILL])
                    watching.processes.kill(extra.pop(chance.randrange(len(extra))), how)
                else:
                    extra.append(f"worker-{storm}-{second}")
                    watching.launch(extra[-1])
                changes += 1
                time.sleep(max(0.0, tick - time.monotonic()))
            for name in extra:
                watching.processes.kill(name, signal.SIGTERM)
            alive.append(watching.alive(time.time()))
        found = watching.audit(ledger)
    assert watching.died() == []
    faults.survived(
        "rebalance storm",
        rounds=changes,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        alive=alive,
        note=f"a worker more or less every second for {STORM_SECONDS} s, {STORMS} times; late: {watching.late():,}",
    )


def test_a_worker_that_was_stopped_beyond_its_session_writes_nothing_twice(servers, observe, faults):
    chance, alive = random.Random(4), []
    make_topics(servers, partitions=2)
    watching = observe(servers, workers=2, properties=SHORT)
    run, ledger = watching.processes, Ledger(rate=100)
    with Traffic(servers, ledger):
        watching.start()
        for _ in range(STOPS):
            zombie = chance.choice(watching.workers)
            run.signal(zombie, signal.SIGSTOP)
            alive.append(watching.alive(time.time()))  # the others have taken its place
            time.sleep(SESSION_SECONDS)
            run.signal(zombie, signal.SIGCONT)
            watching.alive(time.time() + SESSION_SECONDS)
        found = watching.audit(ledger)
    assert watching.died() == []
    faults.survived(
        "SIGSTOP of a worker beyond its session, then SIGCONT",
        rounds=STOPS,
        ids=found.ids,
        lost=found.lost,
        doubled=found.doubled,
        alive=alive,
        note=f"alive again, by the others, since it was stopped; the session lasts {SESSION_SECONDS} s",
    )


def test_who_was_replaced_while_stopped_writes_nothing_twice(servers, observe, faults):
    chance = random.Random(5)
    make_topics(servers)
    victims = {"tail": observe(servers), "judge": observe(servers, workers=1)}
    ledger, alive = Ledger(rate=100), {victim: [] for victim in victims}
    with Traffic(servers, ledger):
        for watching in victims.values():
            watching.start()
        for _ in range(STOPS):
            for victim, watching in victims.items():
                run = watching.processes
                time.sleep(chance.uniform(0, 0.5))
                run.signal(victim, signal.SIGSTOP)
                while watching.locked():  # in the midst of a transaction: nobody can take its place
                    run.signal(victim, signal.SIGCONT)
                    time.sleep(0.01)
                    run.signal(victim, signal.SIGSTOP)
                zombie = run.put_aside(victim)
                alive[victim].append(watching.alive(watching.launch(victim)))
                zombie.send_signal(signal.SIGCONT)
                wait_for(lambda zombie=zombie: zombie.poll() is not None, what=watching.last_words)
                assert "has taken over" in run.said(victim)
        found = {victim: watching.audit(ledger) for victim, watching in victims.items()}
    for victim, watching in victims.items():
        assert watching.died() == []
        faults.survived(
            f"SIGSTOP of the {victim}, another one on its store, SIGCONT",
            rounds=STOPS,
            ids=found[victim].ids,
            lost=found[victim].lost,
            doubled=found[victim].doubled,
            alive=alive[victim],
            note="the one that was stopped ends and says who has taken over",
        )
