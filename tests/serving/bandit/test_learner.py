import itertools
import json
import random
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.errors import StreamError
from birdwatch.records import Snapshot, decode, encode
from birdwatch.serving.bandit.learner import Learner
from birdwatch.serving.snapshots import latest
from birdwatch.streams import Message, Partition, open_streams
from birdwatch.testing import FakeClock, MemoryStreams, a_decision, an_outcome

NOON = 1_368_532_800.0
HOUR, DAY = 3600.0, 86_400.0


@pytest.fixture
def clock():
    return FakeClock(NOON + 10 * DAY)


@pytest.fixture
def streams(clock):
    return MemoryStreams(clock=clock, sleep=clock.sleep)


@pytest.fixture
def start(streams, clock):
    def started(**options):
        learner = Learner(streams, clock=clock, **options)
        learner.start()
        return learner

    return started


def put(streams, stream, *records):
    streams.append(stream, [(r.request_id.encode(), encode(r)) for r in records])


def decide(streams, request_id="r", ts=NOON, **fields):
    put(streams, "metrics", a_decision(request_id=request_id, request_ts=ts, **fields))


def reward(streams, request_id="r", ts=NOON, reward=1.0, later=HOUR):
    put(streams, "outcomes", an_outcome(request_id=request_id, request_ts=ts, ts=ts + later, reward=reward))


def saved(streams):
    return [decode(m.value, Snapshot) for m in streams.reader(["snapshots"]).poll(timeout=0.0)]


def test_each_model_learns_from_its_own_rewards(streams, start):
    learner = start()
    decide(streams, "r1", model="a")
    decide(streams, "r2", model="b")
    reward(streams, "r1", reward=1.0)
    reward(streams, "r2", reward=0.25)
    assert learner.step() == 4
    assert learner.arms == {"a": (2.0, 1.0), "b": (1.25, 1.75)}


def test_it_begins_with_the_prior_and_what_lies_in_the_log(streams, start):
    decide(streams, model="a")
    reward(streams, reward=0.0)
    assert start(prior=(3.0, 4.0)).arms == {"a": (3.0, 5.0)}


def test_evidence_fades_as_later_requests_are_decided(streams, start):
    learner = start(half_life_seconds=HOUR)
    decide(streams, model="a")
    reward(streams)
    decide(streams, "r2", ts=NOON + 2 * HOUR, model="b", reason="default")
    learner.step()
    assert learner.arms == {"a": (1.25, 1.0)}


def test_the_arms_that_a_thread_holds_do_not_change_under_it(streams, start):
    learner = start()
    before = learner.arms
    decide(streams, model="a")
    reward(streams)
    learner.step()
    assert before == {}
    assert learner.arms != {}


def test_what_cannot_be_read_is_passed_by_and_counted(streams, start):
    learner = start()
    streams.append("metrics", [(b"", b"{"), (b"", b'{"request_id": 1}')])
    streams.append("outcomes", [(b"", b"\xff")])
    decide(streams, model="a")
    reward(streams)
    learner.step()
    assert learner.arms == {"a": (2.0, 1.0)}
    assert (learner.counts["unreadable", "metrics"], learner.counts["unreadable", "outcomes"]) == (2, 1)


def test_one_record_in_milliseconds_does_not_let_all_evidence_fade(streams, start):
    learner = start(half_life_seconds=HOUR)
    decide(streams, model="a")
    reward(streams)
    decide(streams, "r2", ts=NOON * 1000, model="a")
    reward(streams, "r2", ts=NOON * 1000)
    learner.step()
    assert learner.arms == {"a": (2.0, 1.0)}
    assert (learner.counts["ahead", "metrics"], learner.counts["ahead", "outcomes"]) == (1, 1)


def test_it_saves_by_itself_every_so_often_and_only_what_is_new(streams, clock, start):
    learner = start(save_seconds=60.0, by="second")
    decide(streams)
    learner.step()
    assert saved(streams) == []
    clock.sleep(60.0)
    learner.step()
    [snapshot] = saved(streams)
    assert (snapshot.component, snapshot.by, snapshot.ts) == ("bandit", "second", clock())
    assert snapshot.positions == {"metrics/0": 1}
    clock.sleep(600.0)
    learner.step()
    assert len(saved(streams)) == 1


def test_asked_to_it_saves_at_once(streams, start):
    start().save()
    assert len(saved(streams)) == 1


