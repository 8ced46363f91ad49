"""Streams are archived as they are, each message once, and without what is to be left out."""

import pyarrow.parquet as pq
import pytest

from birdwatch.archive.archiver import Archiver
from birdwatch.archive.redaction import Redaction
from birdwatch.errors import SettingsError, StreamError
from birdwatch.records import encode
from birdwatch.streams import open_streams
from birdwatch.testing import FakeClock, MemoryStreams, a_decision, a_request, a_score, an_alert


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def streams(clock):
    return MemoryStreams(clock=clock, sleep=clock.sleep)


def put(streams, stream, *records, key=b""):
    streams.append(stream, [(key, record if isinstance(record, bytes) else encode(record)) for record in records])


def rows(folder, stream):
    files = sorted((folder / stream).rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def once(streams, names, folder, **how):
    archiver = Archiver(streams, names, folder, **how)
    archiver.run_once(lambda: False)
    archiver.close()
    return archiver


def test_each_stream_has_a_folder_and_says_what_its_records_are_about(streams, tmp_path):
    put(streams, "requests", a_request(id="r1"))
    put(streams, "scores", a_score(request_id="r1"), a_score(request_id="r2"))
    put(streams, "alerts", an_alert(fingerprint="f"))
    archiver = once(streams, ["requests", "scores", "alerts"], tmp_path)
    assert {name: [row["id"] for row in rows(tmp_path, name)] for name in ("requests", "scores", "alerts")} == {
        "requests": ["r1"],
        "scores": ["r1", "r2"],
        "alerts": ["f"],
    }
    assert archiver.counts == {("messages", "requests"): 1, ("messages", "scores"): 2, ("messages", "alerts"): 1}


def test_it_goes_on_after_what_is_archived_of_each_stream(streams, tmp_path):
    put(streams, "scores", a_score())
    once(streams, ["scores", "metrics"], tmp_path)
    put(streams, "scores", a_score())
    put(streams, "metrics", a_decision())
    again = once(streams, ["scores", "metrics"], tmp_path)
    assert again.archived == 2
    assert [row["offset"] for row in rows(tmp_path, "scores")] == [0, 1]


def test_streams_together_fill_the_memory(streams, clock, tmp_path):
    archiver = Archiver(streams, ["scores", "metrics"], tmp_path, flush_count=3, clock=clock)
    put(streams, "scores", a_score(), a_score())
    assert archiver.step(0.0) == 0
    put(streams, "metrics", a_decision())
    assert archiver.step(0.0) == 3


def test_recorded_files_are_archived_without_a_trace_in_their_folder(tmp_path):
    (tmp_path / "recorded").mkdir()
    (tmp_path / "recorded" / "scores.jsonl").write_bytes(encode(a_score()) + b"\n")
    place = open_streams(f"files:{tmp_path}/recorded")
    once(place, ["scores"], tmp_path / "archive", group=None)
    place.close()
    assert [path.name for path in (tmp_path / "recorded").iterdir()] == ["scores.jsonl"]
    assert len(rows(tmp_path / "archive", "scores")) == 1


def test_a_damaged_file_is_told_of_after_the_others_are_archived(tmp_path, monkeypatch):
    monkeypatch.setattr("birdwatch.archive.archiver._IDLE_SECONDS", 0.001)
    monkeypatch.setattr("birdwatch.archive.archiver._QUIET_SECONDS", 0.002)
    (tmp_path / "scores.jsonl.gz").write_bytes(b"\x1f\x8b not gzip")
    (tmp_path / "metrics.jsonl").write_bytes(encode(a_decision()) + b"\n")
    place = open_streams(f"files:{tmp_path}")
    archiver = Archiver(place, ["metrics", "scores"], tmp_path / "archive", group=None)
    archiver._streams = _Ends(place)
    with pytest.raises(StreamError, match=r"scores\.jsonl\.gz is damaged"):
        archiver.run_once(lambda: False)
    archiver.close()
    place.close()
    assert len(rows(tmp_path / "archive", "metrics")) == 1


class _Ends:
    """As if somebody had written more: what is damaged cannot be read to its end."""

    def __init__(self, place):
        self._place = place

    def ends(self, names):
        return {at: end + 1 for at, end in self._place.ends(names).items()}


def test_an_archive_is_archived_with_its_keys_and_offsets(streams, tmp_path):
    put(streams, "scores", a_score(), a_score(), key=b"k")
    once(streams, ["scores"], tmp_path / "first")
    place = open_streams(f"archive:{tmp_path}/first")
    once(place, ["scores"], tmp_path / "second", group=None)
    place.close()
    assert rows(tmp_path / "second", "scores") == rows(tmp_path / "first", "scores")


def test_what_is_to_be_left_out_is_not_on_the_disk(streams, tmp_path):
    redaction = Redaction(only=["features.age"], drop=["key"])
    put(streams, "requests", a_request(id="r1", key="Ann", features={"age": 41, "name": "Ann"}), key=b"r1")
    put(streams, "requests", a_request(id="r2", key="Ann", features={"age": 42}), key=b"Ann")
    put(streams, "requests", b"Ann, not JSON")
    archiver = once(streams, ["requests"], tmp_path, redactions={"requests": redaction})
    found = rows(tmp_path, "requests")
    assert [(row["id"], row["key"]) for row in found] == [("r1", b"r1"), ("r2", b""), (None, b"")]
    assert found[2]["value"] == b""
    [path] = tmp_path.rglob("*.parquet")
    assert b"Ann" not in b"".join(row["value"] for row in found)
    assert b"Ann" not in path.read_bytes()
    assert pq.read_schema(path).metadata[b"birdwatch.redaction"] == b'{"only": ["features.age"], "drop": ["key"]}'
    assert archiver.counts["withheld", "requests"] == 1


@pytest.mark.parametrize("name", ["a/b", "", ".hidden"])
def test_a_stream_whose_name_is_no_folders_is_refused(streams, tmp_path, name):
    with pytest.raises(SettingsError, match="cannot name a stream of an archive"):
        Archiver(streams, [name], tmp_path)


def test_asked_to_end_it_writes_what_waits(streams, clock, tmp_path):
    archiver = Archiver(streams, ["scores"], tmp_path, clock=clock, sleep=clock.sleep)
    put(streams, "scores", a_score(), a_score())
    turns = iter([False, False, True])
    archiver.run(lambda: next(turns))
    archiver.close()
    assert len(rows(tmp_path, "scores")) == 2
