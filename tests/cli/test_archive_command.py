import json

import pytest
import yaml
from typer.testing import CliRunner

import birdwatch
from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.cli.archive import app
from birdwatch.errors import SettingsError, StreamError
from birdwatch.records import encode
from birdwatch.streams import Message, open_streams
from birdwatch.testing import a_request, a_score

DAY = 86_400.0
JUNE = 1_370_563_200.0  # 7 June 2013, 00:00 UTC


def run(*arguments, code=0):
    found = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found.stdout


@pytest.fixture
def path(tmp_path):
    rows = [Row(Message("requests", 0, n, b"", b"{}"), None, None) for n in range(3)]
    return ArchiveWriter(tmp_path, "requests").write(rows)[0]


def verify(path, *options):
    found = CliRunner().invoke(app, ["verify", str(path.parents[2]), *options])
    return found.exit_code, found.output


def damage(path):
    path.write_bytes(path.read_bytes()[:-1])


def test_a_sound_archive_says_so(path):
    assert verify(path) == (0, "nothing is damaged\n")
    assert verify(path, "--json") == (0, "[]\n")


def test_a_damaged_file_is_named_and_left_where_it_is(path):
    damage(path)
    code, said = verify(path)
    assert (code, said.startswith(f"{path}: its sum is not the one in _SHA256SUMS")) == (1, True)
    assert path.exists()


def test_a_damaged_file_is_put_aside_when_that_is_asked_for(path):
    damage(path)
    code, said = verify(path, "--put-aside", "--json")
    [found] = json.loads(said)
    assert (code, found["path"], found["put_aside"]) == (1, str(path), f"{path.parent}/_{path.name}.damaged")
    assert verify(path)[0] == 0


@pytest.fixture
def live(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = open_streams("sqlite:live")
    requests = [a_request(id=f"r{n}", ts=JUNE + n * DAY, features={"name": "Ann", "n": n}) for n in range(3)]
    place.append("requests", [(b"", encode(request)) for request in requests])
    place.append("scores", [(b"", encode(a_score(request_id=f"r{n}", ts=JUNE + n * DAY))) for n in range(3)])
    place.close()
    return tmp_path


def test_once_archives_what_there_is_and_says_so(live):
    out = run("write", "--from", "sqlite:live", "--to", "kept", "--once")
    assert out.splitlines() == [
        "requests: 3 messages archived in kept/requests",
        "scores: 3 messages archived in kept/scores",
    ]
    found = run("write", "scores", "--from", "sqlite:live", "--to", "kept", "--once", "--json")
    assert json.loads(found) == {"to": "kept", "messages": {"scores": 0}, "withheld": {"scores": 0}}
    assert birdwatch.open_archive("kept").read("scores")["request_id"].tolist() == ["r0", "r1", "r2"]


def test_a_stream_that_is_not_there_is_named(live):
    with pytest.raises(StreamError, match=r"there is no stream 'score' .* did you mean 'scores'"):
        run("write", "score", "--from", "sqlite:live", "--to", "kept", "--once")


def test_the_settings_say_what_is_left_out_and_the_environment_has_the_key(live, monkeypatch):
    left = {"archive": {"requests": {"drop": ["provenance"], "hash": ["features.name"]}}, "streams": "sqlite:live"}
    (live / "birdwatch.yaml").write_text(yaml.safe_dump(left))
    with pytest.raises(SettingsError, match="there is no key in the environment variable BIRDWATCH_ARCHIVE_KEY"):
        run("write", "--to", "kept", "--once")
    monkeypatch.setenv("BIRDWATCH_ARCHIVE_KEY", "0123456789abcdef")
    said = run("write", "--to", "kept", "--once")
    frame = birdwatch.open_archive("kept").read("requests")
    assert frame["features.name"].str.fullmatch("[0-9a-f]{64}").all()
    assert frame["features.n"].tolist() == [0, 1, 2]
    assert "0123456789abcdef" not in said


def test_a_misspelt_setting_is_named(live):
    (live / "birdwatch.yaml").write_text("archive: {requests: {dorp: [key]}}")
    with pytest.raises(SettingsError, match=r"'archive\.requests\.dorp': did you mean 'drop'"):
        run("write", "--to", "kept", "--once")


def test_what_there_is_is_listed_put_together_and_expires(live):
    run("write", "--from", "sqlite:live", "--to", "kept", "--once")
    [requests, scores] = json.loads(run("list", "kept", "--json"))
    assert (requests["first day"], requests["last day"], requests["rows"]) == ("2013-06-07", "2013-06-09", 3)
    assert "scores" in run("list", "kept")
    assert run("compact", "kept") == "there is one file a day and partition\n"
    writer = ArchiveWriter(live / "kept", "scores")
    writer.write([Row(Message("scores", 0, 3, b"", encode(a_score(ts=JUNE))), "r", JUNE)])
    assert "2 rows of 2 files" in run("compact", "kept", "--stream", "scores")
    would = run("expire", "kept", "--before", "2013-06-09", "--dry-run")
    assert "3 files of days before 2013-06-09 would be deleted" in would
    assert "its name tells where archiving goes on" in would
    found = json.loads(run("expire", "kept", "--keep-days", "30", "--stream", "requests", "--json"))
    assert [one["kept"] for one in found] == [False, False, True]
    assert scores["rows"] == 3
    assert birdwatch.open_archive("kept").days("requests") == ["2013-06-09"]


def test_what_is_left_alone_by_compact_is_an_exit_code(live):
    run("write", "--from", "sqlite:live", "--to", "kept", "--once")
    more = Row(Message("scores", 0, 3, b"", encode(a_score(ts=JUNE))), "r", JUNE)
    damage(ArchiveWriter(live / "kept", "scores").write([more])[0])
    assert "left in 2 files" in run("compact", "kept", code=1)
    assert json.loads(run("compact", "kept", "--json", code=1))[0]["path"] is None


@pytest.mark.parametrize("how", [[], ["--keep-days", "3", "--before", "2013-06-09"]])
def test_what_expires_is_said_one_way(live, how):
    run("write", "--from", "sqlite:live", "--to", "kept", "--once")
    with pytest.raises(SettingsError, match="give --keep-days or --before"):
        run("expire", "kept", *how)


def test_a_day_that_is_none_is_refused(live):
    run("write", "--from", "sqlite:live", "--to", "kept", "--once")
    with pytest.raises(SettingsError, match="'yesterday' is no day: write YYYY-MM-DD"):
        run("expire", "kept", "--before", "yesterday")
