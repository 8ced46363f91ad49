import json

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from birdwatch.cli.streams import app
from birdwatch.errors import StreamError
from birdwatch.streams import Message, open_streams
from birdwatch.streams.deadletters import dead_letter


@pytest.fixture
def address(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}/streams")
    streams.append("scores", [(b"k%d" % n, b'{"n":%d}' % n) for n in range(5)])
    streams.append("metrics", [(b"", b"no json \xff")])
    dead_letter(streams, Message("scores", 0, 3, b"", b'{"n":' + b"x" * 70_000), "was truncated", clock=lambda: 1e9)
    reader = streams.reader(["scores"], group="tail")
    reader.poll(3)
    reader.commit()
    reader.close()
    streams.close()
    return streams.address


def run(*args):
    result = CliRunner().invoke(app, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_counts_messages(address):
    assert json.loads(run("list", "--streams", address, "--json")) == [
        {"stream": "deadletters", "partitions": 1, "messages": 1},
        {"stream": "metrics", "partitions": 1, "messages": 1},
        {"stream": "scores", "partitions": 1, "messages": 5},
    ]
    assert "scores" in run("list", "--streams", address)


def test_list_says_when_there_is_nothing(tmp_path):
    assert "no streams in sqlite:" in run("list", "--streams", f"sqlite:{tmp_path}/none")
    assert run("list", "--streams", f"sqlite:{tmp_path}/none", "--json") == "[]\n"


def test_streams_come_from_the_settings_by_default(address, monkeypatch):
    monkeypatch.setenv("BIRDWATCH_STREAMS", address)
    assert len(json.loads(run("list", "--json"))) == 3


@pytest.mark.parametrize(
    ("options", "numbers"),
    [((), [0, 1, 2, 3, 4]), (("--from", "3"), [3, 4]), (("--tail", "2"), [3, 4]), (("--tail", "9"), [0, 1, 2, 3, 4])],
)
def test_cat_prints_messages_as_they_lie(address, options, numbers):
    assert run("cat", "scores", "--streams", address, *options) == "".join(f'{{"n":{n}}}\n' for n in numbers)


def test_cat_for_machines_says_where_each_message_lies(address):
    lines = [json.loads(line) for line in run("cat", "scores", "--streams", address, "--tail", "1", "--json").split()]
    assert lines == [{"stream": "scores", "partition": 0, "offset": 4, "key": "k4", "value": {"n": 4}}]
    (line,) = run("cat", "metrics", "--streams", address, "--json").splitlines()
    assert json.loads(line)["base64"] == "bm8ganNvbiD/"


def test_cat_shows_dead_letters_to_people(address):
    line = run("cat", "deadletters", "--streams", address)
    assert line.startswith('2001-09-09 01:46:40  scores/0@3  was truncated  {"n":xxx')
    assert line.endswith("x (70,005 bytes)\n")


def test_cat_shows_a_dead_letter_of_another_make_as_it_lies(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}")
    streams.append("deadletters", [(b"", b"from elsewhere")])
    streams.close()
    assert run("cat", "deadletters", "--streams", streams.address) == "from elsewhere\n"


def test_cat_prints_tables_row_by_row(tmp_path):
    parquet.write_table(pa.table({"id": ["a", "b"], "score": [0.5, None]}), tmp_path / "scores.parquet")
    assert run("cat", "scores", "--streams", f"files:{tmp_path}") == '{"id":"a","score":0.5}\n{"id":"b","score":null}\n'


def test_cat_of_a_stream_that_is_not_there_names_its_neighbour(address):
    with pytest.raises(StreamError, match=r"there is no stream 'score' in .*: did you mean 'scores'"):
        run("cat", "score", "--streams", address)


def test_cat_leaves_no_trace_in_a_groups_offsets(address):
    run("cat", "scores", "--streams", address)
    assert json.loads(run("lag", "--group", "tail", "--streams", address, "--json")) == [
        {"stream": "scores", "partition": 0, "committed": 3, "end": 5, "lag": 2}
    ]
    assert "committed" in run("lag", "--group", "tail", "--streams", address)


def test_from_and_tail_exclude_each_other(address):
    result = CliRunner().invoke(app, ["cat", "scores", "--streams", address, "--from", "1", "--tail", "1"])
    assert result.exit_code == 2
    assert "not both" in result.output


def test_follow_goes_on_with_what_comes(address, monkeypatch):
    """Ctrl-C ends it: here it comes when all has been printed."""
    from birdwatch.streams.local import LocalReader

    poll = LocalReader.poll

    def poll_or_interrupt(reader, limit=1000, timeout=1.0):
        messages = poll(reader, limit, 0.0)
        if not messages:
            raise KeyboardInterrupt
        return messages

    monkeypatch.setattr(LocalReader, "poll", poll_or_interrupt)
    assert run("cat", "scores", "--streams", address, "--tail", "1", "--follow") == '{"n":4}\n'
    assert run("cat", "not-yet", "--streams", address, "--follow") == ""


def test_a_group_that_has_committed_nothing_is_an_error(address):
    with pytest.raises(StreamError, match="the group 'nobody' has committed nothing in sqlite:"):
        run("lag", "--group", "nobody", "--streams", address)


@pytest.fixture
def letters(tmp_path):
    """Three letters: of two messages that are whole, and of one on a stream that is not there."""
    streams = open_streams(f"sqlite:{tmp_path}/streams")
    for stream, key, value in (("scores", b"r1", b'{"n":1'), ("metrics", b"r2", b'{"n":2')):
        streams.append(stream, [(key, value)])
        dead_letter(streams, Message(stream, 0, 0, key, value), f"{stream} was truncated", clock=lambda: 1e9)
    dead_letter(streams, Message("gone", 0, 4, b"", b"{"), "was truncated", clock=lambda: 1e9)
    streams.close()
    return streams.address


def test_dead_letters_are_put_back_once_and_what_cannot_be_is_named(letters):
    said = run("cat", "deadletters", "--requeue", "--streams", letters).splitlines()
    assert len(said) == 2
    assert said[0].startswith("deadletters/0@2 (gone/0@4) is not put back: there is no stream 'gone' in sqlite:")
    assert said[1] == "put back: 1 on metrics, 1 on scores; lost: 1"
    assert run("cat", "scores", "--streams", letters) == '{"n":1\n{"n":1\n'
    again = json.loads(run("cat", "metrics", "--tail", "1", "--json", "--streams", letters))
    assert (again["key"], again["offset"]) == ("r2", 1)
    assert run("cat", "deadletters", "--requeue", "--streams", letters) == "put back: none\n"


def test_dead_letters_are_chosen_by_place_stream_and_reason(letters):
    def back(*options):
        return run("cat", "deadletters", "--requeue", "--streams", letters, *options)

    assert back("--from", "1", "--stream", "metrics") == "put back: 1 on metrics; not chosen: 1\n"
    assert back("--tail", "3", "--reason", "scores was") == "put back: 1 on scores; not chosen: 2\n"
    assert back("--reason", "scores", "--stream", "metrics") == "put back: none; not chosen: 3\n"


def test_what_was_put_back_is_said_to_machines(letters):
    lines = [
        json.loads(line) for line in run("cat", "deadletters", "--requeue", "--json", "--streams", letters).splitlines()
    ]
    assert lines[0] == {
        "partition": 0,
        "offset": 0,
        "fate": "put back",
        "why": "",
        "of": {"stream": "scores", "partition": 0, "offset": 0},
    }
    assert [line["fate"] for line in lines] == ["put back", "put back", "lost"]


def test_cat_shows_the_dead_letters_of_a_stream_or_a_reason(letters):
    assert "metrics/0@0" in run("cat", "deadletters", "--stream", "metrics", "--streams", letters)
    assert len(run("cat", "deadletters", "--reason", "truncated", "--streams", letters).splitlines()) == 3
    assert run("cat", "deadletters", "--reason", "no such", "--streams", letters) == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("scores", "--requeue"), "--requeue is for deadletters"),
        (("scores", "--reason", "x"), "--reason is for deadletters"),
        (("deadletters", "--requeue", "--follow"), "not both"),
    ],
)
def test_only_dead_letters_are_put_back_and_only_those_there_are(letters, options, says):
    result = CliRunner().invoke(app, ["cat", *options, "--streams", letters])
    assert result.exit_code == 2
    assert says in result.output


def test_a_damaged_stream_is_put_together_anew(address, tmp_path):
    path = tmp_path / "streams" / "scores.db"
    content = bytearray(path.read_bytes())
    content[:100] = bytes(100)  # SQLite does not know it any more
    place = content.index(b'{"n":2}')
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(StreamError, match="mend"):
        run("cat", "scores", "--streams", address)
    found = json.loads(run("mend", "scores", "--streams", address, "--json"))
    assert found == {"saved": 4, "missing": [[2, 3]], "kept": f"{path}.damaged-1"}
    assert run("cat", "scores", "--streams", address).splitlines() == ['{"n":0}', '{"n":1}', '{"n":3}', '{"n":4}']
    said = run("mend", "scores", "--streams", address)
    assert said.splitlines() == [
        f"4 messages saved; the damaged file is kept as {path}.damaged-2",
        "missing: the offset 2",
    ]


def test_only_a_stream_that_there_is_can_be_mended(address):
    with pytest.raises(StreamError, match=r"there is no .*nothing\.db"):
        run("mend", "nothing", "--streams", address)
    with pytest.raises(StreamError, match="only a folder of sqlite: is"):
        run("mend", "scores", "--streams", "files:x")
