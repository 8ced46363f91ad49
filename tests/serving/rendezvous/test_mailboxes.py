import random

import pytest

from birdwatch.records import Control, Decision, Result, decode, encode
from birdwatch.serving.control.fleet import Fleet
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.rendezvous.mailboxes import Mailboxes
from birdwatch.streams import Message
from birdwatch.testing import a_decision, a_request, a_score

NOW = 1_368_532_800.0  # receipt of every request, unless said otherwise


@pytest.fixture
def boxes():
    tiers = [{"models": ["champion"]}, {"models": ["cheap"], "after_seconds": 0.4}]
    schedule = {"version": "v", "default": 0.1, "deadline_seconds": 1.0, "return_margin_seconds": 0.1, "tiers": tiers}
    return Mailboxes(Fleet(parse_schedule(schedule, place="test")), horizon_seconds=60.0)


def message(stream, record):
    value = record if isinstance(record, bytes) else encode(record)
    return Message(stream, 0, 0, b"", value)


def request(request_id="r", **fields):
    return message("requests", a_request(id=request_id, **({"received_ts": NOW} | fields)))


def score(model, request_id="r", stream="scores", **fields):
    return message(stream, a_score(request_id=request_id, model=model, **fields))


def back(results):
    """The log gives each Result back to those who read it."""
    return [message("results", result) for result in results]


def a_result(request_id="r", **fields):
    given = {"model": "default", "version": "v", "score": 0.1, "tier": -1, "reason": "default"} | fields
    return Result(request_id=request_id, request_ts=NOW, ts=NOW, **given)


def run(boxes, now, *messages):
    """Take messages and settle; read the results back at once, as the log would give them."""
    faults = boxes.take(messages, now)
    results, decisions = boxes.settle(now)
    boxes.take(back(results), now)
    more_results, more = boxes.settle(now)
    assert more_results == []
    return results, decisions + more, faults


def test_a_score_is_answered_at_once_and_decided_when_all_have_scored(boxes):
    results, decisions, _ = run(boxes, NOW + 0.01, request(), score("champion", score=0.7, output={"class": 1}))
    [result] = results
    assert (result.request_id, result.model, result.score, result.output) == ("r", "champion", 0.7, {"class": 1})
    assert (result.tier, result.reason) == (0, "first choice")
    assert result.latency_seconds == pytest.approx(0.01)
    assert decisions == []
    results, [decision], _ = run(boxes, NOW + 0.2, score("cheap", score=0.6))
    assert results == []
    assert decision.scores == {"champion": 0.7, "cheap": 0.6}
    assert (decision.model, decision.missing, decision.within_sla, decision.schedule) == ("champion", [], True, "v")
    assert (decision.propensity, decision.propensities) == (1.0, {"champion": 1.0})
    assert boxes.open == 0


def test_event_time_runs_beside_the_wall_clock_from_the_requests_own(boxes):
    results, _, _ = run(boxes, NOW + 0.25, request(ts=1000.0), score("champion"))
    assert results[0].ts == pytest.approx(1000.25)


def test_with_all_models_dead_the_default_answers_in_time_and_is_flagged(boxes):
    assert run(boxes, NOW, request())[:2] == ([], [])
    due = boxes.due()
    assert due == NOW + 0.4  # the second tier opens
    assert run(boxes, due)[:2] == ([], [])
    due = boxes.due()
    assert due == pytest.approx(NOW + 0.9)  # the deadline less the return margin
    [result], decisions, _ = run(boxes, due)
    assert (result.model, result.tier, result.reason, result.score) == ("default", -1, "default", 0.1)
    assert decisions == []
    assert boxes.due() == NOW + 1.0
    _, [decision], _ = run(boxes, NOW + 1.0)
    assert (decision.reason, decision.missing, decision.within_sla) == ("default", ["champion", "cheap"], True)
    assert boxes.due() == float("inf")


def test_a_dead_model_does_not_make_decisions_pile_up(boxes):
    for i in range(100):
        run(boxes, NOW, request(f"r{i}"), score("champion", f"r{i}"))
    assert boxes.open == 100
    _, decisions, _ = run(boxes, NOW + 1.0)
    assert len(decisions) == 100
    assert {tuple(d.missing) for d in decisions} == {("cheap",)}
    assert boxes.open == 0


def test_a_score_that_waits_when_its_tier_opens_is_used_at_once(boxes):
    run(boxes, NOW, request(), score("cheap", score=0.6))
    assert boxes.due() == NOW + 0.4
    [result], _, _ = run(boxes, NOW + 0.4)
    assert (result.model, result.tier, result.reason) == ("cheap", 1, "timed out")


