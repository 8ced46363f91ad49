"""Files are put together, and expire, so that readers see each message once at every moment."""

import itertools
import shutil
import subprocess
from contextlib import suppress

import pyarrow.parquet as pq
import pytest

from birdwatch.archive import compact as compacting
from birdwatch.archive.compact import compact, expire
from birdwatch.archive.verify import put_aside, verify
from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.errors import StreamError
from birdwatch.streams import Message, Partition
from birdwatch.streams.parquet import archived, read_partition

DAY = 86_400.0
JUNE = 1_370_563_200.0  # 7 June 2013, 00:00 UTC


def row(offset, day=0, partition=0):
    return Row(Message("scores", partition, offset, b"", b"%d" % offset), f"r{offset}", JUNE + day * DAY)


@pytest.fixture
def archive(tmp_path):
    """Two partitions; in the first the days take turns."""
    writer = ArchiveWriter(tmp_path, "scores")
    for n in range(0, 24, 4):
        writer.write([row(n), row(n + 1, day=1), row(n + 2), row(n + 3)])
    writer.write([row(0, partition=1)])
    writer.write([row(1, partition=1)])
    return tmp_path


def offsets(archive, partition=0):
    return [n for batch in read_partition(archive / "scores", partition) for n in batch["offset"].to_pylist()]


def together(archive, **how):
    return list(compact(archive, ["scores"], **how))


def test_a_day_and_partition_become_one_file_that_says_the_same(archive):
    before = ArchiveWriter(archive, "scores").positions()
    found = together(archive)
    assert [(each.day, each.partition, each.rows) for each in found] == [
        ("2013-06-07", 0, 18),
        ("2013-06-07", 1, 2),
        ("2013-06-08", 0, 6),
    ]
    assert found[0].path.name == "scores+0+000000000000+000000000023.parquet"
    assert len(archived(archive / "scores")) == 3
    assert (offsets(archive), offsets(archive, 1)) == (list(range(24)), [0, 1])
    assert ArchiveWriter(archive, "scores").positions() == before
    assert list(verify(archive)) == []
    assert together(archive) == []


def test_sha256sum_knows_what_is_there_and_nothing_else(archive):
    for each in together(archive):
        check = ["sha256sum", "--check", "--quiet", "_SHA256SUMS"]
        assert subprocess.run(check, check=False, cwd=each.path.parent, capture_output=True).returncode == 0


def test_what_comes_later_is_put_to_the_rest(archive):
    together(archive)
    ArchiveWriter(archive, "scores").write([row(24), row(25, day=1)])
    assert [each.files for each in together(archive)] == [2, 2]
    assert offsets(archive) == list(range(26))


def test_killed_at_any_moment_every_message_is_there_once_and_the_rest_can_be_done(tmp_path, monkeypatch):
    """The process dies before each step that lasts, one after the other."""
    steps = [(compacting, "sync"), (compacting, "add_sum"), (compacting.Path, "replace"), (compacting.Path, "unlink")]

    class KilledError(BaseException):
        pass

    small = tmp_path / "small"
    writer = ArchiveWriter(small, "scores")
    for n in range(0, 12, 4):
        writer.write([row(n), row(n + 1, day=1), row(n + 2), row(n + 3)])
    for at in itertools.count(1):
        copy = shutil.copytree(small, tmp_path / f"copy-{at}")
        left = [at]
        with monkeypatch.context() as patch:
            for place, name in steps:
                patch.setattr(place, name, _dying(getattr(place, name), left, KilledError))
            with suppress(KilledError):
                together(copy)
        for _ in range(2):
            assert offsets(copy) == list(range(12))
            assert list(verify(copy)) == []
            together(copy)
        assert len(archived(copy / "scores")) == 2
        assert list(copy.rglob(".together-*")) == []
        shutil.rmtree(copy)
        if left[0] > 0:
            break
    assert at > 15


def _dying(do, left, error):
    def instead(*args, **how):
        left[0] -= 1
        if left[0] == 0:
            raise error
        if left[0] < 0:
            return None  # the dead do nothing more
        return do(*args, **how)

    return instead


