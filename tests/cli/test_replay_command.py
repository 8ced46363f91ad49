import gzip
import json

import pytest
from typer.testing import CliRunner

from birdwatch.archive.archiver import Archiver
from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.cli.replay import app
from birdwatch.errors import SettingsError, StreamError
from birdwatch.streams import Message, Partition, open_streams


@pytest.fixture
def recorded(tmp_path):
    folder = tmp_path / "recorded"
    folder.mkdir()
    scores = b"".join(b'{"ts":%d,"request_id":"r%d"}\n' % (1_368_489_600 + 60 * n, n) for n in range(100))
    (folder / "scores.jsonl.gz").write_bytes(gzip.compress(scores))
    (folder / "metrics.jsonl").write_bytes(b'{"ts":1368489630.5,"request_id":"r0"}\n{"ts":')
    return folder


def run(*args, code=0):
    result = CliRunner().invoke(app, list(map(str, args)), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_replay_says_what_it_did(recorded, tmp_path):
    out = run(recorded, "--to", f"sqlite:{tmp_path}/live")
    assert out.splitlines() == [
        "metrics: 2 messages",
        "scores: 100 messages",
        "1 of them say no event time: they went along with those around them",
        f"event time 2013-05-14 00:00:00 to 2013-05-14 01:39:00, now in sqlite:{tmp_path}/live",
    ]


def test_a_replay_keeps_every_byte_and_gives_the_keys_back(recorded, tmp_path):
    run(recorded, "--to", f"sqlite:{tmp_path}/live")
    streams = open_streams(f"sqlite:{tmp_path}/live")
    for name, text in (
        ("scores", gzip.decompress((recorded / "scores.jsonl.gz").read_bytes())),
        ("metrics", (recorded / "metrics.jsonl").read_bytes()),
    ):
        reader = streams.reader([name])
        messages = reader.poll(1000, timeout=0.0)
        assert [message.value for message in messages] == text.splitlines()
        assert messages[0].key == b"r0"
        reader.close()
    streams.close()


def test_counts_for_machines(recorded, tmp_path):
    out = run(recorded, "--to", f"sqlite:{tmp_path}/live", "--stream", "scores", "--json", "--speed", "1000000x")
    assert json.loads(out) == {
        "to": f"sqlite:{tmp_path}/live",
        "messages": {"scores": 100},
        "undated": 0,
        "first": 1_368_489_600.0,
        "last": 1_368_495_540.0,
    }


def test_a_damaged_file_is_replayed_as_far_as_it_goes_and_named(recorded, tmp_path):
    whole = (recorded / "scores.jsonl.gz").read_bytes()
    (recorded / "scores.jsonl.gz").write_bytes(whole[:-8])
    with pytest.raises(StreamError, match=r"scores\.jsonl\.gz is damaged"):
        run(recorded, "--to", f"sqlite:{tmp_path}/live")
    streams = open_streams(f"sqlite:{tmp_path}/live")
    assert streams.ends(["scores", "metrics"]) == {Partition("scores"): 100, Partition("metrics"): 2}
    streams.close()


def test_a_stream_that_is_not_there_is_named(recorded, tmp_path):
    with pytest.raises(StreamError, match=r"no stream 'score' .* did you mean 'scores'"):
        run(recorded, "--to", f"sqlite:{tmp_path}/live", "--stream", "score")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StreamError, match="nowhere is not a folder"):
        run(tmp_path / "nowhere", "--to", f"sqlite:{tmp_path}/live")


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(StreamError, match="there are no streams in files:"):
        run(tmp_path, "--to", f"sqlite:{tmp_path}/live")


def test_replaying_a_folder_into_itself_is_refused(recorded):
    with pytest.raises(StreamError, match="into itself"):
        run(recorded, "--to", f"files:{recorded}/../recorded")


def test_a_speed_that_is_none_is_refused(recorded, tmp_path):
    with pytest.raises(SettingsError, match="write 60x, 1x or max"):
        run(recorded, "--to", f"sqlite:{tmp_path}/live", "--speed", "fast")


def test_an_archive_is_replayed_as_recorded_files_are(recorded, tmp_path):
    place = open_streams(f"files:{recorded}")
    archiver = Archiver(place, ["metrics", "scores"], tmp_path / "archive", group=None, flush_count=30)
    archiver.run_once(lambda: False)
    archiver.close()
    place.close()
    of_files = run(recorded, "--to", f"sqlite:{tmp_path}/live").replace("live", "again")
    assert run(tmp_path / "archive", "--to", f"sqlite:{tmp_path}/again", "--speed", "1000000x") == of_files
    found = []
    for name in ("live", "again"):
        streams = open_streams(f"sqlite:{tmp_path}/{name}")
        reader = streams.reader(["scores", "metrics"])
        found.append([(m.stream, m.offset, m.key, m.value) for m in reader.poll(1000, timeout=0.0)])
        reader.close()
        streams.close()
    assert found[0] == found[1]


def test_partitions_of_an_archive_are_replayed_in_order_of_event_time(tmp_path):
    def row(n):
        value = b'{"ts":%d,"request_id":"r%d"}' % (1_368_489_600 + n, n)
        return Row(Message("scores", n % 3, n // 3, b"r%d" % n, value), f"r{n}", 1_368_489_600.0 + n)

    ArchiveWriter(tmp_path / "archive", "scores").write([row(n) for n in range(3000)])
    run(tmp_path / "archive", "--to", f"sqlite:{tmp_path}/live")
    streams = open_streams(f"sqlite:{tmp_path}/live")
    reader = streams.reader(["scores"])
    assert [message.key for message in reader.poll(5000, timeout=0.0)] == [b"r%d" % n for n in range(3000)]
    reader.close()
    streams.close()
