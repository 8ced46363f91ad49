"""Whatever is damaged in a log, each message is read as it was written or said to be missing; none is read wrong."""

import random
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from birdwatch.errors import LostError, StreamError
from birdwatch.streams import Partition, open_streams
from birdwatch.streams.salvage import mend

SCORES = Partition("scores")


def written(folder, count=400):
    """Write a log of small and large messages, and give them."""
    chance = random.Random(5)
    messages = [(b"k%d" % n, chance.randbytes(chance.choice([10, 80, 300, 300, 300, 6000]))) for n in range(count)]
    with closing(open_streams(f"sqlite:{folder}")) as streams:
        for at in range(0, count, 7):
            streams.append("scores", messages[at : at + 7])
    return messages


def read(folder, **how):
    """Read a log to its end: the messages by offset, and the offsets that were said to be damaged."""
    found, missing = {}, set()
    with closing(open_streams(f"sqlite:{folder}")) as streams, closing(streams.reader(["scores"], **how)) as reader:
        while True:
            messages, gaps = reader.poll(50, timeout=0.0), reader.gaps()
            missing |= {offset for gap in gaps for offset in range(gap.wanted, gap.found)}
            if not messages and not gaps:
                return found, missing
            for message in messages:
                assert message.offset not in found
                found[message.offset] = (message.key, message.value)


def ledger(folder, messages):
    """Read, mend what cannot be read on, and read again; say what was needed, and which offsets were missing."""
    mended = False
    try:
        found, missing = read(folder)
    except StreamError as error:
        remedy = f"birdwatch streams mend --streams sqlite:{folder} scores"
        if remedy not in str(error):
            raise
        result = mend(Path(folder) / "scores.db")
        assert result.kept.exists()
        mended = True
        found, missing = read(folder)
        missing |= set(range(max(found, default=-1) + 1, len(messages)))  # the end is gone: its readers are told
    assert all(found[offset] == messages[offset] for offset in found)
    assert found.keys() | missing == set(range(len(messages)))
    assert not found.keys() & missing
    return mended, missing


def restore(source, folder):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)


def flip(path, chance):
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def test_whatever_bit_is_flipped_the_rest_is_read_and_no_message_wrong(tmp_path):
    messages, chance = written(tmp_path / "whole"), random.Random(9)
    costs, mends = [], 0
    for _ in range(120):
        restore(tmp_path / "whole", tmp_path / "flipped")
        flip(tmp_path / "flipped" / "scores.db", chance)
        mended, missing = ledger(tmp_path / "flipped", messages)
        costs.append(len(missing))
        mends += mended
    assert sum(map(bool, costs)) > 60  # most of a log is messages
    assert sorted(costs)[len(costs) * 9 // 10] <= 1
    assert mends < 30


def test_a_log_that_was_cut_short_gives_what_is_left_once_it_is_mended(tmp_path):
    messages, chance = written(tmp_path / "whole"), random.Random(9)
    size = (tmp_path / "whole" / "scores.db").stat().st_size
    for length in [0, 1, 99, 4096, *(chance.randrange(size) for _ in range(16))]:
        restore(tmp_path / "whole", tmp_path / "cut")
        path = tmp_path / "cut" / "scores.db"
        path.write_bytes(path.read_bytes()[:length])
        ledger(tmp_path / "cut", messages)


def test_what_lies_behind_a_flipped_bit_of_the_write_ahead_log_is_saved(tmp_path, caplog):
    chance = random.Random(9)
    with closing(open_streams(f"sqlite:{tmp_path}/live")) as streams:
        messages = [(b"k%d" % n, chance.randbytes(chance.choice([10, 300, 6000]))) for n in range(100)]
        for message in messages:
            streams.append("scores", [message])
        shutil.copytree(tmp_path / "live", tmp_path / "whole")  # as it lies there after kill -9
    (tmp_path / "whole" / "scores.db-shm").unlink()
    said = 0
    for _ in range(60):
        restore(tmp_path / "whole", tmp_path / "flipped")
        flip(tmp_path / "flipped" / "scores.db-wal", chance)
        caplog.clear()
        found, missing = read(tmp_path / "flipped")
        assert all(found[offset] == messages[offset] for offset in found)
        lost = set(range(100)) - found.keys() - missing
        # Only the last can be lost without a message behind it that shows the gap.
        assert lost <= {99}
        assert len(found) >= 99
        told = "its last commits lay behind damage" in caplog.text
        assert told or len(found) == 100
        assert told == bool(list((tmp_path / "flipped").glob("scores.db-wal.damaged-1")))
        said += told
    assert said > 40


def test_writing_goes_on_behind_a_damaged_message_and_readers_are_told_where_it_was(tmp_path):
    written(tmp_path, 10)
    path = tmp_path / "scores.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE messages SET value = x'00' WHERE id = 10")
    with closing(open_streams(f"sqlite:{tmp_path}")) as streams:
        streams.append("scores", [(b"k", b"next")])
        assert streams.ends(["scores"]) == {SCORES: 11}
    found, missing = read(tmp_path)
    assert missing == {9}
    assert found[10] == (b"k", b"next")