def test_before_its_start_it_saves_nothing(streams, clock):
    learner = Learner(streams, clock=clock)
    for act in (learner.save, learner.step):
        with pytest.raises(ValueError, match="call start first"):
            act()
    assert saved(streams) == []


def test_after_kill_minus_9_what_was_learned_and_what_was_open_are_there(streams, start):
    first = start()
    decide(streams, "met", model="a")
    reward(streams, "met")
    decide(streams, "decided", model="a")
    reward(streams, "early")
    first.step()
    first.save()
    decide(streams, "early", model="a")
    reward(streams, "decided", reward=0.0)
    reward(streams, "met")  # a second delivery
    second = start()
    assert second.arms == {"a": (3.0, 2.0)}
    assert second.counts["rewards", "a"] == 2
    assert start().arms == second.arms  # nothing was saved in between


def test_under_a_longer_horizon_what_was_forgotten_is_not_learned_again(streams, start):
    first = start(label_horizon_seconds=HOUR)
    decide(streams, model="a")
    reward(streams)
    first.step()
    decide(streams, "later", ts=NOON + DAY)
    first.step()
    first.save()
    second = start(label_horizon_seconds=10 * DAY)
    decide(streams, model="a")
    reward(streams)
    second.step()
    assert second.arms == {"a": (2.0, 1.0)}


def test_the_state_is_plain_json(streams, start):
    learner = start(half_life_seconds=HOUR)
    learner.save()
    decide(streams)
    reward(streams)
    learner.step()
    learner.save()
    for snapshot in saved(streams):
        assert json.loads(json.dumps(snapshot.state)) == snapshot.state


def test_it_goes_on_under_another_half_life_and_prior(streams, start):
    first = start(half_life_seconds=HOUR)
    decide(streams, model="a")
    decide(streams, "r2", ts=NOON + HOUR, model="a")
    reward(streams)
    reward(streams, "r2", ts=NOON + HOUR, reward=0.0)
    first.step()
    first.save()
    assert first.arms == {"a": (1.5, 2.0)}
    assert start(half_life_seconds=None, prior=(5.0, 6.0)).arms == {"a": (5.5, 7.0)}


@pytest.mark.parametrize(
    "state", [None, {}, {"posterior": 1}, {"posterior": {"latest": None}, "latest": 0, "floor": 0}]
)
def test_a_snapshot_that_cannot_be_used_costs_only_time(streams, start, capsys, state):
    decide(streams, model="a")
    reward(streams)
    streams.append("snapshots", [(b"", encode(Snapshot(component="bandit", by="odd", ts=0.0, state=state)))])
    assert start().arms == {"a": (2.0, 1.0)}
    assert "the snapshot by 'odd' cannot be used" in capsys.readouterr().err


class FailingStreams(MemoryStreams):
    """Streams of which some calls fail."""

    def __init__(self, **options):
        super().__init__(**options)
        self.failing = set()

    def _check(self, what):
        if what in self.failing:
            raise StreamError(f"{what} failed")

    def ends(self, names):
        self._check("ends")
        return super().ends(names)

    def append(self, stream, messages):
        self._check(stream)
        super().append(stream, messages)

    def reader(self, names, **options):
        reader = super().reader(names, **options)
        poll = reader.poll

        def polled(*args, **options):
            self._check("poll")
            return poll(*args, **options)

        reader.poll = polled
        return reader


def running(learner, *acts):
    """Run a learner that does one thing more at each look whether it is to stop."""
    left = iter(acts)
    done = []

    def stopping():
        act = next(left, None)
        if act is not None:
            act()
        return act is None

    learner.run(stopping, sleep=done.append)
    return done


def test_streams_that_fail_are_warned_of_and_tried_again(clock, capsys):
    streams = FailingStreams(clock=clock, sleep=clock.sleep)
    learner = Learner(streams, clock=clock, save_seconds=0.0)
    decide(streams, model="a")
    reward(streams)
    streams.failing = {"ends", "poll", "snapshots"}
    pauses = running(
        learner,
        lambda: None,
        lambda: streams.failing.discard("ends"),
        lambda: streams.failing.discard("poll"),
        lambda: None,
        streams.failing.clear,
    )
    assert learner.arms == {"a": (2.0, 1.0)}
    assert pauses == [5.0, 5.0, 5.0, 5.0, 0.25]
    said = capsys.readouterr().err
    assert ["ends" in said, "poll failed; trying again" in said, "snapshots failed" in said] == [True] * 3
    assert len(saved(streams)) == 1


