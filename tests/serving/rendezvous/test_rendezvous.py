import pytest

from birdwatch.errors import StreamError
from birdwatch.records import Control, Decision, Result, decode, encode
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.horizon import Horizon
from birdwatch.serving.rendezvous.rendezvous import Rendezvous
from birdwatch.streams import Partition
from birdwatch.testing import FakeClock, MemoryStreams, a_request, a_score, an_outcome

TIERS = [{"models": ["champion"]}, {"models": ["cheap"], "after_seconds": 0.4}]
SCHEDULE = parse_schedule({"default": 0.1, "tiers": TIERS}, place="test")


@pytest.fixture
def clock():
    return FakeClock(1_368_532_800.0)


@pytest.fixture
def streams(clock):
    return MemoryStreams(clock=clock, sleep=clock.sleep)


@pytest.fixture
def start(streams, clock):
    def started(**options):
        rendezvous = Rendezvous(streams, SCHEDULE, clock=clock, **options)
        rendezvous.start()
        return rendezvous

    return started


def put(streams, stream, *records):
    streams.append(stream, [(b"", encode(record)) for record in records])


def read(streams, stream, kind):
    return [decode(m.value, kind) for m in streams.reader([stream]).poll(timeout=0.0)]


def ask(streams, clock, request_id="r", **fields):
    put(streams, "requests", a_request(id=request_id, received_ts=clock(), **fields))


def test_a_request_is_answered_on_results_and_decided_on_metrics(streams, clock, start):
    rendezvous = start()
    ask(streams, clock)
    put(streams, "scores", a_score(request_id="r", model="champion"), a_score(request_id="r", model="cheap"))
    while rendezvous.step(0.0) or rendezvous.mailboxes.open:
        pass
    assert [r.model for r in read(streams, "results", Result)] == ["champion"]
    assert [d.model for d in read(streams, "metrics", Decision)] == ["champion"]


def test_it_wakes_up_in_time_for_the_default_although_no_message_comes(streams, clock, start):
    rendezvous = start()
    received = clock()
    ask(streams, clock)
    while not read(streams, "results", Result):
        rendezvous.step()
    [result] = read(streams, "results", Result)
    assert result.reason == "default"
    # Within a reader's pause of the return margin.
    assert received + 0.95 <= received + result.latency_seconds <= received + 0.98


def test_each_message_reaches_its_own_partitions_key(streams, clock, start):
    rendezvous = start()
    ask(streams, clock, "some-id")
    put(streams, "scores", a_score(request_id="some-id", model="champion"))
    rendezvous.step(0.0)
    assert [m.key for m in streams.reader(["results"]).poll(timeout=0.0)] == [b"some-id"]


def test_what_was_open_when_it_was_killed_is_answered_by_the_next_one(streams, clock, start):
    start().step(0.0)
    ask(streams, clock, "answered")
    ask(streams, clock, "open")
    put(streams, "scores", a_score(request_id="answered", model="champion"))
    start().step(0.0)
    assert [r.request_id for r in read(streams, "results", Result)] == ["answered"]
    clock.sleep(5.0)
    later = start()
    for _ in range(3):
        later.step(0.0)
    results = read(streams, "results", Result)
    assert [(r.request_id, r.model) for r in results] == [("answered", "champion"), ("open", "default")]
    assert sorted(d.request_id for d in read(streams, "metrics", Decision)) == ["answered", "open"]


def test_nothing_is_answered_while_the_log_is_read_again(streams, clock, start):
    # More than one poll's worth, and the results come last.
    for i in range(3000):
        ask(streams, clock, f"r{i}")
    put(
        streams,
        "results",
        *(
            Result(request_id=f"r{i}", request_ts=0, ts=0, model="champion", version="1", score=0.5)
            for i in range(3000)
        ),
    )
    clock.sleep(10.0)
    rendezvous = start()
    rendezvous.step(0.0)
    assert len(read(streams, "results", Result)) == 1000  # the first poll's; and none was added
    assert streams.ends(["results"]) == {Partition("results"): 3000}
    assert streams.ends(["metrics"]) == {Partition("metrics"): 3000}


def test_a_request_with_a_deadline_beyond_all_promises_does_not_keep_it_from_ending(streams, clock, start):
    rendezvous = start()
    ask(streams, clock, deadline_seconds=1e9)
    rendezvous.step(0.0)
    began = clock()
    rendezvous.run(lambda: True)
    assert rendezvous.mailboxes.open == 1
    assert clock() - began < 1.1  # the schedule's deadline, and a reader's pause


def test_after_the_horizon_the_log_is_not_read_again(streams, clock, start):
    rendezvous = start(horizon_seconds=10.0)
    for i in range(100):
        ask(streams, clock, f"r{i}")
        put(streams, "scores", a_score(request_id=f"r{i}", model="champion"))
        rendezvous.step(0.0)
        clock.sleep(1.0)
    kept = streams.committed("rendezvous", ["requests"])[Partition("requests")]
    assert 80 <= kept < 100
    again = start(horizon_seconds=10.0)
    assert again.mailboxes.counts["requests", ""] == 100 - kept
    again.step(0.0)
    assert streams.ends(["results"]) == {Partition("results"): 100}


