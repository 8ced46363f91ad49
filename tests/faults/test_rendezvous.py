"""Rendezvous that share the lanes are killed, stopped, joined and left: every request is answered once."""

import random
import signal
import time

import pytest

from .asking import Asking
from .die_at import POINTS
from .observing import make_topics
from .processes import Processes, wait_for
from .table import chosen

pytestmark = [pytest.mark.integration, pytest.mark.faults]

MOMENTS = chosen(ci=4, nightly=40)
AT_EACH_POINT = chosen(ci=1, nightly=8)
CHANGES = chosen(ci=6, nightly=60)
STOPS = chosen(ci=2, nightly=15)
LANES = 4
SESSION_SECONDS = 2
SHORT = f"session.timeout.ms={SESSION_SECONDS}000&heartbeat.interval.ms=400"
POINTS_OF_RENDEZVOUS = sorted(point for point, on in POINTS.items() if "rendezvous" in on)
SCHEDULE = """
version: 1
deadline_seconds: 2
return_margin_seconds: 0.5
default: -1
tiers:
  - models: [m]
"""


class Answering:
    """Some rendezvous of one name."""

    def __init__(self, folder, servers):
        self.processes = Processes(folder)
        self._address = f"kafka://{servers}?{SHORT}"
        (folder / "schedule.yaml").write_text(SCHEDULE)

    def launch(self, name, die_at=None):
        """Start one; give when it says that it is ready."""
        before = self._ready(name)
        at = ("--streams", self._address, "--schedule", "schedule.yaml", "--horizon-seconds", "6")
        self.processes.start(name, "serve", "rendezvous", *at, die_at=die_at)
        wait_for(
            lambda: self._ready(name) > before or self.processes.ended(name) is not None, 60, lambda: self.said(name)
        )
        return time.time()

    def _ready(self, name):
        return self._all(name).count("ready\n")

    def said(self, name):
        return self._all(name)[-3000:]

    def _all(self, name):
        try:
            return self.processes.said(name)
        except FileNotFoundError:
            return ""

    def died(self):
        """Name those that have ended by themselves."""
        return [name for name in self.processes.names() if self.processes.ended(name) is not None]


@pytest.fixture
def answering(tmp_path, servers):
    make_topics(servers, partitions=LANES)
    made = Answering(tmp_path, servers)
    with made.processes:
        yield made


def test_rendezvous_that_are_killed_answer_every_request_once(answering, servers, faults):
    chance, alive = random.Random(21), []
    names, run = ["one", "two"], answering.processes
    with Asking(servers, LANES) as asking:
        for name in names:
            answering.launch(name)
        asking.alive(time.time())
        for _ in range(MOMENTS):
            time.sleep(chance.uniform(0, 0.5))
            victim = chance.choice(names)
            run.kill(victim)
            started = time.time()
            answering.launch(victim)
            alive.append(asking.alive(started))
        for turn, point in enumerate(POINTS_OF_RENDEZVOUS * AT_EACH_POINT):
            victim = f"joined-{turn}"
            answering.launch(victim, die_at=(point, chance.randint(1, 5)))
            wait_for(
                lambda victim=victim: run.ended(victim) is not None,
                what=lambda v=victim, p=point: (p, answering.said(v)),
            )
            died = time.time()
            assert run.kill(victim) == -signal.SIGKILL, answering.said(victim)
            alive.append(asking.alive(died))  # the others have its lanes
        heard = asking.audit()
    assert answering.died() == []
    assert heard.contradicted == []
    faults.survived(
        "kill -9 of one of two or three rendezvous",
        rounds=MOMENTS + len(POINTS_OF_RENDEZVOUS) * AT_EACH_POINT,
        ids=heard.ids,
        lost=heard.lost,
        doubled=heard.doubled,
        alive=alive,
        note=f"{MOMENTS} at random moments, the others {', '.join(POINTS_OF_RENDEZVOUS)}; {LANES} lanes, a session of {SESSION_SECONDS} s",
    )


def test_rendezvous_that_join_and_leave_answer_every_request_once(answering, servers, faults):
    chance, alive = random.Random(22), []
    run, there = answering.processes, ["one"]
    with Asking(servers, LANES) as asking:
        answering.launch("one")
        for change in range(CHANGES):
            if len(there) == 1 or (len(there) < 4 and chance.random() < 0.5):
                there.append(f"joined-{change}")
                answering.launch(there[-1])
            else:
                assert run.kill(there.pop(chance.randrange(len(there))), signal.SIGTERM) == 0
            alive.append(asking.alive(time.time()))
        heard = asking.audit()
    assert answering.died() == []
    assert heard.contradicted == []
    faults.survived(
        "a rendezvous joins or leaves",
        rounds=CHANGES,
        ids=heard.ids,
        lost=heard.lost,
        doubled=heard.doubled,
        alive=alive,
        note=f"up to 4 share {LANES} lanes",
    )


def test_a_rendezvous_that_is_stopped_with_answers_in_hand_writes_none_of_them(answering, servers, faults):
    chance, alive = random.Random(23), []
    run = answering.processes
    with Asking(servers, LANES) as asking:
        answering.launch("one")
        for stop in range(STOPS):
            zombie = f"stopped-{stop}"
            answering.launch(zombie, die_at=("stopped with results in hand", chance.randint(20, 60)))
            wait_for(lambda zombie=zombie: run.stopped(zombie), what=lambda z=zombie: answering.said(z))
            alive.append(asking.alive(time.time()))  # the other has its lanes
            run.signal(zombie, signal.SIGCONT)
            asking.alive(time.time() + SESSION_SECONDS)
            assert run.kill(zombie, signal.SIGTERM) == 0
        heard = asking.audit()
    assert answering.died() == []
    assert heard.contradicted == []
    faults.survived(
        "SIGSTOP of a rendezvous with answers in hand beyond its session, then SIGCONT",
        rounds=STOPS,
        ids=heard.ids,
        lost=heard.lost,
        doubled=heard.doubled,
        alive=alive,
        note=f"alive again, by the other, since it was stopped; the session lasts {SESSION_SECONDS} s",
    )
