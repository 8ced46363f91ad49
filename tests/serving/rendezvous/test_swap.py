"""A swap of the rendezvous: what lies before the token is the old instance's, what lies after it the new one's."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birdwatch.records import Control, Decision, Result, Token, decode, encode
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.rendezvous import rendezvous
from birdwatch.serving.rendezvous.rendezvous import Rendezvous
from birdwatch.testing import FakeClock, MemoryStreams, a_request, a_score

SCHEDULE = parse_schedule({"default": 0.1, "tiers": [{"models": ["m"]}]}, place="test")
NAMES = ("rendezvous", "second")


class KilledError(Exception):
    """The process is no more."""


class Place(MemoryStreams):
    """Streams that know who writes, and that kill a writer before or after a write of its."""

    def __init__(self, clock):
        super().__init__(clock=clock, sleep=clock.sleep)
        self.writer = ""
        self.wrote = []
        self.kill = None

    def append(self, stream, messages):
        messages = list(messages)
        doomed = self.writer and messages
        if self.kill == "before" and doomed:
            raise KilledError
        super().append(stream, messages)
        self.wrote += [(self.writer, stream, value) for _, value in messages]
        if self.kill == "after" and doomed:
            raise KilledError


class Stage:
    """Both instances, what is asked of them, and their deaths."""

    def __init__(self):
        self.clock = FakeClock(1_368_532_800.0)
        self.place = Place(self.clock)
        self.instances = {name: self.started(name) for name in NAMES}
        self.asked = {}  # id → whether it lies after the token
        self.cut = False

    def started(self, name):
        while True:
            try:
                self.place.writer = name
                instance = Rendezvous(self.place, SCHEDULE, name=name, clock=self.clock)
                instance.start()
            except KilledError:
                self.place.kill = None
                continue
            finally:
                self.place.writer = ""
            return instance

    def step(self, name):
        self.place.writer = name
        self.instances[name].step(0.0)
        self.place.writer = ""

    def kill(self, name, when):
        """Let an instance go on until it writes, and kill it right before or after that."""
        self.place.kill = when
        try:
            for _ in range(20):
                self.step(name)
        except KilledError:
            self.place.kill = None
            self.instances[name] = self.started(name)
        finally:
            self.place.writer, self.place.kill = "", None

    def ask(self):
        request_id = f"r{len(self.asked)}"
        self.asked[request_id] = self.cut
        request = a_request(id=request_id, received_ts=self.clock(), deadline_seconds=1.0)
        self.place.append("requests", [(request_id.encode(), encode(request))])

    def score(self, number):
        request_id = f"r{number}"  # it may not have been asked yet
        self.place.append("scores", [(b"", encode(a_score(request_id=request_id, model="m", score=0.5)))])

    def swap(self):
        if not self.cut:
            self.place.broadcast("requests", b"t", encode(Token(token="t", component="rendezvous", to="second")))
            self.cut = True

    def finish(self):
        for round_ in range(60):
            self.clock.sleep(0.5 if round_ % 10 == 0 else 0.0)
            for name in NAMES:
                self.step(name)

    def written(self, stream, kind):
        return [(who, decode(value, kind)) for who, where, value in self.place.wrote if where == stream]


@pytest.fixture(autouse=True, scope="module")
def few_at_a_time():
    """Let an instance read few messages in a step, so that much lies between two of its writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendezvous, "_BATCH", 2)
        yield


def check(stage):
    answered = stage.written("results", Result)
    expected = {request_id: NAMES[after] for request_id, after in stage.asked.items()}
    assert sorted(result.request_id for _, result in answered) == sorted(expected)  # none lost, none doubled
    assert {result.request_id: who for who, result in answered} == expected
    decided = stage.written("metrics", Decision)
    assert {decision.request_id: who for who, decision in decided} == expected
    assert len({decision.request_id for _, decision in decided}) == len(expected)


def test_old_answers_all_before_the_token_and_new_all_after():
    stage = Stage()
    for _ in range(3):
        stage.ask()
    stage.swap()
    for _ in range(3):
        stage.ask()
    for number in range(6):
        stage.score(number)
    stage.finish()
    check(stage)
    [(who, swapped)] = [(who, c) for who, c in stage.written("control", Control) if c.action == "swapped"]
    assert (who, swapped.params) == (
        "second",
        {"component": "rendezvous", "token": "t", "to": "second", "at": {"0": 3}},
    )


def test_after_a_long_time_both_still_know_whose_turn_it_is():
    stage = Stage()
    stage.ask()
    stage.swap()
    stage.finish()
    for _ in range(200):
        stage.clock.sleep(1.0)
        for name in NAMES:
            stage.step(name)
    stage.instances = {name: stage.started(name) for name in NAMES}
    stage.ask()
    stage.finish()
    check(stage)


def test_with_the_old_one_dead_the_new_one_takes_over_all_the_same():
    stage = Stage()
    stage.swap()
    stage.ask()
    stage.score(0)
    for _ in range(20):
        stage.clock.sleep(0.1)
        stage.step("second")
    check(stage)


def test_who_is_not_in_charge_puts_no_schedule_on_control():
    stage = Stage()
    assert [who for who, c in stage.written("control", Control) if c.action == "schedule"] == ["rendezvous"]


def test_the_schedule_of_the_new_one_is_in_force_from_the_takeover_on():
    stage = Stage()
    other = SCHEDULE.model_copy(update={"default": 0.9, "version": "B"})
    stage.place.writer = "second"
    stage.instances["second"] = Rendezvous(stage.place, other, name="second", clock=stage.clock)
    stage.instances["second"].start()
    stage.place.writer = ""
    versions = [c.version for _, c in stage.written("control", Control) if c.action == "schedule"]
    assert versions == ["1"]
    stage.swap()
    stage.finish()
    versions = [c.version for _, c in stage.written("control", Control) if c.action == "schedule"]
    assert versions == ["1", "B"]


events = st.one_of(
    st.just(("ask",)),
    st.tuples(st.just("score"), st.integers(0, 12)),
    st.tuples(st.just("step"), st.sampled_from(NAMES)),
    st.tuples(st.just("kill"), st.sampled_from(NAMES), st.sampled_from(["before", "after"])),
    st.tuples(st.just("wait"), st.floats(0.0, 0.6)),
    st.just(("swap",)),
)


@pytest.mark.parametrize("swaps", [True, False])
@given(happens=st.lists(events, max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_none_is_lost_or_doubled_whenever_either_is_killed(swaps, happens):
    stage = Stage()
    for event, *details in happens:
        if event == "wait":
            stage.clock.sleep(details[0])
        elif event != "swap" or swaps:
            getattr(stage, event)(*details)
    stage.finish()
    check(stage)
