"""`birdwatch evaluate` asks an archive what it asks recorded streams, and is told the same."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from birdwatch.archive.archiver import Archiver
from birdwatch.archive.reader import UnreadableWarning
from birdwatch.archive.verify import put_aside
from birdwatch.cli.evaluate import app
from birdwatch.content import content
from birdwatch.evaluate.reading import read_stream
from birdwatch.streams import open_streams

SAMPLE = content("sample_streams") / "2013-06-07"
JUNE = f"files:{SAMPLE}"


def archive(folder, *names):
    place = open_streams(JUNE)
    archiver = Archiver(place, names or place.names(), folder, group=None, flush_count=2000)
    archiver.run_once(lambda: False)
    archiver.close()
    place.close()
    return folder


@pytest.fixture(scope="module")
def archived(tmp_path_factory):
    return f"archive:{archive(tmp_path_factory.mktemp('archived'))}"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    requests = read_stream(JUNE, "requests")
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    pd.DataFrame(list(requests["features"])).assign(request_id=requests["id"]).to_parquet(path)
    return str(path)


@pytest.mark.parametrize(
    "question",
    [
        ["value", "--policy", "champion", "--reward", "label"],
        ["deadline", "--deadline", "0.05", "--deadline", "0.2"],
        ["leaks", "TABLE"],
        ["audit"],
        ["quality"],
        ["rejected"],
    ],
    ids=lambda question: question[0],
)
def test_it_is_told_what_the_recorded_streams_tell(archived, table, question):
    def told(streams):
        words = [table if word == "TABLE" else word for word in question]
        found = CliRunner().invoke(app, [*words, "--json", "--streams", streams])
        # The samples have no rule of acceptance: of those, both say the same mistake.
        return found.exit_code, json.loads(found.output) if found.output else str(found.exception)

    assert told(archived) == told(JUNE)


def test_a_stream_that_was_not_archived_has_no_rows(tmp_path):
    folder = archive(tmp_path, "requests")
    assert len(read_stream(str(folder), "requests")) == 2730
    assert read_stream(f"archive:{folder}", "scores").empty


def test_what_was_put_aside_is_missed_aloud(tmp_path):
    folder = archive(tmp_path, "requests")
    path = min((folder / "requests" / "dt=2013-06-07").glob("*.parquet"))
    first, last = (int(part) for part in path.stem.split("+")[2:])
    put_aside(path)
    with pytest.warns(
        UnreadableWarning, match=rf"requests, partition 0: offsets {first} to {last} are damaged, and left out"
    ):
        assert len(read_stream(str(folder), "requests")) == 2730 - (last - first + 1)