def test_what_is_served_faster_than_it_happened_is_saved_by_event_time(streams, start):
    learner = start(save_seconds=60.0)
    for number in range(1, 8):
        decide(streams, f"r{number}", ts=NOON + 20.0 * number, model="a")
        learner.step()
    assert [snapshot.state["latest"] - NOON for snapshot in saved(streams)] == [80.0, 140.0]


def test_a_snapshot_says_what_is_believed_of_each_arm(streams, start):
    learner = start(half_life_seconds=HOUR)
    decide(streams, model="a")
    reward(streams)
    decide(streams, "r2", ts=NOON + 2 * HOUR, model="b", reason="default")
    learner.step()
    learner.save()
    state = saved(streams)[-1].state
    assert state["arms"] == {"a": [1.25, 1.0]}
    assert state["latest"] == NOON + 2 * HOUR


def test_it_saves_when_it_is_asked_to_stop(streams, clock):
    decide(streams, model="a")
    reward(streams)
    running(Learner(streams, clock=clock), lambda: None)
    assert latest(streams, "bandit").state["posterior"]["sums"] == {"a": [1.0, 0.0]}


def test_a_last_snapshot_that_cannot_be_written_is_warned_of(clock, capsys):
    streams = FailingStreams(clock=clock, sleep=clock.sleep)
    decide(streams)
    streams.failing = {"snapshots"}
    running(Learner(streams, clock=clock), lambda: None)
    assert "the last snapshot was not written: snapshots failed" in capsys.readouterr().err


def test_a_thread_learns_on_sqlite_while_others_write_and_save(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}")
    learner = Learner(streams, save_seconds=0.0)
    stop, learned = threading.Event(), threading.Event()
    pauses = itertools.count()

    def pause(_):
        next(pauses)
        if sum(alpha + beta - 2 for alpha, beta in learner.arms.values()) >= 200:
            learned.set()
        stop.wait(0.001)

    thread = threading.Thread(target=learner.run, args=(stop.is_set,), kwargs={"sleep": pause})
    thread.start()
    try:
        for n in range(200):
            decide(streams, str(n), ts=NOON + n, model="ab"[n % 2])
            reward(streams, str(n), ts=NOON + n, reward=float(n % 2))
        assert learned.wait(30)
        learner.save()
    finally:
        stop.set()
        thread.join(30)
    assert learner.arms == {"a": (1.0, 101.0), "b": (101.0, 1.0)}
    again = Learner(open_streams(f"sqlite:{tmp_path}"))
    again.start()
    assert again.arms == learner.arms
    assert again.counts["rewards", "a"] == 0
    again.close()


class PartitionedStreams:
    """Streams of several partitions, from which readers get a few messages at a time, now of this one, now of that."""

    def __init__(self, partitions, seed):
        self.partitions = partitions
        self.random = random.Random(seed)
        self.log = {}
        self.address = "partitioned:"

    def append(self, stream, messages):
        for number in range(self.partitions):
            self.log.setdefault(Partition(stream, number), [])
        for key, value in messages:
            partition = Partition(stream, sum(key) % self.partitions)
            log = self.log[partition]
            log.append(Message(*partition, len(log), key, value))

    def ends(self, names):
        return {partition: len(log) for partition, log in self.log.items() if partition.stream in names}

    def reader(self, names, **_):
        return PartitionedReader(self, names)


class PartitionedReader:
    def __init__(self, streams, names):
        self._streams, self._names, self._at = streams, names, {}

    def positions(self):
        return {partition: self._at.get(partition, 0) for partition in self._streams.ends(self._names)}

    def seek(self, positions):
        self._at |= positions

    def poll(self, limit=1000, timeout=1.0):
        behind = [p for p, end in self._streams.ends(self._names).items() if self._at.get(p, 0) < end]
        if not behind:
            return []
        partition = self._streams.random.choice(behind)
        at = self._at.get(partition, 0)
        found = self._streams.log[partition][at : at + self._streams.random.randint(1, 3)]
        self._at[partition] = at + len(found)
        return found

    def close(self):
        pass


