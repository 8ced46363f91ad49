"""What the pipeline promises, one test a promise, as far as time and order decide; the clock is fake, the parts are real.

Where processes die, `tests/integration/test_behaviours.py` goes on under the same numbers.
"""

import contextlib
import json
import math
import random
from collections import Counter
from typing import ClassVar

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from birdwatch.errors import RecordError
from birdwatch.records import Control, Decision, Outcome, Result, Score, decode, encode
from birdwatch.serving.bandit.posterior import Posterior
from birdwatch.serving.control.schedule import parse_schedule
from birdwatch.serving.decoy import Decoy
from birdwatch.serving.rendezvous import rendezvous
from birdwatch.serving.rendezvous.decision import Wait, decide
from birdwatch.serving.rendezvous.dithering import dither
from birdwatch.serving.rendezvous.mailbox import Envelope, Mailbox
from birdwatch.serving.rendezvous.mailboxes import STREAMS_READ
from birdwatch.serving.rendezvous.rendezvous import Rendezvous
from birdwatch.serving.runner.model import Spec
from birdwatch.serving.runner.runner import Runner
from birdwatch.stats.posterior import best_probabilities
from birdwatch.streams import Partition
from birdwatch.testing import FakeClock, MemoryStreams, a_request, a_score

NOW = 1_368_532_800.0
TIERS = [
    {"models": ["m3"]},
    {"models": ["m2"], "after_seconds": 0.25},
    {"models": ["m1"], "after_seconds": 0.5},
]
MODELS = ("m3", "m2", "m1")


def plan(**changes):
    values = {"default": -1.0, "deadline_seconds": 1.0, "return_margin_seconds": 0.125, "tiers": TIERS}
    return parse_schedule(values | {"canary": ["bird"]} | changes, place="test")


class Pipeline:
    """Streams, a rendezvous, and the hand that puts requests and scores on them."""

    def __init__(self, **changes):
        self.clock = FakeClock(NOW)
        self.streams = MemoryStreams(clock=self.clock, sleep=self.clock.sleep)
        self.rendezvous = Rendezvous(self.streams, plan(**changes), clock=self.clock)
        self.rendezvous.start()

    def put(self, stream, *records):
        self.streams.append(stream, [(b"", encode(record)) for record in records])

    def ask(self, request_id="r", **fields):
        self.put("requests", a_request(id=request_id, received_ts=self.clock(), deadline_seconds=1.0, **fields))

    def score(self, model, request_id="r", value=0.5, **fields):
        stream = "canary" if model == "bird" else "scores"
        self.put(stream, a_score(request_id=request_id, model=model, score=value, **fields))

    def control(self, action, model="", version="", **params):
        at = {"ts": self.clock(), "author": "ann", "reason": "a test"}
        self.put("control", Control(action=action, model=model, version=version, params=params, **at))

    def settle(self):
        """Let the rendezvous go on until it has read everything and has no more to say."""
        reader = self.rendezvous._reader
        while self.rendezvous.step(0.0) or reader.positions() != self.streams.ends(STREAMS_READ):
            pass

    def pass_time(self, seconds, step=0.005):
        """Let time go by in small steps, as the process would see it."""
        until = self.clock() + seconds
        while self.clock() < until:
            self.settle()
            self.clock.sleep(min(step, until - self.clock()))
        self.settle()

    def read(self, stream, kind):
        reader, found = self.streams.reader([stream]), []
        while polled := reader.poll(timeout=0.0):
            found += [self.decoded(message, kind) for message in polled]
        return [record for record in found if record is not None]

    def decoded(self, message, kind):
        with contextlib.suppress(RecordError):  # what is no record is there to be passed by
            return decode(message.value, kind)

    @property
    def results(self):
        return self.read("results", Result)

    @property
    def decisions(self):
        return self.read("metrics", Decision)


def test_01_every_request_gets_exactly_one_answer_within_its_sla_with_all_models_dead():
    pipeline = Pipeline()
    for number in range(20):
        pipeline.ask(f"r{number}")
        pipeline.pass_time(0.01)
    pipeline.pass_time(1.5)
    assert sorted(r.request_id for r in pipeline.results) == sorted(f"r{n}" for n in range(20))
    assert {(r.model, r.score, r.reason, r.tier) for r in pipeline.results} == {("default", -1.0, "default", -1)}
    assert all(r.latency_seconds <= 1.0 for r in pipeline.results)
    assert {(tuple(d.missing), d.within_sla) for d in pipeline.decisions} == {(("bird", "m1", "m2", "m3"), True)}


