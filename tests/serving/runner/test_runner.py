import pytest
from prometheus_client import generate_latest

from birdwatch.errors import StreamError
from birdwatch.records import Token, encode
from birdwatch.streams import Partition
from birdwatch.testing import a_request

from .runners import ask, control, load, scores


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


def test_it_stops_after_what_is_in_hand_and_commits(streams, clock, start):
    runner = start()
    ask(streams, clock, 1)
    asked = iter([False, True])
    runner.run(lambda: next(asked))
    assert len(scores(streams)) == 1
    assert streams.committed("runner-m", ["requests"]) == {Partition("requests"): 1}


def test_what_the_model_gives_beside_the_number_travels_with_the_score(streams, start):
    runner = start("ranking")
    streams.append("requests", [(b"", encode(a_request(features={"x": 0.5, "ranked": ["b", {"a": 1}]})))])
    runner.step(0.0)
    [score] = scores(streams)
    assert (score.score, score.output, score.error) == (0.5, ["b", {"a": 1}], None)


def test_tokens_among_the_requests_are_passed_by(streams, clock, start):
    runner = start()
    streams.broadcast("requests", b"", encode(Token(token="t", component="rendezvous", to="second")))
    ask(streams, clock, 1)
    assert runner.step(0.0) == 1
    assert streams.names() == ["requests", "scores"]
    assert runner.counts == {("scores", "m"): 1, ("errors", "m"): 0}


def test_a_model_that_would_end_the_process_gives_an_error(streams, clock, start):
    runner = start("ends")
    ask(streams, clock, 1, 2)
    assert [runner.step(0.0), runner.step(0.0)] == [2, 0]
    assert [s.error for s in scores(streams)] == ["SystemExit: 3"] * 2


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