def test_a_failed_champion_is_not_waited_for(boxes):
    failed = score("champion", score=None, error="ValueError: no")
    [result], [decision], _ = run(boxes, NOW, request(), score("cheap"), failed)
    assert (result.model, result.reason) == ("cheap", "all failed")
    assert decision.scores == {"champion": None, "cheap": 0.5}
    assert decision.missing == []


def test_scores_that_come_before_their_request_still_join(boxes):
    assert run(boxes, NOW, score("champion", score=0.7), score("cheap"))[:2] == ([], [])
    [result], [decision], _ = run(boxes, NOW, request())
    assert (result.model, result.score) == ("champion", 0.7)
    assert decision.missing == []


def test_a_second_score_of_a_model_changes_nothing_and_is_counted(boxes):
    results, _, _ = run(boxes, NOW, request(), score("champion", score=0.7), score("champion", score=0.2))
    assert [r.score for r in results] == [0.7]
    results, [decision], _ = run(boxes, NOW, score("champion", score=0.1), score("cheap"))
    assert results == []
    assert decision.scores["champion"] == 0.7
    assert boxes.counts["duplicate_scores", "champion"] == 2


def test_a_late_score_gives_no_second_answer_and_is_counted(boxes):
    run(boxes, NOW, request())
    run(boxes, NOW + 1.0)
    assert run(boxes, NOW + 1.1, score("champion")) == ([], [], [])
    assert boxes.counts["late_scores", "champion"] == 1
    assert run(boxes, NOW + 1.2, score("champion")) == ([], [], [])
    assert boxes.counts["duplicate_scores", "champion"] == 1


def test_a_request_read_twice_is_answered_once(boxes):
    results, _, _ = run(boxes, NOW, request(), request(), score("champion"))
    assert len(results) == 1
    run(boxes, NOW + 1.0)
    assert run(boxes, NOW + 1.0, request())[:2] == ([], [])
    assert boxes.counts["duplicate_requests", ""] == 2


def test_a_score_for_an_unknown_request_is_kept_for_the_horizon_and_then_counted(boxes):
    run(boxes, NOW, score("champion", "never"))
    run(boxes, NOW + 59.0)
    assert boxes.counts["unknown_scores", "champion"] == 0
    run(boxes, NOW + 61.0)
    assert boxes.counts["unknown_scores", "champion"] == 1


def test_memory_is_bounded_by_the_horizon(boxes):
    for second in range(300):
        now = NOW + second
        run(boxes, now, request(f"r{second}", received_ts=now), score("champion", f"unknown{second}"))
    held = len(boxes._open) + len(boxes._closed) + len(boxes._early) + len(boxes._due)
    assert held < 150


def test_the_gateways_default_in_the_log_is_the_answer_and_no_second_one_is_given(boxes):
    run(boxes, NOW, request())
    log = message("results", a_result(latency_seconds=0.95))
    results, decisions, _ = run(boxes, NOW + 0.96, log, score("champion"))
    assert results == []
    assert decisions == []  # cheap may still come
    _, [decision], _ = run(boxes, NOW + 1.0)
    assert (decision.model, decision.reason, decision.tier) == ("default", "default", -1)
    assert decision.latency_seconds == 0.95
    assert decision.within_sla
    assert decision.scores == {"champion": 0.5}


def test_of_two_results_in_the_log_the_decision_speaks_of_the_first(boxes):
    boxes.take([request(), score("champion"), score("cheap")], NOW)
    [mine], _ = boxes.settle(NOW)
    boxes.take([message("results", a_result(latency_seconds=0.9)), message("results", mine)], NOW)
    _, [decision] = boxes.settle(NOW)
    assert decision.model == "default"
    assert boxes.counts["superseded_results", "champion"] == 1


def test_a_decision_waits_until_its_result_can_be_read_in_the_log(boxes):
    boxes.take([request(), score("champion"), score("cheap")], NOW)
    results, decisions = boxes.settle(NOW)
    assert (len(results), decisions) == (1, [])
    assert boxes.settle(NOW + 2.0) == ([], [])
    boxes.take(back(results), NOW + 2.0)
    assert len(boxes.settle(NOW + 2.0)[1]) == 1


def test_an_answer_after_the_deadline_is_outside_the_sla(boxes):
    [result], [decision], _ = run(boxes, NOW + 30.0, request())
    assert (result.reason, result.latency_seconds) == ("default", 30.0)
    assert not decision.within_sla
    assert boxes.counts["sla_misses", "default"] == 1