@pytest.mark.parametrize(
    ("opens", "before", "after"), [(0.25, None, "m2"), (0.5, "m2", "m1"), (0.875, "m1", "default")]
)
def test_02_the_schedule_picks_the_right_tier_exactly_at_before_and_after_each_boundary(opens, before, after):
    def chosen(elapsed, *scored):
        box = Mailbox(Envelope(id="r", ts=0.0, received_ts=0.0, deadline_seconds=1.0), 0.0, 0, mine=True)
        box.scores = {model: a_score(model=model, score=0.5) for model in scored}
        choice = decide(box, plan(), elapsed)
        return None if isinstance(choice, Wait) else choice.model

    there = [] if after == "default" else [after]
    assert chosen(math.nextafter(opens, 0), *there) is None
    assert chosen(opens, *there) == after
    assert chosen(math.nextafter(opens, 1), *there) == after
    if before is not None:  # who is preferred still wins when the next one is let in
        assert chosen(opens, before, *there) == before


def test_03_an_acceptable_score_already_in_the_mailbox_when_a_tier_opens_is_used_at_once():
    pipeline = Pipeline()
    pipeline.ask()
    pipeline.score("m2", value=0.7)
    pipeline.pass_time(0.2)
    assert pipeline.results == []
    pipeline.clock.sleep(0.05)
    pipeline.settle()
    [result] = pipeline.results
    assert (result.model, result.score, result.latency_seconds) == ("m2", 0.7, pytest.approx(0.25))


@given(late=st.permutations(["m3", "m3", "m2", "m1", "m1", "m2"]), seconds=st.floats(0.3, 20))
@settings(deadline=None, max_examples=40)
def test_04_late_and_duplicate_scores_never_cause_a_second_answer_and_are_recorded(late, seconds):
    pipeline = Pipeline()
    pipeline.ask()
    pipeline.score("m2")
    pipeline.pass_time(0.3)
    pipeline.clock.sleep(seconds)
    for model in late:
        pipeline.score(model)
    pipeline.settle()
    pipeline.clock.sleep(2.0)
    pipeline.settle()
    assert [r.model for r in pipeline.results] == ["m2"]
    assert len(pipeline.decisions) == 1
    counts = pipeline.rendezvous.mailboxes.counts
    assert {m: counts["scores", m] for m in MODELS} == {"m1": 1, "m2": 1, "m3": 1}
    assert {m: counts["duplicate_scores", m] for m in MODELS} == {"m1": 1, "m2": 2, "m3": 1}


@given(order=st.permutations([("scores", "m3"), ("scores", "m2"), ("canary", "bird"), ("requests", "r")]))
@settings(deadline=None, max_examples=24)
def test_05_scores_that_arrive_before_their_request_still_join(order):
    pipeline = Pipeline()
    for stream, name in order:
        pipeline.ask() if stream == "requests" else pipeline.score(name, value={"m3": 0.3}.get(name, 0.2))
        pipeline.settle()
    pipeline.pass_time(1.1)
    [result], [decision] = pipeline.results, pipeline.decisions
    assert (result.model, result.score, result.tier) == ("m3", 0.3, 0)
    assert decision.scores == {"m3": 0.3, "m2": 0.2, "bird": 0.2}
    assert decision.missing == ["m1"]


def test_06_of_10000_interleaved_requests_at_32_in_flight_none_receives_anothers_answer():
    pipeline, chance = Pipeline(), random.Random(6)
    expected = {f"r{number}": chance.random() for number in range(10_000)}
    ids, open_ids = iter(expected), []
    while True:
        while len(open_ids) < 32 and (request_id := next(ids, None)) is not None:
            pipeline.ask(request_id)
            open_ids.append(request_id)
        if not open_ids:
            break
        # Some of those open are scored, in any order, by some of the models, the others later.
        chance.shuffle(open_ids)
        for request_id in open_ids[: chance.randint(1, 32)]:
            value = expected[request_id]
            for model, offset in chance.sample([("m3", 0), ("m2", 2), ("m1", 1)], k=3):
                pipeline.score(model, request_id, value + offset)
            open_ids.remove(request_id)
        pipeline.settle()
        pipeline.clock.sleep(0.001)
    pipeline.pass_time(1.2, step=0.3)
    offset = {"m3": 0, "m2": 2, "m1": 1}
    assert len(pipeline.results) == len(expected)
    assert all(r.score == expected[r.request_id] + offset[r.model] for r in pipeline.results)
    assert {d.request_id: d.scores["m3"] for d in pipeline.decisions} == expected


