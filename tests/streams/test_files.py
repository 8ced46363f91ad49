import gzip
import itertools
import os

import pyarrow as pa
import pytest
from pyarrow import parquet

from birdwatch.errors import AddressError, StreamError
from birdwatch.streams import Partition
from birdwatch.streams.files import FileStreams

P = Partition("scores")


@pytest.fixture
def streams(tmp_path):
    return FileStreams(f"files:{tmp_path}")


@pytest.fixture
def open_reader(streams):
    readers = []

    def open_(*args, **kwargs):
        readers.append(streams.reader(*args, **kwargs))
        return readers[-1]

    yield open_
    for reader in readers:
        reader.close()


def drain(reader, limit=1000):
    polls = iter(lambda: reader.poll(limit, timeout=0.0), [])
    return list(itertools.chain.from_iterable(polls))


def rows(message):
    with pa.ipc.open_stream(message.value) as stream:
        return stream.read_all()


@pytest.mark.parametrize("name", ["scores.jsonl", "scores.jsonl.gz"])
def test_each_line_is_a_message(tmp_path, streams, open_reader, name):
    text = b'{"n":1}\n{"n":2}\n'
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    messages = drain(open_reader(["scores"]))
    assert [(message.offset, message.key, message.value) for message in messages] == [
        (0, b"", b'{"n":1}'),
        (1, b"", b'{"n":2}'),
    ]
    assert streams.ends(["scores"]) == {P: 2}


def test_the_stem_of_any_file_is_a_stream(tmp_path, streams, open_reader):
    (tmp_path / "Our predictions 2013.jsonl").write_bytes(b"{}\n")
    (tmp_path / "trades.v2.csv").write_bytes(b"a\n1\n")
    (tmp_path / "README.md").write_text("where these come from")
    (tmp_path / ".hidden.jsonl").write_text("{}")
    assert streams.names() == ["Our predictions 2013", "trades.v2"]
    assert len(drain(open_reader(streams.names()))) == 2


def test_a_last_line_without_its_end_is_handed_over_as_it_lies(tmp_path, streams, open_reader):
    (tmp_path / "scores.jsonl").write_bytes(b'{"n":1}\n{"n":')
    assert [message.value for message in drain(open_reader(["scores"]))] == [b'{"n":1}', b'{"n":']
    assert streams.ends(["scores"]) == {P: 2}


def test_a_line_in_the_midst_of_being_written_is_waited_for(tmp_path, open_reader):
    path = tmp_path / "scores.jsonl"
    path.write_bytes(b'{"n":1}\n{"n"')
    reader = open_reader(["scores"])
    assert [message.value for message in reader.poll(timeout=60.0)] == [b'{"n":1}']
    with path.open("ab") as file:
        file.write(b":2}\n")
    assert [message.value for message in reader.poll(timeout=60.0)] == [b'{"n":2}']


def test_an_append_after_a_torn_line_leaves_it_a_message_of_its_own(tmp_path, streams, open_reader):
    (tmp_path / "scores.jsonl").write_bytes(b'{"n":1}\n{"n":')
    reader = open_reader(["scores"])
    early = drain(reader)
    streams.append("scores", [(b"", b'{"n":3}')])
    late = drain(reader)
    anew = drain(open_reader(["scores"]))
    assert [message.value for message in anew] == [b'{"n":1}', b'{"n":', b'{"n":3}']
    # Whoever read along saw the same messages at the same offsets.
    assert early + late == anew


def test_a_torn_line_that_is_completed_later_keeps_the_offsets_of_the_next(tmp_path, streams, open_reader):
    path = tmp_path / "scores.jsonl"
    path.write_bytes(b'{"n":')
    reader = open_reader(["scores"])
    assert [message.value for message in drain(reader)] == [b'{"n":']
    for more in (b"1", b'}\n{"n":2}\n'):
        with path.open("ab") as file:
            file.write(more)
    assert [(message.offset, message.value) for message in drain(reader)] == [(1, b'{"n":2}')]
    streams.append("scores", [(b"", b'{"n":3}')])
    assert [(message.offset, message.value) for message in drain(reader)] == [(2, b'{"n":3}')]