def test_a_shadow_that_was_heard_once_is_expected_and_never_chosen(boxes):
    failed = score("champion", score=None, error="no")
    boxes.take([request(), score("shadow"), failed], NOW)
    assert boxes.settle(NOW) == ([], [])
    [result], decisions, _ = run(boxes, NOW + 0.9)
    assert result.model == "default"
    run(boxes, NOW + 1.0)
    _, decisions, _ = run(boxes, NOW + 2.0, request("r2", received_ts=NOW + 1.0))
    assert "shadow" in decisions[0].missing


def test_the_canary_is_in_the_decision_and_never_the_answer(boxes):
    messages = [request(), score("bird", stream="canary", score=0.9)]
    messages += [score(model, score=None, error="no") for model in ("champion", "cheap")]
    [result], [decision], _ = run(boxes, NOW, *messages)
    assert (result.model, result.reason) == ("default", "all failed")
    assert decision.scores == {"bird": 0.9, "champion": None, "cheap": None}


@pytest.mark.parametrize("stream", ["canary", "scores"])
@pytest.mark.parametrize("seed", range(20))
def test_the_canary_is_never_selected_whatever_is_asked(stream, seed):
    # Its name stands in the schedule and in overrides, control promotes it, and its scores come on either stream.
    draw = random.Random(seed)
    tiers = [{"models": ["bird", "a"]}, {"models": ["b"], "after_seconds": 0.2}]
    boxes = Mailboxes(Fleet(parse_schedule({"default": 0, "tiers": tiers}, place="test")))
    run(boxes, NOW, score("bird", "warm-up", stream="canary"))
    results = []
    for i in range(50):
        if draw.random() < 0.3:
            action = draw.choice(["champion", "register", "schedule"])
            params = {"tiers": [{"models": ["bird"]}]} if action == "schedule" else {}
            control = a_control(action, "" if action == "schedule" else "bird", params)
            boxes.fleet.apply(control)
        override = draw.choice([None, "bird", "a"])
        messages = [request(f"r{i}", override=override), score("bird", f"r{i}", stream=stream)]
        messages += [score(m, f"r{i}") for m in ("a", "b") if draw.random() < 0.5]
        draw.shuffle(messages)
        for at, some in ((NOW, messages), (NOW + 0.5, []), (NOW + 0.97, []), (NOW + 1.0, [])):
            results += run(boxes, at, *some)[0]
    assert len(results) == 50
    assert "bird" not in {result.model for result in results}


def a_control(action, model, params):
    return Control(ts=NOW, action=action, author="ann", reason="a test", model=model, version="2", params=params)


def test_an_override_is_answered_by_the_named_model_and_said_so(boxes):
    [result], _, _ = run(boxes, NOW, request(override="cheap"), score("champion"), score("cheap", score=0.6))
    assert (result.model, result.score, result.reason) == ("cheap", 0.6, "override")


def test_a_rollback_is_in_force_at_the_next_request_even_when_the_runner_is_stuck(boxes):
    assert run(boxes, NOW, request("r1"), score("champion", "r1", version="2"))[0][0].version == "2"
    boxes.fleet.apply(a_control("rollback", "champion", {"to": "1"}))
    [result], _, _ = run(boxes, NOW, request("r2"), score("champion", "r2", version="2"), score("cheap", "r2"))
    assert (result.model, result.reason) == ("cheap", "all failed")
    [result], _, _ = run(boxes, NOW, request("r3"), score("champion", "r3", version="1"))
    assert result.version == "1"


@pytest.mark.parametrize(
    ("stream", "value", "words"),
    [
        ("requests", b'{"id": "r", "ts": 1}', "received_ts"),
        ("scores", b'{"request_id"', "truncated"),
        ("scores", encode(a_score()).replace(b"0.5", b'"high"'), "score"),
        ("scores", b"\xff\xfe", "Score"),
        ("canary", b"[]", "Score"),
        ("results", b"{}", "Result"),
        ("metrics", b"nonsense", "malformed"),
    ],
)
def test_what_cannot_be_read_is_a_fault_with_a_reason_and_stops_nothing(boxes, stream, value, words):
    bad = Message(stream, 0, 7, b"", value)
    results, _, [fault] = run(boxes, NOW, request(), bad, score("champion"))
    assert fault.message is bad
    assert words in fault.reason
    assert len(results) == 1


def test_a_nan_score_travels_as_null_and_counts_as_failed(boxes):
    nan = encode(a_score(model="champion", request_id="r", score=float("nan")))
    [result], _, _ = run(boxes, NOW, request(), message("scores", nan), score("cheap"))
    assert (result.model, result.reason) == ("cheap", "all failed")


