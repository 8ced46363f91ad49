"""Several rendezvous of one name share the lanes: whatever becomes of one, no request is lost, none is answered twice."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birdwatch.errors import StreamError
from birdwatch.records import Decision, Result, decode, encode
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.rendezvous import rendezvous
from birdwatch.serving.rendezvous.rendezvous import Rendezvous
from birdwatch.testing import FakeClock, a_request, a_score

from .groups import GroupStreams

SCHEDULE = parse_schedule({"default": 0.1, "tiers": [{"models": ["m"]}]}, place="test")
LONGER_THAN_A_SESSION = 10.0


class KilledError(Exception):
    """The process is no more."""


class Place(GroupStreams):
    """Streams that kill a writer before or after a write of its, or take a write and say that they have not."""

    def __init__(self, clock):
        super().__init__(lanes=4, clock=clock)
        self.fail = None

    def append(self, stream, messages, *, headers=None):
        if self.fail is None or stream not in ("results", "metrics"):
            return super().append(stream, messages, headers=headers)
        when, self.fail = self.fail, None
        if when in ("after", "taken"):
            super().append(stream, messages, headers=headers)
        raise KilledError if when in ("before", "after") else StreamError("nobody knows whether it was taken")


class Stage:
    """Some instances over one log, stepped as the test says."""

    def __init__(self, names="ab"):
        self.clock = FakeClock()
        self.place = Place(self.clock)
        self.instances = {}
        self.stop = None
        self.asked = 0
        for name in names:
            self.join(name)

    def join(self, name):
        if name not in self.instances:
            made = Rendezvous(self.place, SCHEDULE, clock=lambda: self.tell_time(name), sleep=self.clock.sleep)
            made.start()
            self.instances[name] = made

    def leave(self, name):
        if len(self.instances) > 1 and name in self.instances:
            gone = self.instances.pop(name)
            gone.run(lambda: True)
            gone.close()

    def give_up(self, name):
        """Let the group give up a member that it hears nothing of."""
        self.place.groups["rendezvous"].leave(self.instances[name]._reader)

    def kill(self, name, when):
        """Let an instance go on until it writes, and kill it right before or after that."""
        if name not in self.instances:
            return
        self.place.fail = when
        try:
            for _ in range(20):
                self.step(name)
        except KilledError:
            pass
        finally:
            self.place.fail = None
        self.give_up(name)
        del self.instances[name]
        self.join(name)

    def fail(self, name, how):
        """Let a write fail that was taken, or lost, which nobody knows."""
        if name in self.instances:
            self.place.fail = how
            self.run(name, 20)
            self.place.fail = None

    def step(self, name):
        if name in self.instances:
            self.instances[name].step(0.0)

    def run(self, name, steps):
        left = iter(range(steps))
        self.instances[name].run(lambda: next(left, None) is None)

    def pause(self, name, looks):
        """Stop an instance at some moment of its step, until the group has given it up and others have its lanes."""
        if name in self.instances and len(self.instances) > 1:
            self.stop = [name, looks]
            for _ in range(20):
                self.step(name)
            self.stop = None

    def tell_time(self, name):
        """Give the time; a process that is stopped looks at the clock when it goes on."""
        if self.stop is not None and self.stop[0] == name:
            self.stop[1] -= 1
            if self.stop[1] == 0:
                self.stop = None
                self.clock.sleep(LONGER_THAN_A_SESSION)
                self.give_up(name)
                for _ in range(6):
                    for other in self.instances.keys() - {name}:
                        self.step(other)
        return self.clock()

    def ask(self):
        request_id = f"r{self.asked}"
        self.asked += 1
        request = a_request(id=request_id, received_ts=self.clock(), deadline_seconds=1.0)
        self.place.append("requests", [(request_id.encode(), encode(request))])

    def score(self, number):
        request_id = f"r{number}"  # it may not have been asked yet
        score = a_score(request_id=request_id, model="m", score=0.5)
        self.place.append("scores", [(request_id.encode(), encode(score))])

    def steps(self, names, rounds):
        for _ in range(rounds):
            for name in names:
                self.step(name)

    def finish(self):
        for _ in range(8):
            self.clock.sleep(0.5)
            self.steps(list(self.instances), 10)

    def answered(self):
        return [decode(message.value, Result) for message in self.place.read("results")]

    def decided(self):
        return [decode(message.value, Decision) for message in self.place.read("metrics")]


@pytest.fixture(autouse=True, scope="module")
def few_at_a_time():
    """Let an instance read few messages in a step, so that much lies between two of its writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendezvous, "_BATCH", 2)
        yield


