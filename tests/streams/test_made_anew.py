"""A log on this machine that is deleted, or put in another's place, while it is read."""

import pytest

from birdwatch.errors import StreamError
from birdwatch.streams import Gap, Partition, open_streams

AT = Partition("scores")


@pytest.fixture(params=["sqlite", "files"])
def place(request, tmp_path):
    """Open streams of one kind in one folder, as another process would."""
    opened = []

    def open_():
        opened.append(open_streams(f"{request.param}:{tmp_path}/streams"))
        return opened[-1]

    yield open_
    for streams in opened:
        streams.close()


@pytest.fixture
def delete(tmp_path):
    def delete():
        for path in tmp_path.glob("streams/scores.*"):
            path.unlink()

    return delete


@pytest.fixture
def read(place):
    """Read ten messages with a rule; give the reader."""
    readers = []

    def read(on_lost):
        write(place(), *range(10))
        readers.append(place().reader(["scores"], on_lost=on_lost))
        assert len(readers[0].poll()) == 10
        readers[0].poll(timeout=0.0)
        return readers[0]

    yield read
    for reader in readers:
        reader.close()


def write(streams, *values):
    streams.append("scores", [(b"", b'{"n":%d}' % value) for value in values])


def following(reader):
    """Poll until it is known that the log is another one; give what comes."""
    return [message.value for _ in range(3) for message in reader.poll(timeout=0.0)]


def test_it_is_read_from_its_beginning_and_told_of(place, read, delete):
    reader = read("earliest")
    delete()
    assert following(reader) == []
    assert reader.gaps() == []
    write(place(), 100, 101)
    assert following(reader) == [b'{"n":100}', b'{"n":101}']
    assert reader.gaps() == [Gap(AT, 10, 0, "made anew")]
    write(place(), 102)
    assert following(reader) == [b'{"n":102}']
    assert reader.gaps() == []


def test_where_the_rule_is_latest_only_what_comes_is_read(place, read, delete):
    reader = read("latest")
    delete()
    write(place(), 100, 101)
    assert following(reader) == []
    assert reader.gaps() == [Gap(AT, 10, 2, "made anew")]
    write(place(), 102)
    assert following(reader) == [b'{"n":102}']


def test_where_the_rule_is_stop_every_poll_is_an_error_until_a_place_is_chosen(place, read, delete):
    reader = read("stop")
    delete()
    write(place(), 100, 101)
    for _ in range(3):
        with pytest.raises(StreamError, match=r"scores, partition 0: .* offset 10 on .*made anew; there are 0 to 2"):
            following(reader)
    reader.seek({AT: 0})
    assert len(following(reader)) == 2


def test_a_log_that_only_grows_is_the_same_one(place, read):
    reader = read("earliest")
    write(place(), 10)
    assert following(reader) == [b'{"n":10}']
    assert reader.gaps() == []


def test_who_writes_notices_too(place, delete):
    writer = place()
    write(writer, 1, 2)
    delete()
    write(writer, 3)
    reader = place().reader(["scores"])
    assert [message.value for message in reader.poll()] == [b'{"n":3}']
    assert writer.ends(["scores"]) == {AT: 1}
    reader.close()