def test_one_that_is_to_take_over_reads_no_more_of_a_long_log_than_the_one_in_charge_would(streams, clock, start):
    first = start(horizon_seconds=10.0)
    for i in range(100):
        ask(streams, clock, f"r{i}")
        put(streams, "scores", a_score(request_id=f"r{i}", model="champion"))
        first.step(0.0)
        clock.sleep(1.0)
    second = start(horizon_seconds=10.0, name="second")
    kept = streams.committed("rendezvous", ["requests"])[Partition("requests")]
    assert 80 <= kept < 100
    assert second.mailboxes.counts["requests_of_others", ""] == 100 - kept


def test_a_request_that_is_still_open_is_never_beyond_the_committed_positions(streams, clock, start):
    rendezvous = start(horizon_seconds=10.0)
    ask(streams, clock, "slow", deadline_seconds=50.0)
    for i in range(40):
        rendezvous.step(0.0)
        clock.sleep(1.0)
        ask(streams, clock, f"r{i}")
    assert streams.committed("rendezvous", ["requests"]).get(Partition("requests"), 0) == 0


def test_control_that_was_put_on_its_stream_before_a_request_is_in_force_for_it(streams, clock, start):
    rendezvous = start()
    roll_back = Control(ts=0, action="rollback", author="ann", reason="bad", model="champion", version="2")
    put(streams, "control", roll_back)
    ask(streams, clock)
    put(
        streams,
        "scores",
        a_score(request_id="r", model="champion", version="2"),
        a_score(request_id="r", model="cheap"),
    )
    rendezvous.step(0.0)
    assert [r.model for r in read(streams, "results", Result)] == ["cheap"]


def schedules(streams):
    return [(c.author, c.version) for c in read(streams, "control", Control) if c.action == "schedule"]


def test_the_schedule_it_is_started_with_is_put_on_control_once(streams, start):
    start()
    start()
    assert schedules(streams) == [("rendezvous", "1")]


def test_what_operators_said_outlives_a_restart_with_the_same_schedule(streams, clock, start):
    start()
    put(streams, "control", Control(ts=0, action="champion", model="challenger", author="ann", reason="better"))
    assert start().mailboxes.fleet.schedule.models == ("challenger", "cheap")
    assert len(schedules(streams)) == 1


def test_what_operators_said_is_known_at_the_start_however_long_it_takes_to_fetch(remote):
    Rendezvous(remote, SCHEDULE).start()
    put(remote, "control", Control(ts=0, action="champion", model="challenger", author="ann", reason="better"))
    again = Rendezvous(remote, SCHEDULE)
    again.start()
    assert again.mailboxes.fleet.schedule.models == ("challenger", "cheap")
    assert remote.ends(["control"]) == {Partition("control"): 2}  # the schedule once, and the champion


def test_a_start_with_another_schedule_puts_it_in_force(streams, clock, start):
    start()
    put(streams, "control", Control(ts=0, action="champion", model="challenger", author="ann", reason="better"))
    other = SCHEDULE.model_copy(update={"default": 0.7, "version": "2"})
    rendezvous = Rendezvous(streams, other, clock=clock)
    rendezvous.start()
    assert schedules(streams) == [("rendezvous", "1"), ("rendezvous", "2")]
    assert (rendezvous.mailboxes.fleet.schedule.default, rendezvous.mailboxes.fleet.schedule.models) == (
        0.7,
        ("champion", "cheap"),
    )


def test_outcomes_teach_thompson_sampling(streams, clock):
    tiers = [{"models": ["champion", "cheap"], "policy": {"kind": "thompson"}}]
    plan = parse_schedule({"default": 0.1, "tiers": tiers}, place="test")
    rendezvous = Rendezvous(streams, plan, clock=clock)
    rendezvous.start()
    for number in range(200):
        ask(streams, clock, f"r{number}")
        scores = [a_score(request_id=f"r{number}", model=model) for model in ("champion", "cheap")]
        put(streams, "scores", *scores)
        while rendezvous.step(0.0):
            pass
    decisions = read(streams, "metrics", Decision)
    rewards = [
        an_outcome(request_id=d.request_id, request_ts=d.request_ts, ts=d.ts, reward=float(d.model == "cheap"))
        for d in decisions
    ]
    put(streams, "outcomes", *rewards)
    while not rendezvous.mailboxes.posteriors.get("cheap", (1, 1))[0] > 50:
        rendezvous.step(0.0)  # the learner is a thread: it will have read them at some time
    ask(streams, clock, "last")
    put(streams, "scores", *(a_score(request_id="last", model=model) for model in ("champion", "cheap")))
    while rendezvous.step(0.0):
        pass
    rendezvous.close()
    last = read(streams, "metrics", Decision)[-1]
    assert (last.request_id, last.model) == ("last", "cheap")
    assert last.propensities["cheap"] > 0.999