def spy(seen):
    """Give a model that keeps what it was shown."""

    def model(batch):
        seen.extend(json.dumps(row) for row in batch)
        return [0.5] * len(batch)

    return model


def test_07_all_models_and_the_decoy_see_the_same_features_injected_state_included(tmp_path, monkeypatch):
    import sys
    from types import ModuleType

    pipeline, seen = Pipeline(), {name: [] for name in (*MODELS, "bird")}
    module = ModuleType("spies")
    for name, rows in seen.items():
        setattr(module, name, spy(rows))
    monkeypatch.setitem(sys.modules, "spies", module)
    runners = [
        Runner(
            pipeline.streams,
            name,
            Spec("1", f"spies:{name}"),
            role="canary" if name == "bird" else "model",
            start="earliest",
            clock=pipeline.clock,
        )
        for name in seen
    ]
    decoy = Decoy(pipeline.streams, tmp_path, clock=pipeline.clock)
    for number in range(5):
        pipeline.ask(f"r{number}", features={"x": number, "name": "Zürich ✈", "wind": 0.1 + 0.2, "missing": None})
    for part in (*runners, decoy):
        part.step(0.0)
        part.close()
    decoy.flush()
    [file] = tmp_path.rglob("*.parquet")
    archived = [json.dumps(json.loads(value)["features"]) for value in pq.read_table(file)["value"].to_pylist()]
    assert len(archived) == 5
    assert all(rows == archived for rows in seen.values())


def test_08_the_decoys_archive_replays_to_identical_scores_and_the_decoy_emits_none(tmp_path):
    pipeline = Pipeline()
    chance = random.Random(8)
    for number in range(50):
        pipeline.ask(f"r{number}", features={"x": chance.gauss(0, 1), "y": chance.random()})
    decoy = Decoy(pipeline.streams, tmp_path, clock=pipeline.clock)
    decoy.step(0.0)
    decoy.flush()
    decoy.close()
    assert "scores" not in pipeline.streams.names()

    def scored_on(streams):
        runner = Runner(streams, "m", Spec("1", f"{__name__}:product"), start="earliest", clock=pipeline.clock)
        while runner.step(0.0):
            pass
        runner.close()
        found = streams.reader(["scores"]).poll(timeout=0.0)
        return [(s.request_id, s.score, s.request_ts) for s in (decode(m.value, Score) for m in found)]

    [file] = tmp_path.rglob("*.parquet")
    again = MemoryStreams(clock=pipeline.clock, sleep=pipeline.clock.sleep)
    again.append("requests", [(b"", value) for value in pq.read_table(file)["value"].to_pylist()])
    first = scored_on(pipeline.streams)
    assert len(first) == 50
    assert scored_on(again) == first


def product(batch):
    return [row["x"] * row["y"] for row in batch]


