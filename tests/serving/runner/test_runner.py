import importlib
import sys
import threading

import pytest
from prometheus_client import generate_latest

from birdwatch.errors import ServingError, StreamError
from birdwatch.records import Control, Score, Token, decode, encode
from birdwatch.serving.runner.model import Spec
from birdwatch.serving.runner.runner import Runner
from birdwatch.streams import Partition
from birdwatch.testing import FakeClock, MemoryStreams, a_request

MODULE = """
def large(batch):
    return [{"score": row["x"], "output": "small" if row["x"] == 1 else "y" * 900_000} for row in batch]


def twice(batch):
    return [2 * row["x"] for row in batch]

def thrice(batch):
    return [3 * row["x"] for row in batch]

def inverse(batch):
    return [1 / row["x"] for row in batch]

def sizes(batch):
    return [len(batch)] * len(batch)

def ranking(batch):
    return [{"score": row["x"], "output": row["ranked"]} for row in batch]

def makes(offset=0):
    return lambda batch: [row["x"] + offset for row in batch]

def ends(batch):
    raise SystemExit(3)
"""

HANGS = """
import threading
gate = threading.Event()

def score(batch):
    if any(row["x"] == 13 for row in batch):
        gate.wait(60)
    return [row["x"] for row in batch]

def make(path):
    gate.wait(60)
    return score
"""


@pytest.fixture
def clock():
    return FakeClock(1_368_532_800.0)


@pytest.fixture
def streams(clock):
    return MemoryStreams(clock=clock, sleep=clock.sleep)


@pytest.fixture
def module(tmp_path, monkeypatch):
    name = f"models_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def start(streams, clock, module):
    def started(function="twice", model="m", version="1", **options):
        return Runner(streams, model, Spec(version, f"{module}:{function}"), clock=clock, **options)

    return started


@pytest.fixture
def hanging(tmp_path, monkeypatch):
    """The name of a module whose models hang, as 13 tells them to, until they are let go."""
    name = f"hangs_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(HANGS)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(name)  # a runner may be gone before it comes to that
    yield name
    let_go(name)


def let_go(name):
    sys.modules[name].gate.set()


def ask(streams, clock, *xs, **fields):
    records = [a_request(id=f"r{x}", received_ts=clock(), features={"x": x}, **fields) for x in xs]
    streams.append("requests", [(r.id.encode(), encode(r)) for r in records])


def control(streams, action, version="", model="m", **params):
    record = Control(ts=0, action=action, author="ann", reason="a test", model=model, version=version, params=params)
    streams.append("control", [(model.encode(), encode(record))])


def load(runner):
    """Have the runner read control, and wait until what it should serve is loaded or refused."""
    runner.step(0.0)
    runner.settle(60.0)


def scores(streams, stream="scores"):
    return [decode(m.value, Score) for m in streams.reader([stream]).poll(timeout=0.0)]


def test_a_score_says_what_who_and_when(streams, clock, start):
    runner = start()
    ask(streams, clock, 3, ts=1000.0)
    clock.sleep(0.25)
    assert runner.step(0.0) == 1
    [score] = scores(streams)
    assert (score.request_id, score.request_ts, score.model, score.version) == ("r3", 1000.0, "m", "1")
    assert (score.score, score.error) == (6.0, None)
    assert score.queue_seconds == pytest.approx(0.25)
    assert score.elapsed_seconds >= 0
    assert score.ts == pytest.approx(1000.25)
    assert set(score.provenance) == {"component", "version", "host", "pid"}


def test_what_is_waiting_is_scored_together_up_to_the_batch(streams, clock, start):
    runner = start("sizes", batch=64)
    ask(streams, clock, *range(100))
    assert [runner.step(0.0), runner.step(0.0), runner.step(0.0)] == [64, 36, 0]
    assert [s.score for s in scores(streams)] == [64.0] * 64 + [36.0] * 36


def test_the_canary_writes_to_a_stream_of_its_own(streams, clock, start):
    runner = start(role="canary")
    ask(streams, clock, 1)
    runner.step(0.0)
    assert [s.score for s in scores(streams, "canary")] == [2.0]
    assert scores(streams) == []


