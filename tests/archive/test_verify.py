"""A damaged file of an archive is found, whichever bit it is, and put aside."""

import random

import pyarrow.parquet as pq
import pytest

from birdwatch.archive.sums import SUMS
from birdwatch.archive.verify import put_aside, verify
from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.streams import Message

JUNE = 1_370_563_200.0  # 7 June 2013, 00:00 UTC


@pytest.fixture
def archive(tmp_path):
    rows = [Row(Message("requests", 0, n, b"k", b'{"n": %d}' % n), f"r{n}", JUNE) for n in range(300)]
    writer = ArchiveWriter(tmp_path, "requests")
    writer.write(rows[:100])
    writer.write(rows[100:200])
    writer.write(rows[200:])
    return tmp_path


def found_in(archive, **how):
    return [finding.path for finding in verify(archive, **how)]


def test_in_a_sound_archive_nothing_is_found(archive):
    assert found_in(archive) == found_in(archive, full=False) == []


def test_any_flipped_bit_is_found_in_its_file_and_in_no_other(archive):
    chance = random.Random(9)
    _, path, _ = sorted(archive.rglob("*.parquet"))
    whole = path.read_bytes()
    for _ in range(200):
        content = bytearray(whole)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        assert found_in(archive) == [path]


def test_without_its_sum_a_flipped_bit_is_found_or_changes_no_row(archive):
    chance, outcomes = random.Random(9), {True: 0, False: 0}
    path = min(archive.rglob("*.parquet"))
    (path.parent / SUMS).unlink()
    whole, rows = path.read_bytes(), pq.read_table(path, partitioning=None)
    pages = len(whole) // 2  # what describes them lies behind them, and has no sum of its own
    for _ in range(100):
        content = bytearray(whole)
        content[chance.randrange(pages)] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        found = found_in(archive) == [path]
        assert found or pq.read_table(path, partitioning=None).equals(rows)
        outcomes[found] += 1
    assert outcomes[True] > 50


@pytest.mark.parametrize("full", [True, False])
def test_a_file_that_was_cut_short_is_found_by_its_end_alone(archive, full):
    path = max(archive.rglob("*.parquet"))
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 3, 0):
        path.write_bytes(whole[:length])
        assert found_in(archive, full=full) == [path]


def test_a_damaged_file_is_kept_under_another_name_beside_those_of_before(archive):
    path = min(archive.rglob("*.parquet"))
    content = path.read_bytes()
    assert put_aside(path).name == f"_{path.name}.damaged"
    path.write_bytes(b"another")
    assert put_aside(path).name == f"_{path.name}.damaged-1"
    assert path.with_name(f"_{path.name}.damaged").read_bytes() == content
    assert path not in found_in(archive)
