import json

import pytest
from typer.testing import CliRunner

from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.cli.archive import app
from birdwatch.streams import Message


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
    assert (code, said.startswith(f"{path}: its sum is not the one in SHA256SUMS")) == (1, True)
    assert path.exists()


def test_a_damaged_file_is_put_aside_when_that_is_asked_for(path):
    damage(path)
    code, said = verify(path, "--put-aside", "--json")
    [found] = json.loads(said)
    assert (code, found["path"], found["put_aside"]) == (1, str(path), f"{path}.damaged")
    assert verify(path)[0] == 0
