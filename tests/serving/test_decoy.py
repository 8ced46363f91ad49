import pyarrow.parquet as pq
import pytest

from birdwatch.archive.redaction import Redaction
from birdwatch.errors import DiskFullError, StreamError
from birdwatch.records import Request, Score, Token, decode, encode
from birdwatch.serving.decoy import Decoy
from birdwatch.serving.runner.model import Spec
from birdwatch.serving.runner.runner import Runner
from birdwatch.streams import Gap, Partition
from birdwatch.testing import FakeClock, MemoryStreams, a_request


@pytest.fixture
def clock():
    return FakeClock(1_368_532_800.0)


@pytest.fixture
def streams(clock):
    return MemoryStreams(clock=clock, sleep=clock.sleep)


def ask(streams, *xs):
    records = [a_request(id=f"r{x}", features={"x": x, "weather": {"wind": 3.5}}) for x in xs]
    streams.append("requests", [(r.id.encode(), encode(r)) for r in records])


def archived(directory):
    files = sorted(directory.rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def test_it_archives_the_bytes_that_the_models_saw_and_emits_no_score(streams, clock, tmp_path):
    decoy = Decoy(streams, tmp_path, flush_count=3, clock=clock)
    ask(streams, 1, 2, 3)
    assert decoy.step(0.0) == 3
    log = streams.reader(["requests"]).poll(timeout=0.0)
    assert [row["value"] for row in archived(tmp_path)] == [m.value for m in log]
    assert [row["id"] for row in archived(tmp_path)] == ["r1", "r2", "r3"]
    assert streams.names() == ["requests"]


def test_what_must_not_be_kept_is_left_out(streams, tmp_path, clock):
    decoy = Decoy(streams, tmp_path, redactions={"requests": Redaction(drop=["features.weather"])}, clock=clock)
    ask(streams, 1)
    decoy.step(0.0)
    decoy.flush()
    [row] = archived(tmp_path)
    assert row["id"] == "r1"
    assert decode(row["value"], Request).features == {"x": 1}


def test_the_archive_replays_to_identical_scores(streams, clock, tmp_path, monkeypatch):
    (tmp_path / "model_for_the_decoy.py").write_text(
        "def f(batch): return [r['x'] / 7 + r['weather']['wind'] for r in batch]"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ask(streams, *range(50))
    spec = Spec("1", "model_for_the_decoy:f")
    Runner(streams, "m", spec, start="earliest", clock=clock).step(0.0)
    decoy = Decoy(streams, tmp_path, clock=clock)
    decoy.step(0.0)
    decoy.flush()
    replay = MemoryStreams(clock=clock, sleep=clock.sleep)
    replay.append("requests", [(row["key"], row["value"]) for row in archived(tmp_path)])
    Runner(replay, "m", spec, start="earliest", clock=clock).step(0.0)

    def scores(place):
        found = [decode(m.value, Score) for m in place.reader(["scores"]).poll(timeout=0.0)]
        return [(s.request_id, s.score) for s in found]

    assert len(scores(streams)) == 50
    assert scores(replay) == scores(streams)


def test_a_file_is_written_by_count_or_by_seconds(streams, clock, tmp_path):
    decoy = Decoy(streams, tmp_path, flush_count=3, flush_seconds=60.0, clock=clock)
    ask(streams, 1, 2)
    assert decoy.step(0.0) == 0
    clock.sleep(59.0)
    assert decoy.step(0.0) == 0
    clock.sleep(1.0)
    assert decoy.step(0.0) == 2
    ask(streams, 3, 4, 5)
    assert decoy.step(0.0) == 3


def test_it_commits_after_the_files_and_goes_on_after_them(streams, clock, tmp_path):
    decoy = Decoy(streams, tmp_path, clock=clock)
    ask(streams, 1, 2)
    decoy.step(0.0)
    assert streams.committed("decoy", ["requests"]) == {}
    decoy.flush()
    assert streams.committed("decoy", ["requests"]) == {Partition("requests"): 2}
    ask(streams, 3)
    decoy.step(0.0)  # killed before it wrote
    again = Decoy(streams, tmp_path, clock=clock)
    again.step(0.0)
    again.flush()
    assert [row["offset"] for row in archived(tmp_path)] == [0, 1, 2]


def test_killed_between_file_and_commit_it_goes_on_after_the_file(streams, clock, tmp_path, monkeypatch):
    decoy = Decoy(streams, tmp_path, clock=clock)
    ask(streams, 1, 2)
    decoy.step(0.0)
    monkeypatch.setattr(decoy._reader, "commit", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        decoy.flush()
    ask(streams, 3)
    again = Decoy(streams, tmp_path, clock=clock)
    again.step(0.0)
    again.flush()
    assert [row["offset"] for row in archived(tmp_path)] == [0, 1, 2]


def test_what_cannot_be_read_is_archived_too(streams, clock, tmp_path):
    decoy = Decoy(streams, tmp_path, flush_count=3, clock=clock)
    bad = [b'{"id": "x"', encode(a_request(id="far", ts=1e18)), encode(a_request(id="good"))]
    streams.append("requests", [(b"", value) for value in bad])
    assert decoy.step(0.0) == 3
    assert [(row["id"], row["value"]) for row in archived(tmp_path)] == list(
        zip([None, None, "good"], bad, strict=True)
    )


def test_tokens_are_archived_as_they_lie_without_an_id(streams, clock, tmp_path):
    decoy = Decoy(streams, tmp_path, flush_count=3, clock=clock)
    token = encode(Token(token="t", component="features", to="", by="gateway"))
    ask(streams, 1)
    streams.broadcast("requests", b"", token)
    ask(streams, 2)
    assert decoy.step(0.0) == 3
    assert [(row["offset"], row["id"]) for row in archived(tmp_path)] == [(0, "r1"), (1, None), (2, "r2")]
    assert archived(tmp_path)[1]["value"] == token
    assert streams.names() == ["requests"]


def test_it_writes_what_is_waiting_when_it_is_stopped(streams, clock, tmp_path):
    decoy = Decoy(streams, tmp_path, clock=clock)
    ask(streams, 1)
    asked = iter([False, True])
    decoy.run(lambda: next(asked))
    decoy.close()
    assert len(archived(tmp_path)) == 1
    assert decoy.archived == 1


def test_large_requests_are_written_before_they_fill_the_memory(streams, clock, tmp_path, monkeypatch):
    monkeypatch.setattr("birdwatch.archive.archiver._FLUSH_BYTES", 1000)
    decoy = Decoy(streams, tmp_path, clock=clock)
    streams.append("requests", [(b"", encode(a_request(features={"text": "x" * 2000})))])
    assert decoy.step(0.0) == 1


def test_what_a_group_gives_again_is_not_archived_again(streams, clock, tmp_path):
    decoy = Decoy(streams, tmp_path, flush_count=4, clock=clock)
    ask(streams, 1, 2, 3)
    decoy.step(0.0)
    decoy._reader.seek({Partition("requests"): 0})  # it was given up for a while
    ask(streams, 4)
    assert decoy.step(0.0) == 4
    decoy._reader.seek({Partition("requests"): 0})
    ask(streams, 5)
    decoy.step(0.0)
    decoy.flush()
    assert [row["id"] for row in archived(tmp_path)] == ["r1", "r2", "r3", "r4", "r5"]


def test_what_was_gone_before_it_was_archived_is_told(streams, clock, tmp_path, capsys):
    decoy = Decoy(streams, tmp_path, clock=clock)
    decoy._reader.gaps = lambda: [Gap(Partition("requests"), 7, 0, "made anew")]
    decoy._next = {Partition("requests"): 7}
    ask(streams, 1)
    decoy.step(0.0)
    decoy.flush()
    assert [row["id"] for row in archived(tmp_path)] == ["r1"]
    said = capsys.readouterr().err
    assert "requests, partition 0: messages from offset 7 on were gone before they were archived (made anew)" in said
    assert "it goes on at 0" in said


def test_it_outlives_streams_that_fail(streams, clock, tmp_path, capsys):
    decoy = Decoy(streams, tmp_path, flush_count=2, clock=clock, sleep=clock.sleep)
    ask(streams, 1, 2)
    commit = decoy._reader.commit

    def broken():
        decoy._reader.commit = commit
        raise StreamError("nobody is there")

    decoy._reader.commit = broken
    steps = iter(range(3))
    decoy.run(lambda: next(steps, None) is None)
    assert [row["id"] for row in archived(tmp_path)] == ["r1", "r2"]
    assert "nobody is there" in capsys.readouterr().err


def test_what_a_damaged_file_held_is_archived_again_and_the_file_kept(streams, clock, tmp_path, capsys):
    ask(streams, *range(6))
    first = Decoy(streams, tmp_path, flush_count=3, clock=clock, sleep=clock.sleep)
    for _ in range(6):
        first.step(0.0)
    first.flush()
    first.close()
    path = min(tmp_path.rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-10])

    again = Decoy(streams, tmp_path, clock=clock, sleep=clock.sleep)
    again.step(0.0)
    assert sorted(row["id"] for row in archived(tmp_path)) == [f"r{x}" for x in range(6)]
    assert path.with_name(f"_{path.name}.damaged").exists()
    said = capsys.readouterr().err
    assert f"{path} is damaged" in said
    assert "were archived again" in said


def test_while_the_disk_is_full_it_says_so_once_reads_no_more_than_fits_and_then_goes_on(
    streams, clock, tmp_path, capsys, monkeypatch
):
    decoy = Decoy(streams, tmp_path, flush_count=3, clock=clock, sleep=clock.sleep)
    write, turns = decoy._writers["requests"].write, iter(range(100))

    def fail(_rows):
        raise DiskFullError("the disk is full: archive")

    monkeypatch.setattr(decoy._writers["requests"], "write", fail)
    ask(streams, *range(4))

    def stopping():
        turn = next(turns)
        if turn == 5:
            assert decoy.trouble.reason == "trying again: the disk is full: archive"
            ask(streams, *range(4, 9))
        if turn == 10:
            assert decoy._waiting_count == 4  # what came meanwhile is left in the log
            monkeypatch.setattr(decoy._writers["requests"], "write", write)
        return turn == 15

    decoy.run(stopping)
    assert [row["id"] for row in archived(tmp_path)] == [f"r{x}" for x in range(9)]
    assert decoy.trouble.reason is None
    assert capsys.readouterr().err.count("the disk is full") == 2  # when it began, and when it was over