def test_another_policy_of_learning_is_in_force_without_a_restart(streams, clock):
    def tiers(half_life):
        policy = {"kind": "thompson", "half_life_seconds": half_life}
        return [{"models": ["champion", "cheap"], "policy": policy}]

    plan = parse_schedule({"default": 0.1, "tiers": tiers(60)}, place="test")
    rendezvous = Rendezvous(streams, plan, clock=clock)
    rendezvous.start()
    rendezvous.step(0.0)
    assert rendezvous._learning.policy.half_life_seconds == 60
    put(streams, "control", Control(ts=0, action="schedule", author="ann", reason="", params={"tiers": tiers(600)}))
    rendezvous.step(0.0)
    assert rendezvous._learning.policy.half_life_seconds == 600
    rendezvous.close()


def test_control_is_remembered_over_a_restart(streams, clock, start):
    put(streams, "control", Control(ts=0, action="champion", author="ann", reason="better", model="challenger"))
    start().step(0.0)
    ask(streams, clock)
    put(streams, "scores", a_score(request_id="r", model="champion"), a_score(request_id="r", model="challenger"))
    start().step(0.0)
    assert [r.model for r in read(streams, "results", Result)] == ["challenger"]


def test_a_control_record_that_cannot_be_is_reported_and_stops_nothing(streams, clock, start, capsys):
    put(streams, "control", Control(ts=0, action="schedule", author="ann", reason="?", params={"tiers": []}))
    streams.append("control", [(b"", b"{")])
    ask(streams, clock)
    put(streams, "scores", a_score(request_id="r", model="champion"))
    rendezvous = start()
    rendezvous.step(0.0)
    assert [r.model for r in read(streams, "results", Result)] == ["champion"]
    assert rendezvous.mailboxes.counts["control_refused", ""] == 2
    assert "by ann: params: tiers" in capsys.readouterr().err
    assert streams.ends(["deadletters"]) == {Partition("deadletters"): 1}


def test_what_cannot_be_read_is_a_dead_letter(streams, clock, start):
    streams.append("scores", [(b"r", b'{"request_id": "r"')])
    start()
    [letter] = streams.reader(["deadletters"]).poll(timeout=0.0)
    assert b"truncated" in letter.value


def test_it_stops_when_what_was_open_has_its_answer(streams, clock, start):
    rendezvous = start()
    ask(streams, clock)
    rendezvous.step(0.0)
    rendezvous.run(lambda: True)
    assert [r.model for r in read(streams, "results", Result)] == ["default"]
    assert [d.reason for d in read(streams, "metrics", Decision)] == ["default"]
    rendezvous.close()


def test_the_horizon_commits_what_the_reader_had_read_so_long_ago(streams):
    reader = streams.reader(["requests"], group="g")
    horizon = Horizon(reader, 10.0)
    for second in range(30):
        put(streams, "requests", a_request(id=str(second)))
        reader.poll(timeout=0.0)
        horizon.keep(float(second))
    assert streams.committed("g", ["requests"]) == {Partition("requests"): 19}
    assert reader.positions() == {Partition("requests"): 30}


def test_the_horizon_commits_nothing_beyond_what_came_before_what_it_belongs_to(streams):
    reader = streams.reader(["requests", "results"], group="g")
    horizon = Horizon(reader, 10.0)
    put(streams, "requests", a_request(id="a"), a_request(id="b"))
    streams.append("results", [(b"", b"{}")] * 5)
    reader.poll(timeout=0.0)
    horizon.keep(0.0, pending=lambda: {Partition("results"): 3})  # its request has not been read
    reader.poll(timeout=0.0)
    horizon.keep(11.0)
    assert streams.committed("g", ["requests", "results"]) == {Partition("requests"): 2, Partition("results"): 3}


def test_the_horizon_commits_nothing_of_partitions_that_have_gone(streams):
    reader = streams.reader(["requests", "results"], group="g")
    horizon = Horizon(reader, 10.0)
    streams.broadcast("requests", b"", b"{}")
    reader.poll(timeout=0.0)
    horizon.keep(0.0)
    horizon.forget({0})
    horizon.keep(11.0)
    assert streams.committed("g", ["requests", "results"]) == {}


def test_a_result_that_was_read_long_before_its_request_is_read_again_with_it(streams, clock, start):
    rendezvous = start(horizon_seconds=10.0)
    streams.broadcast(
        "results", b"", encode(Result(request_id="r", request_ts=0, ts=0, model="m", version="1", score=1))
    )
    rendezvous.step(0.0)
    clock.sleep(2.0)
    ask(streams, clock)
    for _ in range(6):
        rendezvous.step(0.0)
        clock.sleep(2.0)
    assert streams.committed("rendezvous", ["results"]).get(Partition("results"), 0) == 0


def test_streams_whose_partitions_differ_in_number_are_refused(streams, monkeypatch):
    def differ(names):
        raise StreamError(f"{names[0]} has 1 partition, {names[1]} has 2")

    monkeypatch.setattr(streams, "check_partitions", differ)
    with pytest.raises(StreamError, match="requests has 1 partition, scores has 2"):
        Rendezvous(streams, SCHEDULE)