def test_a_poison_request_gets_an_error_and_the_others_their_scores(streams, clock, start):
    runner = start("inverse")
    ask(streams, clock, 1, 0, 2)
    runner.step(0.0)
    assert [(s.score, s.error) for s in scores(streams)] == [
        (1.0, None),
        (None, "ZeroDivisionError: division by zero"),
        (0.5, None),
    ]
    assert (runner.counts["scores", "m"], runner.counts["errors", "m"]) == (2, 1)


def test_a_request_that_cannot_be_read_is_a_dead_letter_and_stops_nothing(streams, clock, start):
    runner = start()
    streams.append("requests", [(b"", b'{"id": "bad"'), (b"", encode(a_request()).replace(b"{}", b"[1]"))])
    ask(streams, clock, 1)
    assert runner.step(0.0) == 1
    letters = streams.reader(["deadletters"]).poll(timeout=0.0)
    assert b"truncated" in letters[0].value
    assert b"features" in letters[1].value
    assert runner.counts["dead_letters", "m"] == 2


def test_a_new_runner_begins_with_what_comes_after_it(streams, clock, start):
    ask(streams, clock, 1)
    runner = start()
    ask(streams, clock, 2)
    assert runner.step(0.0) == 1
    assert start(model="other", start="earliest").step(0.0) == 2


def test_a_crash_before_the_commit_scores_again_and_loses_nothing(streams, clock, start):
    start()  # killed before the first request
    runner = start()
    ask(streams, clock, 1)
    runner.step(0.0)  # killed before its commit
    again = start()
    ask(streams, clock, 2)
    again.step(0.0)
    assert [s.request_id for s in scores(streams)] == ["r1", "r1", "r2"]


def test_offsets_are_committed_after_the_scores_several_times_a_second_and_when_idle(streams, clock, start):
    runner = start()
    group = "runner-m", ["requests"]
    ask(streams, clock, 1)
    runner.step(0.0)
    assert streams.committed(*group) == {Partition("requests"): 0}
    runner.step(0.0)
    assert streams.committed(*group) == {Partition("requests"): 1}
    for x in range(2, 12):
        ask(streams, clock, x)
        clock.sleep(0.1)
        runner.step(0.0)
    assert streams.committed(*group)[Partition("requests")] >= 10


def test_a_registered_version_serves_when_it_is_loaded_and_a_rollback_at_the_next_request(
    streams, clock, module, start
):
    runner = start()
    ask(streams, clock, 1)
    runner.step(0.0)
    control(streams, "register", "2", target=f"{module}:thrice")
    load(runner)
    ask(streams, clock, 2)
    runner.step(0.0)
    control(streams, "rollback", "2", to="1")  # in memory: it is in force at once
    ask(streams, clock, 3)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", 2.0), ("2", 6.0), ("1", 6.0)]


def test_a_version_that_cannot_be_loaded_is_not_served_and_said_so(streams, clock, module, start, capsys):
    runner = start()
    control(streams, "register", "2", target=f"{module}:missing")
    load(runner)
    ask(streams, clock, 1)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", 2.0)]
    assert "version '2' is not served" in capsys.readouterr().err
    control(streams, "register", "2", target=f"{module}:thrice")
    load(runner)
    assert runner.version == "2"


def test_control_is_remembered_over_a_restart(streams, clock, module, start):
    control(streams, "register", "2", target=f"{module}:thrice")
    control(streams, "register", "9", model="other", target="nowhere:nothing")
    assert start().version == "2"


def test_when_the_last_registered_version_cannot_be_loaded_on_start_the_given_one_serves(streams, module, start):
    control(streams, "register", "2", target=f"{module}:missing")
    assert start().version == "1"


def test_a_version_is_rolled_back_although_a_later_one_could_not_be_loaded(streams, module, start):
    def roll_back():
        control(streams, "register", "2", target=f"{module}:thrice")
        control(streams, "register", "3", target=f"{module}:missing")
        control(streams, "rollback", "2", to="1")

    runner = start()
    roll_back()
    load(runner)
    assert runner.version == "1"
    assert start().version == "1"


def test_when_what_it_is_rolled_back_to_cannot_be_loaded_any_more_the_old_one_goes_on(streams, module, start, capsys):
    runner = start("twice")
    control(streams, "register", "2", target=f"{module}:thrice")
    load(runner)
    runner._workers.pop(Spec("1", f"{module}:twice"))
    del sys.modules[module].twice
    control(streams, "rollback", "2", to="1")
    load(runner)
    assert runner.version == "2"
    assert "version '1' is not served" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_does_not_start(start):
    with pytest.raises(ServingError, match="no 'missing'"):
        start("missing")