def test_who_wants_to_stop_where_messages_are_lost_is_told_where_and_what_to_do(tmp_path):
    written(tmp_path, 10)
    with closing(apsw.Connection(str(tmp_path / "scores.db"))) as connection:
        connection.execute("UPDATE messages SET key = x'00' WHERE id = 5")
    with pytest.raises(
        LostError, match=r"scores: messages from offset 4 on cannot be read \(damaged; it goes on at 5\)"
    ):
        read(tmp_path, on_lost="stop")


def test_a_reader_beyond_the_end_of_a_log_that_was_cut_short_goes_on_at_its_end(tmp_path):
    written(tmp_path, 10)
    with closing(open_streams(f"sqlite:{tmp_path}")) as streams, closing(streams.reader(["scores"])) as reader:
        reader.seek({SCORES: 14})
        assert reader.poll(timeout=0.0) == []
        assert reader.gaps() == [(SCORES, 14, 10, "cut short")]
        streams.append("scores", [(b"k", b"next")])
        assert [message.offset for message in reader.poll(timeout=0.0)] == [10]


def test_a_log_without_sums_is_read_and_gets_them_for_what_is_written_from_now_on(tmp_path):
    with closing(apsw.Connection(str(tmp_path / "scores.db"))) as connection:
        connection.pragma("journal_mode", "wal")
        connection.execute(
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB NOT NULL) STRICT"
        )
        connection.execute("INSERT INTO messages (key, value) VALUES (x'01', x'02')")
    with closing(open_streams(f"sqlite:{tmp_path}")) as streams:
        streams.append("scores", [(b"k", b"v")])
    assert read(tmp_path) == ({0: (b"\x01", b"\x02"), 1: (b"k", b"v")}, set())
    with closing(apsw.Connection(str(tmp_path / "scores.db"))) as connection:
        assert connection.execute("SELECT sum IS NULL FROM messages ORDER BY id").fetchall() == [(1,), (0,)]


def test_a_log_in_use_is_not_mended(tmp_path):
    written(tmp_path, 10)
    holds = (
        "import sys; from birdwatch.streams import open_streams; s = open_streams(sys.argv[1]);"
        " s.append('scores', [(b'', b'x')]); print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holds, f"sqlite:{tmp_path}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StreamError, match="is in use: stop what reads and writes it"):
            mend(tmp_path / "scores.db")
        other.communicate(b"\n")
    assert mend(tmp_path / "scores.db").saved == 11


def test_what_a_group_has_committed_is_not_believed_when_its_sum_is_wrong(tmp_path):
    messages = written(tmp_path, 10)
    with closing(open_streams(f"sqlite:{tmp_path}")) as streams:
        with closing(streams.reader(["scores"], group="tail")) as reader:
            reader.poll(4, timeout=0.0)
            reader.commit()
        assert streams.committed("tail", ["scores"]) == {SCORES: 4}
        with closing(apsw.Connection(str(tmp_path / ".offsets.db"))) as connection:
            connection.execute("UPDATE offsets SET next = 5")
        with pytest.raises(
            StreamError, match=r"\.offsets\.db is damaged; move it away: the groups then read from their"
        ):
            streams.reader(["scores"], group="tail")
    (tmp_path / ".offsets.db").rename(tmp_path / "aside.db.kept")
    assert read(tmp_path, group="tail") == (dict(enumerate(messages)), set())