def interleaved(draw, n):
    """Requests and scores in an order that a busy system may give, with losses, errors, duplicates and latecomers."""
    events = []
    for i in range(n):
        at = NOW + i / 32  # 32 in flight with a deadline of one second
        events.append((at, request(f"r{i}", received_ts=at, ts=float(i))))
        for model in ("champion", "cheap", "shadow"):
            if draw.random() < 0.9:
                delay = draw.choice([-0.01, 0.0, 0.1, 0.5, 0.97, 3.0])
                fate = {"score": None, "error": "no"} if draw.random() < 0.1 else {"score": float(i)}
                event = at + delay, score(model, f"r{i}", **fate)
                events += [event] * (2 if draw.random() < 0.1 else 1)
    return sorted(events, key=lambda event: event[0])


@pytest.mark.parametrize("seed", [1, 2])
def test_interleaved_requests_each_get_their_own_answer_exactly_once(boxes, seed):
    n = 5000
    results, decisions = [], []
    pending = interleaved(random.Random(seed), n)
    now = NOW - 1
    while pending or boxes.open:
        now = min(boxes.due(), pending[0][0]) if pending else boxes.due()
        batch = []
        while pending and pending[0][0] <= now:
            batch.append(pending.pop(0)[1])
        some, more, faults = run(boxes, now, *batch)
        assert faults == []
        results += some
        decisions += more
    assert sorted(r.request_id for r in results) == sorted(f"r{i}" for i in range(n))
    assert sorted(d.request_id for d in decisions) == sorted(f"r{i}" for i in range(n))
    for result in results:
        assert result.latency_seconds <= 1.0
        assert result.score == (0.1 if result.model == "default" else float(result.request_id[1:]))
        assert result.request_ts == float(result.request_id[1:])
    assert {r.model for r in results} == {"champion", "cheap", "default"}
    counts = boxes.counts
    assert counts["requests", ""] == n
    for model in ("champion", "cheap", "shadow"):
        late = counts["late_scores", model]
        seen = counts["scores", model] + counts["errors", model]
        # A model is expected from the moment it was first heard, the schedule's from the start.
        missing = sum(model not in d.scores for d in decisions)
        assert n == seen - late + missing


class _Crash:
    """A log of all streams, and a rendezvous over it that can be killed and started anew."""

    def __init__(self):
        self.log = []
        self.boxes = None

    def start(self, now):
        tiers = [{"models": ["champion"]}, {"models": ["cheap"], "after_seconds": 0.4}]
        self.boxes = Mailboxes(Fleet(parse_schedule({"default": 0.1, "tiers": tiers}, place="test")))
        self.boxes.take(self.log, now)
        self.read = len(self.log)

    def step(self, now, crash):
        self.boxes.take(self.log[self.read :], now)
        self.read = len(self.log)
        results, decisions = self.boxes.settle(now)
        if crash == "before writing":
            return
        self.log += [message("results", r) for r in results]
        if crash == "between the two":
            return
        self.log += [message("metrics", d) for d in decisions]


@pytest.mark.parametrize("seed", range(10))
def test_killed_at_any_moment_it_neither_loses_nor_doubles_an_answer(seed):
    draw = random.Random(seed)
    world = _Crash()
    world.start(NOW)
    n = 200
    events = interleaved(draw, n)
    now = NOW
    while now < NOW + n / 32 + 5:
        now += 0.02
        while events and events[0][0] <= now:
            world.log.append(events.pop(0)[1])
        crash = draw.choice(["before writing", "between the two", "after"]) if draw.random() < 0.1 else None
        world.step(now, crash)
        if crash:
            world.start(now)
    answered = [m for m in world.log if m.stream == "results"]
    decided = [m for m in world.log if m.stream == "metrics"]
    ids = [decode(m.value, Result).request_id for m in answered]
    assert sorted(ids) == sorted(f"r{i}" for i in range(n))
    ids = [decode(m.value, Decision).request_id for m in decided]
    assert sorted(ids) == sorted(f"r{i}" for i in range(n))


def test_what_was_decided_before_a_restart_is_not_decided_again_in_whatever_order_it_is_read(boxes):
    result, decision = message("results", a_result()), message("metrics", a_decision(request_id="r"))
    assert run(boxes, NOW + 5.0, decision, score("cheap"), result, score("champion"), request())[:2] == ([], [])
    assert boxes.open == 0


def test_an_answer_that_does_not_come_back_is_written_again(boxes):
    boxes.take([request(), score("champion")], NOW)
    [lost], _ = boxes.settle(NOW)
    assert boxes.settle(NOW + 30.0) == ([], [])
    again = [result for seconds in (61.0, 62.0) for result in boxes.settle(NOW + seconds)[0]]
    assert [(result.model, result.score) for result in again] == [(lost.model, lost.score)]
    assert boxes.counts["unread_answers", "champion"] == 1
    boxes.take(back(again), NOW + 63.0)
    assert len(boxes.settle(NOW + 63.0)[1]) == 1
