import sys

import pytest

from birdwatch.errors import ServingError
from birdwatch.records import Control, Score, decode, encode
from birdwatch.serving.model import Spec
from birdwatch.serving.runner import Runner
from birdwatch.streams import Partition
from birdwatch.testing import FakeClock, MemoryStreams, a_request

MODULE = """
def twice(batch):
    return [2 * row["x"] for row in batch]

def thrice(batch):
    return [3 * row["x"] for row in batch]

def inverse(batch):
    return [1 / row["x"] for row in batch]

def sizes(batch):
    return [len(batch)] * len(batch)
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


def ask(streams, clock, *xs, **fields):
    records = [a_request(id=f"r{x}", received_ts=clock(), features={"x": x}, **fields) for x in xs]
    streams.append("requests", [(r.id.encode(), encode(r)) for r in records])


def control(streams, action, version="", model="m", **params):
    record = Control(ts=0, action=action, author="ann", reason="a test", model=model, version=version, params=params)
    streams.append("control", [(model.encode(), encode(record))])


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


def test_a_registered_version_serves_from_the_next_request_on(streams, clock, module, start):
    runner = start()
    ask(streams, clock, 1)
    runner.step(0.0)
    control(streams, "register", "2", target=f"{module}:thrice")
    ask(streams, clock, 2)
    runner.step(0.0)
    control(streams, "rollback", "2", to="1")
    ask(streams, clock, 3)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", 2.0), ("2", 6.0), ("1", 6.0)]


def test_a_version_that_cannot_be_loaded_is_not_served_and_said_so(streams, clock, module, start, capsys):
    runner = start()
    control(streams, "register", "2", target=f"{module}:missing")
    ask(streams, clock, 1)
    runner.step(0.0)
    assert [(s.version, s.score) for s in scores(streams)] == [("1", 2.0)]
    assert "version '2' is not served" in capsys.readouterr().err
    control(streams, "register", "2", target=f"{module}:thrice")
    ask(streams, clock, 2)
    runner.step(0.0)
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
    runner.step(0.0)
    assert runner.version == "1"
    assert start().version == "1"


def test_when_what_it_is_rolled_back_to_cannot_be_loaded_any_more_the_old_one_goes_on(streams, module, start, capsys):
    runner = start("twice")
    control(streams, "register", "2", target=f"{module}:thrice")
    runner.step(0.0)
    runner._loaded.pop(Spec("1", f"{module}:twice"))
    del sys.modules[module].twice
    control(streams, "rollback", "2", to="1")
    runner.step(0.0)
    assert runner.version == "2"
    assert "version '1' is not served" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded_does_not_start(start):
    with pytest.raises(ServingError, match="no 'missing'"):
        start("missing")


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
    runner = start()
    for version in range(2, 12):
        control(streams, "register", str(version), target=f"{module}:thrice")
        runner.step(0.0)
    assert len(runner._loaded) <= 4
    assert runner.version == "11"