def test_a_retired_model_does_not_start_however_long_it_takes_to_fetch_that(remote, clock, module):
    control(remote, "retire")
    with pytest.raises(ServingError, match="retired"):
        Runner(remote, "m", Spec("1", f"{module}:twice"), clock=clock)


def test_a_retired_model_ends_and_does_not_start_again(streams, clock, start):
    runner = start()
    control(streams, "retire")
    runner.run(lambda: False)
    assert runner.retired
    runner.close()
    with pytest.raises(ServingError, match="retired"):
        start()


def test_it_stops_after_what_is_in_hand_and_commits(streams, clock, start):
    runner = start()
    ask(streams, clock, 1)
    asked = iter([False, True])
    runner.run(lambda: next(asked))
    assert len(scores(streams)) == 1
    assert streams.committed("runner-m", ["requests"]) == {Partition("requests"): 1}


def test_memory_keeps_few_versions(streams, clock, module, start):
    before = sum(thread.name.startswith("model ") for thread in threading.enumerate())
    runner = start()
    for version in range(2, 12):
        control(streams, "register", str(version), target=f"{module}:thrice")
        load(runner)
    assert len(runner._workers) <= 4
    assert sum(thread.name.startswith("model ") for thread in threading.enumerate()) <= 4 + before
    assert runner.version == "11"


def test_what_the_model_gives_beside_the_number_travels_with_the_score(streams, start):
    runner = start("ranking")
    streams.append("requests", [(b"", encode(a_request(features={"x": 0.5, "ranked": ["b", {"a": 1}]})))])
    runner.step(0.0)
    [score] = scores(streams)
    assert (score.score, score.output, score.error) == (0.5, ["b", {"a": 1}], None)


def test_a_version_comes_with_its_options(streams, clock, module, start):
    runner = start()
    control(streams, "register", "2", target=f"{module}:makes", options={"offset": 100})
    load(runner)
    ask(streams, clock, 1)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("2", 101.0)]


def test_tokens_among_the_requests_are_passed_by(streams, clock, start):
    runner = start()
    streams.broadcast("requests", b"", encode(Token(token="t", component="rendezvous", to="second")))
    ask(streams, clock, 1)
    assert runner.step(0.0) == 1
    assert streams.names() == ["requests", "scores"]
    assert runner.counts == {("scores", "m"): 1, ("errors", "m"): 0}


def test_a_model_that_takes_too_long_gives_errors_at_once_and_serves_again_when_it_comes_back(streams, clock, hanging):
    runner = Runner(streams, "m", Spec("1", f"{hanging}:score"), clock=clock, timeout_seconds=0.0)
    ask(streams, clock, 13, 14)
    assert runner.step(0.0) == 2
    assert runner.trouble() == "the model is still busy with request r13 and 1 more"
    runner.timeout_seconds = 60.0
    ask(streams, clock, 15)
    assert runner.step(0.0) == 1
    let_go(hanging)
    assert runner._serving.stuck(60.0) == ""
    ask(streams, clock, 16)
    assert runner.step(0.0) == 1
    assert runner.trouble() is None
    late = "the model took longer than 0 s"
    assert [(s.request_id, s.score, s.error) for s in scores(streams)] == [
        ("r13", None, late),
        ("r14", None, late),
        ("r15", None, "the model is still busy with request r13 and 1 more"),
        ("r16", 16.0, None),
    ]
    assert [s.elapsed_seconds is None for s in scores(streams)] == [False, False, True, False]
    assert (runner.counts["timed_out", "m"], runner.counts["errors", "m"]) == (3, 3)


def test_what_took_too_long_is_not_scored_again_after_a_restart(streams, clock, hanging, start):
    runner = Runner(streams, "m", Spec("1", f"{hanging}:score"), clock=clock, timeout_seconds=0.0)
    ask(streams, clock, 13)
    runner.run(iter([False, True]).__next__)
    assert start().step(0.0) == 0


def test_another_version_serves_although_the_one_before_it_hangs(streams, clock, hanging, module):
    runner = Runner(streams, "m", Spec("1", f"{hanging}:score"), clock=clock, timeout_seconds=0.0)
    ask(streams, clock, 13)
    runner.step(0.0)
    runner.timeout_seconds = 60.0
    control(streams, "register", "2", target=f"{module}:twice")
    load(runner)
    ask(streams, clock, 14)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", None), ("2", 28.0)]
    runner.close()  # the one that hangs is not waited for


