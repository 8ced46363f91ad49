import threading

import apsw
import pytest

from birdwatch.errors import AddressError, StreamError
from birdwatch.streams import Partition, database, open_streams
from birdwatch.streams.bell import Bell
from birdwatch.streams.sqlite import SqliteStreams


def test_an_unknown_option_is_named_with_its_neighbour(tmp_path):
    with pytest.raises(AddressError, match=r"unknown option 'synchronus': did you mean 'synchronous'\?"):
        SqliteStreams(f"sqlite:{tmp_path}?synchronus=full")


def test_an_unknown_value_of_an_option_is_named(tmp_path):
    with pytest.raises(AddressError, match="sets synchronous to 'off': write normal or full"):
        SqliteStreams(f"sqlite:{tmp_path}?synchronous=off")


@pytest.mark.parametrize(("address", "level"), [("", 1), ("?synchronous=normal", 1), ("?synchronous=full", 2)])
def test_the_address_says_how_far_an_append_reaches(tmp_path, address, level):
    streams = SqliteStreams(f"sqlite:{tmp_path}{address}")
    streams.append("scores", [(b"", b"{}")])
    assert streams._open["scores"].writable().execute("PRAGMA synchronous").get == level
    assert streams._open["scores"].writable().execute("PRAGMA journal_mode").get == "wal"
    streams.close()


@pytest.mark.parametrize("name", ["", ".offsets", "a/b", "../up", "sc ores", "scores\n"])
def test_a_name_that_cannot_be_a_stream_is_refused(tmp_path, name):
    streams = SqliteStreams(f"sqlite:{tmp_path}")
    with pytest.raises(StreamError, match="cannot name a stream"):
        streams.append(name, [(b"", b"{}")])
    with pytest.raises(StreamError, match="cannot name a stream"):
        streams.reader([name])


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "scores.db").write_text("no, not at all " * 100)
    with pytest.raises(StreamError, match=r"scores\.db is not a stream"):
        SqliteStreams(f"sqlite:{tmp_path}").append("scores", [(b"", b"{}")])


def test_a_batch_that_fails_leaves_nothing_behind(tmp_path):
    streams = SqliteStreams(f"sqlite:{tmp_path}")
    streams.append("scores", [(b"", b"1")])
    with pytest.raises(StreamError, match=r"scores\.db"):
        streams.append("scores", [(b"", b"2"), (b"", "text")])
    streams.append("scores", [(b"", b"3")])
    assert [message.value for message in streams.reader(["scores"]).poll(timeout=0)] == [b"1", b"3"]
    streams.close()


def test_the_groups_offsets_are_no_stream(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}")
    streams.append("scores", [(b"", b"1")])
    reader = streams.reader(["scores"], group="tail")
    reader.poll()
    reader.commit()
    assert streams.names() == ["scores"]
    reader.close()
    streams.close()


def test_a_busy_stream_does_not_starve_the_others(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}")
    streams.append("scores", [(b"", b"{}")] * 100)
    streams.append("control", [(b"", b"{}")])
    reader = streams.reader(["scores", "control"])
    polled = [reader.poll(10, timeout=0) for _ in range(2)]
    assert {message.stream for messages in polled for message in messages} == {"scores", "control"}
    reader.close()
    streams.close()


def test_a_reader_holds_no_transaction_between_polls(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}")
    streams.append("scores", [(b"", b"{}")] * 100)
    reader = streams.reader(["scores"])
    reader.poll(10, timeout=0)
    other = apsw.Connection(str(tmp_path / "scores.db"))
    busy, _, _ = next(iter(other.execute("PRAGMA wal_checkpoint(TRUNCATE)")))
    assert not busy
    assert (tmp_path / "scores.db-wal").stat().st_size == 0
    assert reader.positions() == {Partition("scores"): 10}
    for held in (other, reader, streams):
        held.close()


def test_an_append_rings_for_those_who_wait_for_the_stream(tmp_path):
    streams = open_streams(f"sqlite:{tmp_path}")
    streams.append("scores", [(b"", b"1")])
    bell = Bell([tmp_path / "scores.db"])
    if not bell.hears:
        pytest.skip("this system has no inotify, or none left")
    bell.wait(0)  # from now on it listens
    assert not bell.wait(0)
    streams.append("scores", [(b"", b"2")])
    assert bell.wait(60.0)
    bell.close()
    streams.close()


def test_a_reader_that_has_read_all_waits_for_a_ring_unless_it_is_sent_elsewhere_or_stopped_at_its_limit(
    tmp_path, monkeypatch
):
    waits = []
    monkeypatch.setattr(Bell, "hears", True)
    monkeypatch.setattr(Bell, "wait", lambda _, seconds: waits.append(seconds))
    streams = open_streams(f"sqlite:{tmp_path}")
    streams.append("scores", [(b"", b"1"), (b"", b"2"), (b"", b"3")])
    reader = streams.reader(["scores"])
    assert len(reader.poll(2, timeout=60.0)) == 2
    assert len(reader.poll(2, timeout=60.0)) == 1
    reader.seek({Partition("scores"): 1})
    assert len(reader.poll(timeout=60.0)) == 2
    assert not waits
    streams.append("scores", [(b"", b"4")])
    assert len(reader.poll(timeout=60.0)) == 1
    assert len(waits) == 1
    reader.close()
    streams.close()


def test_a_reader_that_hears_nothing_still_finds_what_is_appended(tmp_path, monkeypatch):
    monkeypatch.setattr(Bell, "hears", False)
    streams = open_streams(f"sqlite:{tmp_path}")
    reader = streams.reader(["scores"])
    reader._sleep = lambda _: streams.append("scores", [(b"", b"1")])
    assert [message.value for message in reader.poll(timeout=60.0)] == [b"1"]
    reader.close()
    streams.close()


def test_a_log_that_has_become_long_is_trimmed_beside_the_appends_and_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_TRIM_PAGES", 50)
    streams = open_streams(f"sqlite:{tmp_path}")
    rows = [(b"", b"x" * 1000)] * 10
    for _ in range(200):
        streams.append("scores", rows)
        for trim in [thread for thread in threading.enumerate() if thread.name == "trim"]:
            trim.join()
    assert (tmp_path / "scores.db-wal").stat().st_size < 200 * 10 * 1000 / 5
    reader = streams.reader(["scores"])
    assert len(reader.poll(10_000, timeout=0)) == 2000
    reader.close()
    streams.close()
