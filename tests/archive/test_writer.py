import errno
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from birdwatch.archive.verify import put_aside
from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.errors import DiskFullError, SettingsError
from birdwatch.streams import Message, Partition
from birdwatch.streams.parquet import SCHEMA

DAY = 86_400.0
JUNE = 1_370_563_200.0  # 7 June 2013, 00:00 UTC


def row(offset, ts=JUNE, partition=0, value=None):
    value = f"bytes {partition} {offset}".encode() if value is None else value
    return Row(Message("requests", partition, offset, b"k%d" % offset, value), f"id{offset}", ts)


def rows_of(paths):
    tables = [pq.read_table(path, partitioning=None) for path in paths]
    return pa.concat_tables(tables).to_pylist() if tables else []


def test_a_message_is_archived_exactly_as_it_lay_in_the_log(tmp_path):
    raw = bytes(range(256))
    [path] = ArchiveWriter(tmp_path, "requests").write([row(0, value=raw)])
    assert pq.read_schema(path).equals(SCHEMA)
    assert rows_of([path]) == [
        {"id": "id0", "ts": JUNE, "partition": 0, "offset": 0, "key": b"k0", "value": raw},
    ]


def test_a_files_name_says_stream_day_partition_and_offsets(tmp_path):
    paths = ArchiveWriter(tmp_path, "requests").write([row(41), row(40), row(7, partition=2)])
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "requests/dt=2013-06-07/requests+0+000000000040+000000000041.parquet",
        "requests/dt=2013-06-07/requests+2+000000000007+000000000007.parquet",
    ]


def test_a_day_is_a_folder_and_files_follow_the_offsets(tmp_path):
    rows = [row(0), row(1, JUNE + DAY), row(2), row(3, JUNE + DAY)]
    paths = ArchiveWriter(tmp_path, "requests").write(rows)
    assert [path.parent.name for path in paths] == [
        "dt=2013-06-07",
        "dt=2013-06-08",
        "dt=2013-06-07",
        "dt=2013-06-08",
    ]
    assert [r["offset"] for r in rows_of(paths)] == [0, 1, 2, 3]


def test_a_message_without_a_time_goes_with_the_one_before_it(tmp_path):
    unreadable = row(1)._replace(id=None, ts=None)
    paths = ArchiveWriter(tmp_path, "requests").write([row(0), unreadable, row(2, JUNE + DAY)])
    assert [path.name for path in paths] == [
        "requests+0+000000000000+000000000001.parquet",
        "requests+0+000000000002+000000000002.parquet",
    ]
    assert rows_of(paths)[1] == {
        "id": None,
        "ts": None,
        "partition": 0,
        "offset": 1,
        "key": b"k1",
        "value": b"bytes 0 1",
    }


def test_messages_of_which_none_has_a_time_are_archived_too(tmp_path):
    [path] = ArchiveWriter(tmp_path, "requests").write([row(0)._replace(id=None, ts=None)])
    assert path.parent.name == "dt=1970-01-01"


def test_the_names_tell_where_to_go_on(tmp_path):
    writer = ArchiveWriter(tmp_path, "requests")
    assert writer.positions() == {}
    writer.write([row(0), row(1), row(5, partition=3)])
    writer.write([row(2, JUNE + DAY)])
    (tmp_path / "requests" / "dt=2013-06-07" / "notes.parquet").touch()
    again = ArchiveWriter(tmp_path, "requests")
    assert again.positions() == {Partition("requests", 0): 3, Partition("requests", 3): 6}


def test_the_same_offsets_written_twice_leave_one_file(tmp_path):
    writer = ArchiveWriter(tmp_path, "requests")
    first = writer.write([row(0), row(1)])
    before = first[0].read_bytes()
    assert writer.write([row(0), row(1)]) == first
    assert first[0].read_bytes() == before
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_no_draft_is_left_behind(tmp_path):
    ArchiveWriter(tmp_path, "requests").write([row(0)])
    assert not list(tmp_path.rglob(".draft-*"))


def test_a_killed_writers_draft_is_removed_and_never_read(tmp_path):
    folder = tmp_path / "requests" / "dt=2013-06-07"
    folder.mkdir(parents=True)
    (folder / ".draft-abc").write_bytes(b"half a file")
    writer = ArchiveWriter(tmp_path, "requests")
    assert writer.positions() == {}
    assert not list(folder.iterdir())


def test_a_crash_between_two_files_leaves_no_gap_below_the_highest_offset(tmp_path, monkeypatch):
    writer = ArchiveWriter(tmp_path, "requests")
    write_table, written = pq.write_table, []

    def crash_at_the_third(*args, **kwargs):
        if len(written) == 2:
            raise OSError("no space left on device")
        written.append(args)
        return write_table(*args, **kwargs)

    monkeypatch.setattr(pq, "write_table", crash_at_the_third)
    with pytest.raises(OSError, match="no space"):
        writer.write([row(0), row(1, JUNE + DAY), row(2), row(3, JUNE + DAY)])
    assert ArchiveWriter(tmp_path, "requests").positions() == {Partition("requests", 0): 2}


def test_writing_nothing_writes_no_file(tmp_path):
    assert ArchiveWriter(tmp_path, "requests").write([]) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(SettingsError, match=r"file cannot hold the archive: Not a directory; name a folder"):
        ArchiveWriter(taken, "requests")


def test_what_only_damaged_files_hold_is_missing_and_counts_as_passed(tmp_path):
    writer = ArchiveWriter(tmp_path, "requests")
    [first] = writer.write([row(0), row(1), row(2), row(3)])
    writer.write([row(4), row(5)])
    assert writer.missing() == []
    put_aside(first)
    assert writer.missing() == [(0, 0, 3)]
    writer.write([row(1), row(2)])
    assert writer.missing() == [(0, 0, 0), (0, 3, 3)]
    writer.write([row(0)])
    writer.write([row(3)])
    assert writer.missing() == []
    assert writer.positions() == {Partition("requests", 0): 6}


def test_a_full_disk_leaves_no_half_of_a_file_and_the_same_rows_can_be_written_again(tmp_path, monkeypatch):
    writer, write_table = ArchiveWriter(tmp_path, "requests"), pq.write_table

    def fill(table, path, **_):
        path.write_bytes(b"half a file")
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(pq, "write_table", fill)
    with pytest.raises(DiskFullError, match=r"the disk is full: .*requests\+0\+.* could not be written.* make room"):
        writer.write([row(0), row(1)])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    monkeypatch.setattr(pq, "write_table", write_table)
    assert len(rows_of(writer.write([row(0), row(1)]))) == 2


def test_sha256sum_knows_every_file(tmp_path):
    writer = ArchiveWriter(tmp_path, "requests")
    writer.write([row(0)])
    [path] = writer.write([row(1)])
    found = subprocess.run(
        ["sha256sum", "--check", "_SHA256SUMS"], check=False, cwd=path.parent, capture_output=True, text=True
    )
    assert (found.returncode, found.stdout.count(": OK")) == (0, 2)
