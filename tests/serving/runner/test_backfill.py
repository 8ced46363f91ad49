"""A backfill says of past requests what the runner would have said, and of each once, however often it is killed."""

import sys

import pytest

from birdwatch.archive.archiver import Archiver
from birdwatch.archive.reader import Records
from birdwatch.archive.writer import ArchiveWriter
from birdwatch.errors import ServingError, StreamError
from birdwatch.records import Token, encode
from birdwatch.serving.runner.backfill import Backfill
from birdwatch.serving.runner.filled import InArchive, OnStreams
from birdwatch.serving.runner.model import Spec
from birdwatch.serving.runner.runner import Runner
from birdwatch.streams.archived import ArchiveStreams
from birdwatch.testing import FakeClock, MemoryStreams, a_request

from .runners import ask, scores

DAY = 86_400.0
NOON = 1_368_532_800.0


def never():
    return False


@pytest.fixture
def elsewhere(clock):
    return MemoryStreams(clock=clock, sleep=clock.sleep)


@pytest.fixture
def archive(tmp_path, streams, clock):
    """Keep a hundred requests a day, of three days, as a decoy does."""
    for day in range(3):
        for n in range(100):
            ask(streams, clock, 100 * day + n, ts=NOON + DAY * day + n)
    archiver = Archiver(streams, ["requests"], tmp_path / "archive", group=None)
    archiver.run_once(never)
    archiver.close()
    return tmp_path / "archive"


@pytest.fixture
def fill(archive, module):
    """Fill in a model's scores in the archive itself."""

    def filled(function="twice", version="1", stopping=never, **options):
        made = Backfill(
            ArchiveStreams(f"archive:{archive}"),
            InArchive(archive, "m", version),
            "m",
            Spec(version, f"{module}:{function}"),
            **options,
        )
        made.run(stopping)
        return made

    return filled


def found(archive, stream="scores"):
    return Records(archive).read(stream)


@pytest.mark.parametrize("function", ["twice", "inverse", "sizes", "ends"])
def test_it_says_what_the_runner_says(streams, elsewhere, clock, module, function):
    ask(streams, clock, *range(100), ts=1000.0)
    streams.append("requests", [(b"", encode(Token(token="t", component="features", to="x"))), (b"", b'{"id": "bad"')])
    runner = Runner(streams, "m", Spec("1", f"{module}:{function}"), start="earliest", clock=clock)
    while runner.step(0.0):
        pass
    made = Backfill(streams, OnStreams(elsewhere, "m", "1"), "m", Spec("1", f"{module}:{function}"))
    made.run(never)

    def what(place):
        return [(s.request_id, s.request_ts, s.model, s.version, s.score, s.error, s.output) for s in scores(place)]

    assert what(elsewhere) == what(streams)
    assert len(what(elsewhere)) == 100
    assert made.counts["scores"] == runner.counts["scores", "m"]
    assert made.counts["errors"] == runner.counts["errors", "m"]
    [letter] = elsewhere.reader(["deadletters"]).poll(timeout=0.0)
    assert b"truncated" in letter.value
    assert made.counts["dead_letters"] == 1


def test_nobody_waited_so_there_are_event_times_and_no_durations(streams, elsewhere, clock, module):
    ask(streams, clock, 3, ts=1000.0)
    clock.sleep(1e6)
    Backfill(streams, OnStreams(elsewhere, "m", "1"), "m", Spec("1", f"{module}:twice")).run(never)
    [score] = scores(elsewhere)
    assert (score.request_ts, score.ts) == (1000.0, 1000.0)
    assert (score.queue_seconds, score.elapsed_seconds) == (None, None)
    assert score.provenance["component"] == "backfill"


def test_in_an_archive_scores_lie_beside_those_that_were_there(archive, fill):
    fill()
    assert Records(archive).joined()["score.m"].tolist() == [2.0 * x for x in range(300)]
    fill("thrice", version="2")
    both = found(archive)
    assert both.groupby("version")["score"].sum().to_dict() == {"1": 2 * 44_850.0, "2": 3 * 44_850.0}
    assert both["partition"].nunique() == 2
    assert both["partition"].min() >= 1_000_000
    assert len(found(archive, "requests")) == 300