def test_a_reader_that_is_ahead_of_the_file_waits_there(tmp_path, streams, open_reader):
    streams.append("scores", [(b"", b'{"n":0}')])
    reader = open_reader(["scores"])
    reader.seek({P: 2})
    assert drain(reader) == []
    assert reader.positions() == {P: 2}
    streams.append("scores", [(b"", b'{"n":1}'), (b"", b'{"n":2}')])
    assert [message.value for message in drain(reader)] == [b'{"n":2}']


def test_blank_lines_are_skipped_and_keep_their_numbers(tmp_path, streams, open_reader):
    (tmp_path / "scores.jsonl").write_bytes(b'\n{"n":1}\r\n\n  \n{"n":2}\n\n')
    reader = open_reader(["scores"])
    assert [message.offset for message in drain(reader)] == [1, 4]
    assert reader.positions() == streams.ends(["scores"]) == {P: 6}


@pytest.mark.parametrize("value", [b'{"a":\n1}', b"", b"  "])
def test_what_cannot_be_a_line_is_not_appended(tmp_path, streams, value):
    with pytest.raises(StreamError, match=r"cannot be a line of scores\.jsonl"):
        streams.append("scores", [(b"", b"{}"), (b"", value)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused(streams, name):
    with pytest.raises(StreamError, match="cannot name a stream"):
        streams.append(name, [(b"", b"{}")])


def test_a_stream_in_another_format_is_not_appended_to(tmp_path, streams):
    (tmp_path / "scores.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(StreamError, match=r"scores\.jsonl\.gz is not appended to: .* turn it into scores\.jsonl"):
        streams.append("scores", [(b"", b"{}")])


def test_two_files_of_one_stem_are_both_named(tmp_path, streams, open_reader):
    (tmp_path / "scores.jsonl").write_bytes(b"{}\n")
    (tmp_path / "scores.csv").write_bytes(b"a\n1\n")
    for ask in (streams.names, lambda: streams.ends(["scores"]), lambda: drain(open_reader(["scores"]))):
        with pytest.raises(StreamError, match=r"scores\.csv and .*scores\.jsonl are both the stream 'scores'"):
            ask()


def test_a_truncated_gzip_is_read_as_far_as_it_goes_and_then_named_once(tmp_path, streams, open_reader):
    lines = [b'{"n":%d}' % n for n in range(50_000)]
    whole = gzip.compress(b"\n".join(lines) + b"\n")
    (tmp_path / "scores.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    reader, messages = open_reader(["scores"]), []

    def read_on():
        while True:
            messages.extend(reader.poll(timeout=0.0))

    with pytest.raises(StreamError, match=r"scores\.jsonl\.gz is damaged: Compressed file ended before"):
        read_on()
    read = [message.value for message in messages]
    assert len(read) > 10_000
    assert read[:-1] == lines[: len(read) - 1]
    assert lines[len(read) - 1].startswith(read[-1])
    assert reader.poll(timeout=0.0) == []
    assert streams.ends(["scores"]) == {P: len(read)}


@pytest.mark.parametrize("names", [["metrics", "scores"], ["scores", "metrics"]])
def test_a_damaged_file_costs_no_message_of_another(tmp_path, open_reader, names):
    (tmp_path / "scores.jsonl.gz").write_bytes(b"no gzip at all")
    (tmp_path / "metrics.jsonl").write_bytes(b'{"n":1}\n')
    reader = open_reader(names)
    messages, faults = [], 0
    for _ in range(6):
        try:
            messages += reader.poll(timeout=0.0)
        except StreamError:
            faults += 1
    assert [message.value for message in messages] == [b'{"n":1}']
    assert faults == 1


def test_csv_rows_travel_a_thousand_a_message_with_inferred_types(tmp_path, streams, open_reader):
    text = "n,score,when,note\n" + "".join(
        f"{n},{n / 4},2013-05-14T10:00:00,{'x' if n % 2 else ''}\n" for n in range(2500)
    )
    (tmp_path / "scores.csv").write_text(text)
    messages = drain(open_reader(["scores"]))
    tables = [rows(message) for message in messages]
    assert [table.num_rows for table in tables] == [1000, 1000, 500]
    whole = pa.concat_tables(tables)
    assert whole["n"].to_pylist() == list(range(2500))
    assert whole["score"].to_pylist() == [n / 4 for n in range(2500)]
    assert pa.types.is_timestamp(whole.schema.field("when").type)
    assert whole["note"].to_pylist() == ["x" if n % 2 else None for n in range(2500)]
    assert streams.ends(["scores"]) == {P: 3}


def test_ids_models_and_versions_in_a_csv_are_text_whatever_they_look_like(tmp_path, open_reader):
    (tmp_path / "scores.csv").write_text("request_id,model,version,score\n007,3,1.10,1\n8,3,,0\n")
    assert rows(drain(open_reader(["scores"]))[0]).to_pylist() == [
        {"request_id": "007", "model": "3", "version": "1.10", "score": 1},
        {"request_id": "8", "model": "3", "version": None, "score": 0},
    ]


def test_a_column_takes_its_type_from_all_lines(tmp_path, open_reader):
    # Fractions appear only far behind what a block-wise reader would have looked at.
    (tmp_path / "scores.csv").write_text("score\n" + "1\n" * 1_000_000 + "0.5\n")
    last = drain(open_reader(["scores"]))[-1]
    assert rows(last)["score"].to_pylist() == [0.5]


def test_csv_lines_that_are_no_rows_come_last_as_they_lie(tmp_path, open_reader):
    (tmp_path / "scores.csv").write_text("id,score\na,1\nb\nc,3\nd,4,5\ne,")
    messages = drain(open_reader(["scores"]))
    assert rows(messages[0]).to_pylist() == [
        {"id": "a", "score": 1},
        {"id": "c", "score": 3},
        {"id": "e", "score": None},
    ]
    assert [message.value for message in messages[1:]] == [b"b", b"d,4,5"]
    assert [message.offset for message in messages] == [0, 1, 2]


def test_parquet_messages_do_not_depend_on_row_groups(tmp_path, open_reader):
    table = pa.table({"id": [f"r{n}" for n in range(2100)], "score": pa.array(range(2100), pa.float32())})
    values = []
    for size in (70, 1500, 5000):
        parquet.write_table(table, tmp_path / "scores.parquet", row_group_size=size)
        values.append([message.value for message in drain(open_reader(["scores"]))])
    assert values[0] == values[1] == values[2]
    assert pa.concat_tables([rows(message) for message in drain(open_reader(["scores"]))]) == table


def test_an_offset_of_a_table_means_the_same_rows_each_time(tmp_path, open_reader):
    parquet.write_table(pa.table({"n": range(5000)}), tmp_path / "scores.parquet")
    reader = open_reader(["scores"])
    messages = drain(reader, limit=1)
    reader.seek({P: 3})
    assert drain(reader, limit=1) == messages[3:]


@pytest.mark.parametrize("rows", [0, 1, 999, 1000, 1001, 5000])
def test_the_end_of_a_table_is_told_without_reading_it(tmp_path, streams, open_reader, rows):
    parquet.write_table(pa.table({"n": range(rows)}), tmp_path / "scores.parquet")
    assert streams.ends(["scores"]) == {P: len(drain(open_reader(["scores"])))}


def test_the_limit_of_a_poll_counts_the_rows_of_a_table(tmp_path, open_reader):
    parquet.write_table(pa.table({"n": range(5000)}), tmp_path / "scores.parquet")
    reader = open_reader(["scores"])
    assert [len(reader.poll(limit, timeout=0.0)) for limit in (10, 1000, 2000, 5000)] == [1, 1, 2, 1]


@pytest.mark.parametrize(("name", "text"), [("scores.parquet", b"no"), ("scores.csv", b"")])
def test_a_table_that_cannot_be_read_is_named(tmp_path, open_reader, name, text):
    (tmp_path / name).write_bytes(text)
    reader = open_reader(["scores"])
    with pytest.raises(StreamError, match=name):
        reader.poll(timeout=0.0)
    assert reader.poll(timeout=0.0) == []


def test_an_address_that_names_a_file_says_what_to_write(tmp_path):
    (tmp_path / "scores.csv").write_text("a\n1\n")
    with pytest.raises(AddressError, match=f"write its folder, files:{tmp_path}"):
        FileStreams(f"files:{tmp_path}/scores.csv")


def test_recorded_streams_can_be_read_where_nothing_can_be_written(tmp_path, streams, open_reader, monkeypatch):
    (tmp_path / "scores.jsonl").write_bytes(b"{}\n")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "link", refuse)
    reader = open_reader(["scores"], group="tail")
    assert len(drain(reader)) == 1
    with pytest.raises(StreamError, match=r"\.offsets\.db: .*Permission denied"):
        reader.commit()