def test_while_a_version_is_loaded_the_one_before_it_goes_on(streams, clock, hanging, start):
    runner = start()
    control(streams, "register", "2", target=f"{hanging}:make", artifact="any")
    ask(streams, clock, 1, 2)
    assert runner.step(0.0) == 2
    assert runner.version == "1"
    control(streams, "rollback", "2")  # it is not even waited for
    load(runner)
    control(streams, "register", "3", target=f"{hanging}:make", artifact="another")
    runner.step(0.0)
    let_go(hanging)
    runner.settle(60.0)
    ask(streams, clock, 3)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", 2.0), ("1", 4.0), ("3", 3.0)]


def test_who_is_asked_to_stop_while_the_first_version_is_loaded_stops(streams, clock, hanging):
    spec = Spec("1", f"{hanging}:make", "any")
    ask(streams, clock, 1)
    runner = Runner(streams, "m", spec, clock=clock, start="earliest", stopping=lambda: True)
    runner.run(lambda: True)
    assert (runner.version, runner.step(0.0)) == ("", 0)
    runner.close()


def test_a_model_that_would_end_the_process_gives_an_error(streams, clock, start):
    runner = start("ends")
    ask(streams, clock, 1, 2)
    assert [runner.step(0.0), runner.step(0.0)] == [2, 0]
    assert [s.error for s in scores(streams)] == ["SystemExit: 3"] * 2


def test_pickles_are_loaded_only_where_the_command_line_allows_it(streams, start, capsys):
    runner = start()
    control(streams, "register", "2", target="pickle", artifact="model.pkl", options={"sha256": "ab", "allow": True})
    load(runner)
    assert runner.version == "1"
    assert "start the runner with --allow-pickle" in capsys.readouterr().err


def test_its_measures_say_how_long_requests_wait_and_what_serves(streams, clock, module, start):
    runner = start()
    ask(streams, clock, 1, 2, 3)
    clock.sleep(0.3)
    runner.step(0.0)
    control(streams, "register", "2", target=f"{module}:thrice")
    load(runner)
    shown = generate_latest(runner.measures.registry).decode()
    assert 'birdwatch_runner_queue_seconds_bucket{le="0.2",model="m"} 0.0' in shown
    assert 'birdwatch_runner_queue_seconds_bucket{le="0.5",model="m"} 3.0' in shown
    assert 'birdwatch_runner_elapsed_seconds_count{model="m"} 1.0' in shown
    assert 'birdwatch_runner_batch_size_sum{model="m"} 3.0' in shown
    assert f'birdwatch_runner_version_info{{model="m",target="{module}:thrice",version="2"}} 1.0' in shown
    assert 'version="1"' not in shown


def test_an_output_that_is_too_large_to_travel_is_an_error_and_costs_nobody_else_an_answer(streams, clock, start):
    runner = start("large")
    ask(streams, clock, 1, 2)
    assert runner.step(0.0) == 2
    one, two = scores(streams)
    assert (one.score, one.output, one.error) == (1.0, "small", None)
    assert two.score is None
    assert "900000 are allowed" in two.error


def test_when_the_streams_fail_what_is_not_committed_is_scored_again(streams, clock, start, monkeypatch, capsys):
    runner = start(start="earliest", sleep=clock.sleep)
    ask(streams, clock, 1)
    append = streams.append

    def broken(stream, messages):
        monkeypatch.setattr(streams, "append", append)
        raise StreamError("nobody is there")

    monkeypatch.setattr(streams, "append", broken)
    steps = iter(range(5))
    runner.run(lambda: next(steps, None) is None)
    assert [score.request_id for score in scores(streams)] == ["r1"]
    assert "beginning anew: nobody is there" in capsys.readouterr().err


def test_of_the_first_requests_none_is_passed_by_when_the_streams_fail(streams, clock, start, monkeypatch):
    runner = start(start="latest", sleep=clock.sleep)
    ask(streams, clock, 1)

    def broken(positions=None):
        raise StreamError("nobody is there")

    monkeypatch.setattr(runner._reader, "commit", broken)
    steps = iter(range(5))
    runner.run(lambda: next(steps, None) is None)
    assert [score.request_id for score in scores(streams)] == ["r1"]