def test_killed_between_two_files_it_goes_on_and_scores_each_once(archive, fill, monkeypatch):
    written, write = [], ArchiveWriter._write_file

    def dies(self, *what):
        if written:
            raise KeyboardInterrupt
        written.append(write(self, *what))
        return written[-1]

    with monkeypatch.context() as patched:
        patched.setattr(ArchiveWriter, "_write_file", dies)
        with pytest.raises(KeyboardInterrupt):
            fill()
    assert len(found(archive)) == 100
    again = fill()
    assert (again.counts["before"], again.counts["scores"]) == (100, 200)
    assert found(archive)["request_id"].tolist() == [f"r{x}" for x in range(300)]
    assert fill().counts["scores"] == 0


def test_asked_to_stop_it_keeps_what_it_has(archive, fill):
    fill(stopping=lambda: True, batch=50)
    assert len(found(archive)) <= 50
    fill()
    assert found(archive)["score"].tolist() == [2.0 * x for x in range(300)]


def test_what_was_narrowed_in_time_is_filled_in_later(archive, fill):
    assert fill(since=NOON + DAY, until=NOON + 2 * DAY).counts["scores"] == 100
    assert fill().counts["scores"] == 200
    assert sorted(found(archive)["score"]) == [2.0 * x for x in range(300)]


def test_scores_of_other_requests_are_not_taken_for_these(archive, fill, module, streams, clock):
    fill()
    others = MemoryStreams(clock=clock, sleep=clock.sleep)
    others.append("requests", [(b"", encode(a_request(id="another", features={"x": 1})))])
    with pytest.raises(StreamError, match="other requests than these, as r0: give another --version"):
        Backfill(others, InArchive(archive, "m", "1"), "m", Spec("1", f"{module}:twice")).run(never)


def test_on_streams_the_id_tells_and_what_was_asked_twice_is_scored_once(streams, elsewhere, clock, module):
    ask(streams, clock, 1, 1, 2)
    spec = Spec("1", f"{module}:twice")
    Backfill(streams, OnStreams(elsewhere, "m", "1"), "m", spec).run(never)
    ask(streams, clock, 2, 3)
    again = Backfill(streams, OnStreams(elsewhere, "m", "1"), "m", spec)
    again.run(never)
    assert [s.request_id for s in scores(elsewhere)] == ["r1", "r2", "r3"]
    Backfill(streams, OnStreams(elsewhere, "m", "2"), "m", Spec("2", spec.target)).run(never)
    assert len(scores(elsewhere)) == 6


def test_a_model_that_does_not_come_back_ends_it_and_the_next_start_goes_on_after(
    streams, elsewhere, clock, tmp_path, monkeypatch
):
    (tmp_path / "hangs_in_backfill.py").write_text(
        "import threading\ngate = threading.Event()\n"
        "def score(rows):\n    _ = rows[0]['x'] == 13 and gate.wait(60)\n    return [row['x'] for row in rows]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = Spec("1", "hangs_in_backfill:score")
    ask(streams, clock, 13, 14)
    made = Backfill(streams, OnStreams(elsewhere, "m", "1"), "m", spec, batch=1, timeout_seconds=0.0)
    with pytest.raises(ServingError, match="m 1 does not come back from request r13: what it said before is kept"):
        made.run(never)
    sys.modules["hangs_in_backfill"].gate.set()
    Backfill(streams, OnStreams(elsewhere, "m", "1"), "m", spec, batch=1).run(never)
    assert [(s.request_id, s.score, s.error) for s in scores(elsewhere)] == [
        ("r13", None, "the model took longer than 0 s"),
        ("r14", 14.0, None),
    ]


def test_a_model_that_cannot_be_loaded_says_why(streams, elsewhere):
    with pytest.raises(ServingError, match="no_such_module"):
        Backfill(streams, OnStreams(elsewhere, "m", "1"), "m", Spec("1", "no_such_module:score")).run(never)


def test_the_live_archiver_goes_on_in_the_same_archive(archive, fill, clock):
    fill()
    live = MemoryStreams(clock=FakeClock(), sleep=FakeClock().sleep)
    live.append("scores", [(b"", b'{"a": 1}')])
    archiver = Archiver(live, ["scores"], archive)
    archiver.run_once(never)
    archiver.close()
    assert archiver.archived == 1
    assert fill().counts["before"] == 300