def in_one_go(decisions, outcomes, half_life, horizon):
    """Give the posterior of a whole log, by the definitions."""
    answered, rewarded = {}, {}
    for decision in decisions:
        answered.setdefault(decision.request_id, decision)
    for outcome in outcomes:
        usable = outcome.reward is not None and 0 <= outcome.reward <= 1
        if usable and outcome.ts <= outcome.request_ts + horizon:
            rewarded.setdefault(outcome.request_id, outcome.reward)
    now = max((decision.request_ts for decision in decisions), default=0.0)
    arms = {}
    for request_id, decision in answered.items():
        if request_id in rewarded and decision.reason in ("first choice", "explored"):
            weight = 1.0 if half_life is None else 0.5 ** ((now - decision.request_ts) / half_life)
            alpha, beta = arms.get(decision.model, (1.0, 1.0))
            won = rewarded[request_id]
            arms[decision.model] = (alpha + weight * won, beta + weight * (1 - won))
    return {model: pytest.approx(parameters) for model, parameters in arms.items()}


requests = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(["first choice", "explored", "timed out", "default"]),
    st.floats(0, HOUR),
    st.sampled_from([None, 0.0, 0.3, 1.0, -1.0]),
    st.floats(0, 2 * DAY),
)
deliveries = st.lists(st.tuples(requests, st.integers(1, 2), st.integers(0, 2)), max_size=12)


@settings(deadline=None)
@given(
    deliveries,
    st.randoms(use_true_random=False),
    st.integers(1, 3),
    st.sampled_from([None, 600.0]),
    st.integers(0, 12),
)
def test_in_any_order_with_duplicates_and_restarts_it_learns_what_a_batch_would(
    given_requests, order, partitions, half_life, interruptions
):
    streams, clock = PartitionedStreams(partitions, order.random()), FakeClock(NOON + 10 * DAY)
    records = []
    for n, ((model, reason, second, won, later), decided, told) in enumerate(given_requests):
        at = NOON + second
        records += [a_decision(request_id=str(n), request_ts=at, model=model, reason=reason)] * decided
        records += [an_outcome(request_id=str(n), request_ts=at, ts=at + later, reward=won)] * told
    events = [*records, *order.choices(["step", "save", "kill"], k=interruptions)]
    order.shuffle(events)

    def started():
        learner = Learner(streams, half_life_seconds=half_life, label_horizon_seconds=DAY, clock=clock)
        learner.start()
        return learner

    learner = started()
    for event in events:
        if event == "step":
            learner.step()
        elif event == "save":
            learner.step()
            learner.save()
        elif event == "kill":
            learner = started()
        else:
            put(streams, "metrics" if hasattr(event, "reason") else "outcomes", event)
    learner.step()
    kinds = {kind: [r for r in records if hasattr(r, "reason") == kind] for kind in (True, False)}
    expected = in_one_go(kinds[True], kinds[False], half_life, DAY)
    assert learner.arms == expected
    assert started().arms == expected


def test_over_weeks_with_restarts_it_learns_all_keeps_little_and_reads_little_again():
    streams, clock, rng = PartitionedStreams(2, 7), FakeClock(), random.Random(7)
    options = {"half_life_seconds": 5 * DAY, "label_horizon_seconds": DAY, "clock": clock}
    learner = Learner(streams, **options)
    learner.start()
    decisions, outcomes, due, kept = [], [], [], []
    restarts = Counter()
    for n in range(2000):  # one every 20 minutes: four weeks
        clock.sleep(20 * 60)
        decision = a_decision(request_id=str(n), request_ts=clock(), model=rng.choice("ab"))
        decisions.append(decision)
        decide(streams, str(n), clock(), model=decision.model)
        if rng.random() < 0.9:
            known = clock() + rng.uniform(0, 1.2 * DAY)
            won = float(rng.random() < 0.5)
            due.append(an_outcome(request_id=str(n), request_ts=clock(), ts=known, reward=won))
        outcomes += (landed := [each for each in due if each.ts <= clock()])
        due = [each for each in due if each.ts > clock()]
        put(streams, "outcomes", *landed)
        if rng.random() < 0.5:
            learner.step()
        if rng.random() < 0.02:
            learner.save()
        if rng.random() < 0.02:
            learner = Learner(streams, **options)
            learner.start()
            restarts["n"] += 1
        kept.append(learner._rewards.waiting)
    learner.step()
    learner.save()
    assert learner.arms == in_one_go(decisions, outcomes, 5 * DAY, DAY)
    assert restarts["n"] > 10
    assert max(kept) < 3 * 72  # requests of a label horizon, and what nobody has told of yet
    state = latest(streams, "bandit")
    again = sum(state.positions.values()) - sum(state.state["again_from"].values())
    assert again < 0.2 * sum(state.positions.values())
