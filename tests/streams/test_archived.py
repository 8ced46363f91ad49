"""An archive is read as streams: each message once and in its order, however the files lie."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birdwatch.archive.verify import put_aside
from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.errors import AddressError, LostError, StreamError
from birdwatch.streams import Gap, Message, Partition, is_recorded, open_recorded, open_streams
from birdwatch.streams.parquet import SCHEMA, archived, in_order, read_partition

DAY = 86_400.0
JUNE = 1_370_563_200.0  # 7 June 2013, 00:00 UTC


def row(offset, ts=JUNE, partition=0, stream="scores"):
    return Row(Message(stream, partition, offset, b"k%d" % offset, b'{"n":%d}' % offset), f"r{offset}", ts)


def archive_of(folder, *groups, stream="scores"):
    """Write each group of rows as files of its own."""
    writer = ArchiveWriter(folder, stream)
    return [path for group in groups for path in writer.write(group)]


def read_all(reader, limit=1000):
    found = []
    while messages := reader.poll(limit, timeout=0.0):
        found += messages
    return found


@pytest.fixture
def opened(tmp_path):
    places = []

    def open_(**how):
        place = open_streams(f"archive:{tmp_path}")
        places.append(place)
        return place.reader(["scores"], **how)

    yield open_
    for place in places:
        place.close()


def test_messages_come_back_as_they_lay_with_their_keys(tmp_path, opened):
    archive_of(tmp_path, [row(0), row(1), row(2, partition=1)], [row(3)])
    found = {}
    for message in read_all(opened(), limit=2):
        found.setdefault(message.partition, []).append(message)
    assert found == {0: [row(n).message for n in (0, 1, 3)], 1: [row(2, partition=1).message]}


def test_days_are_put_together_in_the_order_of_offsets(tmp_path, opened):
    rows = [row(n, JUNE + DAY * (n % 3)) for n in range(30)]
    archive_of(tmp_path, rows)
    assert [message.offset for message in read_all(opened())] == list(range(30))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_files_that_overlap_give_each_offset_once_and_in_order(tmp_path_factory, data):
    """However offsets are spread over files: like after two writers, or while files are put together."""
    folder = tmp_path_factory.mktemp("overlap")
    offsets = data.draw(st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=40).map(sorted))
    more = data.draw(st.lists(st.sets(st.sampled_from(offsets), min_size=1), max_size=5))
    for number, group in enumerate([set(offsets).difference(*more), *more]):
        if group:
            # In folders of their own, so that two files may have the same ends.
            path = folder / f"dt=2013-06-{number + 1:02d}" / f"scores+0+{min(group):012d}+{max(group):012d}.parquet"
            path.parent.mkdir()
            rows = [{"partition": 0, "offset": n, "key": b"", "value": b"{}"} for n in sorted(group)]
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, row_group_size=7)
    begin = data.draw(st.integers(0, 61))
    found = [n for batch in in_order(archived(folder), begin) for n in batch["offset"].to_pylist()]
    assert found == [n for n in offsets if n >= begin]


def test_a_file_that_is_gone_when_it_is_opened_lies_in_another_one_by_then(tmp_path, monkeypatch):
    first, second = archive_of(tmp_path, [row(0), row(1)], [row(2), row(3)])
    open_file, together = pq.ParquetFile, []

    def put_together(path, **how):
        if path == second and not together:
            together.extend(ArchiveWriter(tmp_path, "scores").write([row(n) for n in range(4)]))
            first.unlink()
            second.unlink()
        return open_file(path, **how)

    monkeypatch.setattr(pq, "ParquetFile", put_together)
    found = [n for batch in read_partition(tmp_path / "scores", 0) for n in batch["offset"].to_pylist()]
    assert (found, len(together)) == ([0, 1, 2, 3], 1)


def test_a_reader_goes_on_with_what_is_archived_later_and_with_new_partitions(tmp_path, opened):
    archive_of(tmp_path, [row(0)])
    reader = opened()
    assert [m.offset for m in read_all(reader)] == [0]
    archive_of(tmp_path, [row(1), row(0, partition=1)])
    assert {(m.partition, m.offset) for m in read_all(reader)} == {(0, 1), (1, 0)}
    assert reader.positions() == {Partition("scores", 0): 2, Partition("scores", 1): 1}


def test_a_reader_can_go_back_pause_and_commit(tmp_path, opened):
    archive_of(tmp_path, [row(n) for n in range(5)])
    reader = opened(group="g")
    assert [m.offset for m in reader.poll(3, timeout=0.0)] == [0, 1, 2]
    reader.commit()
    reader.seek({Partition("scores"): 1})
    reader.pause([Partition("scores")])
    assert reader.poll(10, timeout=0.0) == []
    reader.resume([Partition("scores")])
    assert [m.offset for m in reader.poll(10, timeout=0.0)] == [1, 2, 3, 4]
    assert [m.offset for m in opened(group="g").poll(10, timeout=0.0)] == [3, 4]


def test_names_and_ends_are_read_off_the_files(tmp_path):
    archive_of(tmp_path, [row(4), row(9, partition=2)])
    archive_of(tmp_path, [row(0, stream="requests")], stream="requests")
    place = open_streams(f"archive:{tmp_path}")
    assert place.names() == ["requests", "scores"]
    assert place.begins(["scores"]) == {Partition("scores", 0): 4, Partition("scores", 2): 9}
    assert place.ends(["scores", "none"]) == {Partition("scores", 0): 5, Partition("scores", 2): 10}
    place.close()


def test_what_only_a_damaged_file_held_is_a_gap(tmp_path, opened):
    paths = archive_of(tmp_path, [row(0)], [row(1), row(2)], [row(3)], [row(4)])
    put_aside(paths[1])
    paths[3].write_bytes(paths[3].read_bytes()[:100])
    reader = opened()
    assert [m.offset for m in read_all(reader)] == [0, 3]
    at = Partition("scores")
    assert reader.gaps() == [Gap(at, 1, 3, "damaged"), Gap(at, 4, 5, "damaged")]
    assert reader.positions() == {at: 5}
    with pytest.raises(LostError, match="offset 1 on cannot be read"):
        read_all(opened(on_lost="stop"))


def test_what_has_expired_in_between_is_a_gap(tmp_path, opened):
    paths = archive_of(tmp_path, [row(n) for n in range(3)], [row(3)])
    paths[0].unlink()
    reader = opened()
    reader.seek({Partition("scores"): 1})
    assert reader.gaps() == [Gap(Partition("scores"), 1, 3, "trimmed")]
    assert [m.offset for m in read_all(reader)] == [3]


def test_an_archive_is_only_read(tmp_path):
    place = open_streams(f"archive:{tmp_path}")
    with pytest.raises(StreamError, match="`birdwatch archive write` writes archives"):
        place.broadcast("scores", b"", b"{}")
    place.close()


def test_an_address_names_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AddressError, match="names a file"):
        open_streams(f"archive:{tmp_path}/file")
    assert is_recorded("archive:x")
    assert not is_recorded("kafka://x")


def test_a_folder_is_opened_as_what_lies_in_it(tmp_path):
    archive_of(tmp_path / "kept", [row(0)])
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "scores.jsonl").write_text("{}\n")
    for name in ("kept", "lines"):
        place = open_recorded(tmp_path / name)
        assert place.ends(["scores"]) == {Partition("scores"): 1}
        place.close()


def test_batches_of_large_files_are_read_on_at_any_offset(tmp_path):
    archive_of(tmp_path, [row(n) for n in range(20_000)])
    found = [b["offset"].to_numpy() for b in read_partition(tmp_path / "scores", 0, begin=9_000)]
    assert np.array_equal(np.concatenate(found), np.arange(9_000, 20_000))
