"""`birdwatch evaluate backfill` scores what was recorded, for the check and the tail to read."""

import json
from contextlib import closing

import pytest
from typer.testing import CliRunner

from birdwatch import open_archive
from birdwatch.cli.main import app
from birdwatch.content import content
from birdwatch.errors import AddressError, ServingError, SettingsError, StreamError
from birdwatch.records import Score, decode
from birdwatch.streams import open_streams

JUNE = content("sample_streams") / "2013-06-07"
MODELS = """
def guess(rows):
    return [0.1 for row in rows]

def noisy(rows):
    return [1 / (row["distance"] > 200) for row in rows]
"""


def run(*args):
    return CliRunner().invoke(app, ["evaluate", "backfill", *map(str, args)], catch_exceptions=True)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "backfilled_models.py").write_text(MODELS)
    return tmp_path


GUESS = ("guess", "--target", "backfilled_models:guess")


@pytest.fixture(scope="module")
def archived(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archived") / "archive"
    written = CliRunner().invoke(app, ["archive", "write", "--from", f"files:{JUNE}", "--to", str(folder), "--once"])
    assert written.exit_code == 0, written.output
    return folder


def test_an_archives_requests_are_scored_beside_the_champion(here, archived):
    told = run(*GUESS, "--from", archived, "--to", archived)
    assert told.output == f"2,730 requests scored as guess 1, in {archived}\n"
    joined = open_archive(archived).joined()
    assert joined["score.guess"].eq(0.1).all()
    assert joined["score.champion"].notna().all()
    assert "2,730 had a score of this version there before" in run(*GUESS, "--from", archived, "--to", archived).output


def test_a_file_and_a_folder_are_read_and_lines_of_json_written(here):
    run(*GUESS, "--from", JUNE / "requests.jsonl.gz", "--to", f"files:{here}/one")
    run(*GUESS, "--from", JUNE, "--to", f"files:{here}/two")
    assert (here / "one" / "scores.jsonl").read_bytes().count(b"\n") == 2730
    said = [decode(line, Score) for line in (here / "two" / "scores.jsonl").read_bytes().splitlines()]
    assert {(s.model, s.version, s.score, s.elapsed_seconds) for s in said} == {("guess", "1", 0.1, None)}
    checked = CliRunner().invoke(app, ["check", "--champion", "one/scores.jsonl", "--shadow", "two/scores.jsonl"])
    assert checked.exit_code == 0, checked.output


def test_a_log_is_read_and_written_and_errors_are_told(here):
    log = open_streams(f"sqlite:{here}/log")
    with closing(open_streams(f"files:{JUNE}").reader(["requests"])) as recorded:
        log.append("requests", [(b"", message.value) for message in recorded.poll(500)])
    log.append("requests", [(b"", b"no request")])
    log.close()
    arguments = (
        "noisy",
        "--target",
        "backfilled_models:noisy",
        "--from",
        f"sqlite:{here}/log",
        "--to",
        f"sqlite:{here}/log",
    )
    told = run(*arguments)
    assert "the first: ZeroDivisionError: division by zero" in told.output
    assert "1 messages could not be read; the first: requests, offset 500: not a Request" in told.output
    again = json.loads(run(*arguments, "--json").output)
    assert (again["scores"], again["errors"], again["before"], again["dead_letters"]) == (0, 0, 500, 1)


def test_a_stretch_of_time_can_be_asked_for(here, archived):
    since = ("--since", "2013-06-07", "--until", "2013-06-08T00:00Z", "--json")
    found = json.loads(run(*GUESS, "--from", f"archive:{archived}", "--to", here / "new", *since).output)
    assert found["scores"] == 974
    assert [p.name for p in (here / "new" / "scores").iterdir()] == ["dt=2013-06-07"]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("--from", "nowhere", "--to", "x"), SettingsError, "no such file or folder"),
        (("--from", "nowhere:x", "--to", "x"), AddressError, "names no streams"),
        (("--from", "backfilled_models.py", "--to", "x"), SettingsError, "files of JSON lines"),
        (("--from", ".", "--to", "x"), StreamError, "no stream 'requests'"),
        (("--from", str(JUNE), "--to", "x", "--since", "soon"), SettingsError, "--since"),
        (("--from", str(JUNE), "--to", "x", "--artifact", "a"), ServingError, "backfilled_models:guess"),
    ],
)
def test_what_cannot_be_is_said(here, arguments, error, said):
    result = run(*GUESS, *arguments)
    assert isinstance(result.exception, error), result.exception
    assert said in str(result.exception)