def check(stage):
    asked = sorted(f"r{number}" for number in range(stage.asked))
    answers = {result.request_id: result.model for result in stage.answered()}
    assert sorted(result.request_id for result in stage.answered()) == asked  # none lost, none doubled
    assert sorted(decision.request_id for decision in stage.decided()) == asked
    assert {decision.request_id: decision.model for decision in stage.decided()} == answers


def test_members_share_the_lanes_and_answer_each_request_once():
    stage = Stage("abc")
    for number in range(12):
        stage.ask()
        stage.score(number)
    stage.finish()
    check(stage)
    assert sum(1 for each in stage.instances.values() if each.mailboxes.counts["answers", "m"]) > 1


def test_mailboxes_of_lanes_that_were_taken_away_are_answered_by_who_has_them_now():
    stage = Stage("a")
    for _ in range(8):
        stage.ask()
    for _ in range(8):
        stage.step("a")
    stage.join("b")
    stage.finish()
    check(stage)
    a, b = (stage.instances[name].mailboxes.counts for name in "ab")
    assert a["moved_requests", ""] == b["answers", "default"] > 0


def test_one_that_was_stopped_at_any_moment_writes_nothing_after_its_successor():
    for looks in range(1, 60):
        stage = Stage("ab")
        for number in range(8):
            stage.ask()
            stage.score(number)
        stage.pause("a", looks)
        assert stage.stop is None
        stage.finish()
        check(stage)


def test_who_gets_a_lane_after_a_long_while_reads_what_was_written_there_before_it_answers():
    stage = Stage("ab")
    stage.clock.sleep(60.0)
    for _ in range(24):
        stage.ask()
    stage.steps("ab", 20)
    stage.clock.sleep(2.0)
    stage.place.fail = "after"
    with pytest.raises(KilledError):
        stage.step("b")
    stage.give_up("b")
    del stage.instances["b"]
    stage.finish()
    check(stage)


def test_a_lane_that_was_anothers_for_a_moment_of_which_nobody_has_told_is_read_before_it_is_answered():
    stage = Stage("abc")
    for _ in range(24):
        stage.ask()
    stage.finish()
    for _ in range(24):
        stage.ask()
    stage.steps("abc", 20)
    answered = len(stage.answered())
    stage.join("d")  # the third lane, which was the second's, is to be the third's
    stage.steps("bac", 1)
    stage.clock.sleep(2.0)
    stage.steps("c", 20)
    assert len(stage.answered()) > answered
    stage.leave("d")  # before the second has heard
    stage.steps("bca", 1)
    stage.finish()
    check(stage)


@pytest.mark.parametrize("how", ["taken", "lost"])
def test_after_a_write_of_which_nobody_knows_the_log_is_read_again(how):
    stage = Stage("ab")
    for number in range(4):
        stage.ask()
        stage.score(number)
    stage.fail("a", how)
    stage.fail("b", how)
    stage.finish()
    check(stage)


NAMES = "abc"
events = st.one_of(
    st.just(("ask",)),
    st.tuples(st.just("score"), st.integers(0, 12)),
    st.tuples(st.just("step"), st.sampled_from(NAMES)),
    st.tuples(st.just("join"), st.sampled_from(NAMES)),
    st.tuples(st.just("leave"), st.sampled_from(NAMES)),
    st.tuples(st.just("fail"), st.sampled_from(NAMES), st.sampled_from(["taken", "lost"])),
    st.tuples(st.just("pause"), st.sampled_from(NAMES), st.integers(1, 60)),
    st.tuples(st.just("kill"), st.sampled_from(NAMES), st.sampled_from(["before", "after"])),
    st.tuples(st.just("wait"), st.one_of(st.floats(0.0, 0.6), st.just(20.0))),
)


@given(happens=st.lists(events, max_size=40))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_none_is_lost_or_doubled_whoever_joins_leaves_is_killed_or_stopped(happens):
    stage = Stage()
    for event, *details in happens:
        if event == "wait":
            stage.clock.sleep(details[0])
        else:
            getattr(stage, event)(*details)
    stage.finish()
    check(stage)