@given(
    action=st.sampled_from(["champion", "ramp", "override", "schedule", "warm", "register", "rollback"]),
    override=st.booleans(),
    others=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_09_the_canary_is_never_selected_under_any_schedule_override_or_control_record(action, override, others):
    pipeline = Pipeline()
    params = {"percent": 100, "anyway": True} | (
        {"tiers": [{"models": ["bird"]}], "canary": []} if action == "schedule" else {}
    )
    pipeline.control(action, "bird", "1", **params)
    for number in range(5):
        pipeline.ask(f"r{number}", override="bird" if override else None)
        pipeline.score("bird", f"r{number}")
        if others:
            pipeline.score("m3", f"r{number}")
    pipeline.pass_time(1.1, step=0.05)
    assert len(pipeline.results) == 5
    assert "bird" not in {r.model for r in pipeline.results}
    assert all(d.scores["bird"] == 0.5 for d in pipeline.decisions)


def test_10_a_registered_model_has_no_selections_while_its_metrics_accumulate():
    pipeline = Pipeline()
    pipeline.control("register", "new", "1", target="a:b")
    for number in range(30):
        pipeline.ask(f"r{number}")
        pipeline.score("new", f"r{number}", 0.9)
        if number % 2:
            pipeline.score("m3", f"r{number}", 0.5)
    pipeline.pass_time(1.1, step=0.05)
    assert Counter(r.model for r in pipeline.results) == {"m3": 15, "default": 15}
    assert [d.scores["new"] for d in pipeline.decisions] == [0.9] * 30


def ramp(pipeline, percent, keys, name):
    pipeline.control("ramp", "new", "1", percent=percent, anyway=True)
    for number in range(keys):
        request_id = f"{name}-{number}"
        pipeline.ask(request_id, key=f"user-{number}")
        pipeline.score("m3", request_id)
        pipeline.score("new", request_id, version="1")
    pipeline.settle()
    return {
        r.request_id.removeprefix(f"{name}-")
        for r in pipeline.results
        if r.request_id.startswith(name) and r.model == "new"
    }


def test_11_a_ramp_selects_p_percent_within_binomial_error_its_keys_stay_and_raising_it_only_adds_some():
    pipeline, n = Pipeline(), 1500
    before = set()
    for round_, percent in enumerate([5, 5, 20, 60, 100]):
        chosen = ramp(pipeline, percent, n, f"round{round_}")
        assert before <= chosen
        assert stats.binomtest(len(chosen), n, percent / 100).pvalue > 1e-3
        before = chosen
    assert ramp(pipeline, 20, n, "down") < before


def test_12_rollback_is_in_force_at_the_next_request():
    pipeline = Pipeline()
    pipeline.control("ramp", "new", "2", percent=100, anyway=True)
    pipeline.ask("before")
    pipeline.score("new", "before", version="2")
    pipeline.settle()
    pipeline.control("rollback", "new", "2", to="1")
    pipeline.ask("after")
    pipeline.score("new", "after", version="2")
    pipeline.score("m3", "after")
    pipeline.settle()
    assert [(r.request_id, r.model) for r in pipeline.results] == [("before", "new"), ("after", "m3")]


class Taught:
    """In place of the learner, which is a thread: what the test has learnt so far."""

    arms: ClassVar = {}

    def __init__(self, learner, policy):
        self.policy = policy


def test_13_thompson_sampling_moves_traffic_to_the_better_arm_and_propensities_match_frequencies(monkeypatch):
    monkeypatch.setattr(rendezvous, "_Learning", Taught)
    tiers = [{"models": ["m3", "m2"], "policy": {"kind": "thompson"}}]
    pipeline, chance = Pipeline(tiers=tiers), random.Random(13)
    learnt, rates = Posterior(), {"m3": 0.3, "m2": 0.5}
    counted, expected, variance = Counter(), 0.0, 0.0
    shares = []
    for block in range(30):
        Taught.arms = learnt.at(pipeline.clock())
        for number in range(100):
            request_id = f"{block}-{number}"
            pipeline.ask(request_id)
            for model in ("m3", "m2", "bird"):
                pipeline.score(model, request_id)
        pipeline.settle()
        decisions = [d for d in pipeline.decisions if d.request_id.startswith(f"{block}-")]
        alpha, beta = zip(*(learnt.at(pipeline.clock()).get(m, (1.0, 1.0)) for m in ("m3", "m2")), strict=True)
        p = float(best_probabilities(alpha, beta)[1])
        for decision in decisions:
            assert decision.propensities["m2"] == pytest.approx(p, abs=1e-9)
            counted[decision.model] += 1
            expected += p
            variance += p * (1 - p)
            learnt.add(decision.model, float(chance.random() < rates[decision.model]), pipeline.clock())
        shares.append(sum(d.model == "m2" for d in decisions) / len(decisions))
    assert abs(counted["m2"] - expected) < 3.3 * math.sqrt(variance)  # one in a thousand
    assert min(shares[-5:]) > 0.9


def test_13_delayed_rewards_count_once():
    from birdwatch.serving.bandit.learner import Learner

    pipeline = Pipeline()
    pipeline.ask()
    pipeline.score("m3")
    pipeline.pass_time(1.1, step=0.3)
    late = Outcome(request_id="r", request_ts=NOW, ts=NOW + 7200, reward=1.0)
    for _ in range(2):
        learner = Learner(pipeline.streams, clock=pipeline.clock)
        learner.start()
        pipeline.put("outcomes", late, late)
        while learner.step():
            pass
        assert learner.arms["m3"] == (2.0, 1.0)
        learner.save()


def test_14_dithering_keeps_the_item_set_and_mean_displacement_grows_with_rank():
    ranking = list(range(500))
    moved = [0.0] * 500
    for number in range(500):
        shown = dither(ranking, 2.0, f"seed {number}")
        assert sorted(shown) == ranking
        for place, item in enumerate(shown):
            moved[item] += abs(place - item)
    by_ten = [
        sum(moved[start : start + 10]) for start in range(0, 60, 10)
    ]  # the end of the list holds the last ones back
    assert by_ten == sorted(by_ten)


def test_15_override_forces_the_named_model_is_audited_and_still_meets_the_sla():
    pipeline = Pipeline()
    pipeline.ask("forced", override="shadow", override_by="request")
    pipeline.score("shadow", "forced", 0.9)
    pipeline.score("m3", "forced")
    pipeline.ask("dead", override="nobody", override_by="a rule")
    pipeline.score("m3", "dead")
    pipeline.pass_time(1.1)
    forced, dead = sorted(pipeline.decisions, key=lambda d: d.request_id, reverse=True)
    assert (forced.model, forced.reason, forced.override_by, forced.drawn) == ("shadow", "override", "request", "m3")
    assert (dead.model, dead.override_by, dead.within_sla) == ("default", "a rule", True)
    assert dead.latency_seconds <= 1.0


happenings = st.lists(
    st.tuples(st.sampled_from([*MODELS, "bird"]), st.integers(0, 9), st.sampled_from(["score", "error"])), max_size=60
)


@given(happens=happenings, waits=st.lists(st.floats(0, 0.5), max_size=20))
@settings(deadline=None, max_examples=60)
def test_16_counts_reconcile_in_equals_scored_and_errors_and_pending_and_decisions_equal_answers(happens, waits):
    pipeline, chance = Pipeline(), random.Random(16)
    for number in range(10):
        pipeline.ask(f"r{number}")
    for model, number, kind in happens:
        error = "ValueError: no" if kind == "error" else None
        pipeline.score(model, f"r{number}", None if error else 0.5, error=error)
        if waits and chance.random() < 0.3:
            pipeline.clock.sleep(waits.pop())
            pipeline.settle()
    pipeline.settle()
    pipeline.pass_time(1.2, step=0.1)
    counts = pipeline.rendezvous.mailboxes.counts
    for model in (*MODELS, "bird"):
        came = counts["scores", model] + counts["errors", model]
        assert came == len({number for name, number, _ in happens if name == model})
        # What was missing when its mailbox closed is pending still, or came late.
        assert came - counts["late_scores", model] + counts["missing", model] == counts["requests", ""] == 10
    assert len(pipeline.results) == len(pipeline.decisions) == 10


def test_18_what_lies_before_the_token_is_the_old_ones_and_what_lies_after_the_new_ones():
    """In `test_swap.py`, with either killed at any of its writes; here, that two agree on every offset."""
    from birdwatch.records import Token
    from birdwatch.serving.rendezvous.turns import Turns

    old, new = Turns("rendezvous"), Turns("second")
    for turns in (old, new):
        turns.cut(0, 100, Token(token="t", component="rendezvous", to="second"))
    assert [old.mine(0, offset) for offset in (99, 101)] == [True, False]
    assert all(old.mine(0, offset) != new.mine(0, offset) for offset in range(200))


@pytest.mark.parametrize("stream", ["requests", "scores", "canary", "results", "metrics", "control"])
@pytest.mark.parametrize(
    "poison", [b"", b"{", b"null", b"[]", b'{"id": 5}', b"\xff\xfe", b'{"token": 5}', b"[" * 5000, b"1" * 100_000]
)
def test_20_a_poison_message_gets_a_dead_letter_and_nothing_stops(stream, poison):
    pipeline = Pipeline()
    pipeline.streams.append(stream, [(b"", poison)])
    pipeline.settle()
    pipeline.ask()
    pipeline.score("m3", value=0.5)
    pipeline.settle()
    assert [r.model for r in pipeline.results] == ["m3"]
    letters = pipeline.streams.reader(["deadletters"]).poll(timeout=0.0)
    assert len(letters) == 1
    assert Partition(stream) == Partition(json.loads(letters[0].value)["stream"])