def test_while_files_are_put_together_a_reader_that_has_begun_reads_on(archive):
    reading = read_partition(archive / "scores", 0)
    first = next(reading)["offset"].to_pylist()
    together(archive)
    assert first + [n for batch in reading for n in batch["offset"].to_pylist()] == list(range(24))


def test_what_a_damaged_file_held_is_archived_again_first(archive):
    broken = archived(archive / "scores")[2]
    put_aside(broken.path)
    [left] = [each for each in together(archive) if each.path is None]
    assert (left.day, left.partition, left.why) == (
        broken.day,
        0,
        "what a damaged file held is not archived again yet",
    )
    writer = ArchiveWriter(archive, "scores")
    for _, first, last in writer.missing():
        writer.write([row(n, day=int(n % 4 == 1)) for n in range(first, last + 1)])
    assert all(each.path for each in together(archive))
    assert offsets(archive) == list(range(24))


def test_what_a_damaged_file_of_many_days_held_is_missing_but_for_other_days(archive):
    together(archive)
    first, *_ = archived(archive / "scores")
    put_aside(first.path)
    missing = ArchiveWriter(archive, "scores").missing()
    assert [n for _, first, last in missing for n in range(first, last + 1)] == [n for n in range(24) if n % 4 != 1]


def test_a_file_that_cannot_be_read_is_left_alone_with_those_beside_it(archive):
    broken = archived(archive / "scores")[0].path
    broken.write_bytes(broken.read_bytes()[:50])
    [left] = [each for each in together(archive) if each.path is None]
    assert "Parquet" in left.why
    assert broken.exists()


def test_files_that_were_made_in_another_way_stay_apart(archive):
    ArchiveWriter(archive, "scores", made_by={"birdwatch.redaction": "{}"}).write([row(24)])
    [left] = [each for each in together(archive) if each.path is None]
    assert left.why == "they were made in different ways, as by other redactions"


def test_what_was_done_to_records_is_still_said(tmp_path):
    writer = ArchiveWriter(tmp_path, "scores", made_by={"birdwatch.redaction": '{"drop": ["key"]}'})
    writer.write([row(0)])
    writer.write([row(1)])
    [one] = together(tmp_path)
    assert pq.read_schema(one.path).metadata[b"birdwatch.redaction"] == b'{"drop": ["key"]}'


def test_only_days_before_a_day(archive):
    assert [each.day for each in together(archive, before_day="2013-06-08")] == ["2013-06-07"] * 2


def test_one_process_at_a_time(archive):
    first = compact(archive, ["scores"])
    next(first)
    with pytest.raises(StreamError, match=r"another process puts files of .*scores together"):
        together(archive)
    first.close()


def test_old_days_expire_but_for_the_highest_offsets_name(archive):
    ArchiveWriter(archive, "scores").write([row(24, day=5)])
    positions = ArchiveWriter(archive, "scores").positions()
    planned = list(expire(archive, ["scores"], before_day="2013-06-09", dry_run=True))
    assert len(archived(archive / "scores")) == 21
    gone = list(expire(archive, ["scores"], before_day="2013-06-09"))
    assert gone == planned
    assert (
        ArchiveWriter(archive, "scores").positions()
        == positions
        == {
            Partition("scores", 0): 25,
            Partition("scores", 1): 2,
        }
    )
    assert [(f.day, f.held) for f in archived(archive / "scores")] == [
        ("2013-06-12", (0, 24, 24)),
        ("2013-06-07", (1, 1, 1)),
    ]
    assert sorted(path.name for path in (archive / "scores").glob("dt=*")) == ["dt=2013-06-07", "dt=2013-06-12"]
    assert list(verify(archive)) == []


def test_damaged_files_expire_too_and_other_days_stay(archive):
    put_aside(archived(archive / "scores")[0].path)
    list(expire(archive, ["scores"], before_day="2013-06-08"))
    assert {f.day for f in archived(archive / "scores") if f.held.partition == 0} == {"2013-06-08", "2013-06-07"}
    assert offsets(archive) == [*range(1, 22, 4), 22, 23]
    assert not list(archive.rglob("*.damaged"))
