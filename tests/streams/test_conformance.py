"""Every place where streams live behaves the same; an exclusion states its reason."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from birdwatch.streams import Message, Partition, Reader, Streams, open_streams
from birdwatch.testing import MemoryStreams


class Place(NamedTuple):
    """A kind of place: ``open`` gives it anew, as a process that starts again would; ``name`` makes names of streams."""

    open: Callable[[], Streams]
    name: Callable[[str], str]


KINDS = ("sqlite", "files", "memory", "kafka")
EXCLUDED = {
    ("files", "test_keys_come_back"): "a line of a recorded stream has no room for a key",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        kinds = [kind for kind in KINDS if (kind, metafunc.function.__name__) not in EXCLUDED]
        real = [pytest.param(kind, marks=pytest.mark.integration if kind == "kafka" else ()) for kind in kinds]
        metafunc.parametrize("place", real, indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    opened: list[Streams | Reader] = []

    def tracked(streams: Streams) -> Streams:
        """See to it that what a test opens is closed."""
        open_reader = streams.reader

        def reader(*args, **kwargs) -> Reader:
            opened.append(open_reader(*args, **kwargs))
            return opened[-1]

        streams.reader = reader
        opened.append(streams)
        return streams

    if request.param == "memory":
        memory = tracked(MemoryStreams())
        yield Place(lambda: memory, lambda name: name)
    elif request.param == "kafka":
        address, run = request.getfixturevalue("kafka"), uuid.uuid4().hex[:8]
        yield Place(lambda: tracked(open_streams(address)), lambda name: f"{name}-{run}")
    else:
        yield Place(lambda: tracked(open_streams(f"{request.param}:{tmp_path}/streams")), lambda name: name)
    for one in reversed(opened):
        one.close()


def write(streams: Streams, stream: str, *values: int) -> None:
    streams.append(stream, [(b"k%d" % value, b'{"n":%d}' % value) for value in values])


def read(reader, count: int, *, limit: int = 1000) -> list[Message]:
    """Poll until there are ``count`` messages, at most for thirty polls."""
    messages: list[Message] = []
    for _ in range(30):
        messages += reader.poll(limit, timeout=1.0 if len(messages) < count else 0.0)
        if len(messages) >= count:
            break
    return messages


def values(messages: list[Message]) -> list[bytes]:
    return [message.value for message in messages]


def test_messages_come_back_in_the_order_they_were_appended(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, 1, 2, 3)
    write(streams, name, 4)
    messages = read(streams.reader([name]), 4)
    assert values(messages) == [b'{"n":1}', b'{"n":2}', b'{"n":3}', b'{"n":4}']
    assert [message.offset for message in messages] == [0, 1, 2, 3]
    assert {(message.stream, message.partition) for message in messages} == {(name, 0)}


def test_keys_come_back(place):
    streams, name = place.open(), place.name("scores")
    streams.append(name, [(b"k1", b"{}"), (b"", b"{}"), ("ключ".encode(), b"{}")])
    assert [message.key for message in read(streams.reader([name]), 3)] == [b"k1", b"", "ключ".encode()]


def test_what_is_broadcast_lies_at_the_end_of_every_partition(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, 1, 2, 3, 4)
    partitions = streams.ends([name])
    streams.broadcast(name, b"cut", b'{"token":"t"}')
    messages = read(streams.reader([name]), 4 + len(partitions))
    last = {message.partition: message.value for message in messages}
    assert last == {at.number: b'{"token":"t"}' for at in partitions}
    assert len(messages) == 4 + len(partitions)


def test_a_poll_gives_no_more_than_its_limit(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, *range(25))
    reader = streams.reader([name])
    sizes = []
    while sum(sizes) < 25:
        sizes.append(len(reader.poll(10, timeout=5.0)))
    assert max(sizes) == 10
    assert reader.poll(10, timeout=0.0) == []


def test_appending_nothing_makes_no_message(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, 1)
    streams.append(name, [])
    assert streams.ends([name]) == {Partition(name): 1}


def test_a_stream_that_does_not_exist_gives_nothing_until_it_does(place):
    streams, name = place.open(), place.name("scores")
    reader = streams.reader([name])
    assert reader.poll(timeout=0.0) == []
    assert reader.positions() == {}
    assert streams.ends([name]) == {}
    write(streams, name, 7)
    assert values(read(reader, 1)) == [b'{"n":7}']


def test_a_reader_of_many_streams_gets_them_all(place):
    streams, one, two = place.open(), place.name("scores"), place.name("metrics")
    write(streams, one, 1, 2)
    write(streams, two, 3)
    messages = read(streams.reader([one, two]), 3)
    assert sorted((message.stream, message.offset) for message in messages) == sorted([(one, 0), (one, 1), (two, 0)])


def test_a_group_goes_on_where_it_committed(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, *range(6))
    reader = streams.reader([name], group="tail")
    assert len(read(reader, 4, limit=4)) == 4
    reader.commit()
    reader.close()
    streams.close()

    again = place.open()
    assert again.committed("tail", [name]) == {Partition(name): 4}
    assert [message.offset for message in read(again.reader([name], group="tail"), 2)] == [4, 5]


def test_other_positions_than_its_own_can_be_committed_and_the_reader_stays_where_it_is(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, 1, 2, 3, 4)
    reader = streams.reader([name], group=place.name("watchers"))
    first = read(reader, 3, limit=3)
    reader.commit({Partition(name): 1})
    assert streams.committed(place.name("watchers"), [name]) == {Partition(name): 1}
    assert values(first + read(reader, 4 - len(first))) == [b'{"n":1}', b'{"n":2}', b'{"n":3}', b'{"n":4}']


def test_what_was_not_committed_comes_again(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, 1, 2)
    reader = streams.reader([name], group="tail")
    read(reader, 2)
    reader.close()
    assert streams.committed("tail", [name]) == {}
    assert len(read(streams.reader([name], group="tail"), 2)) == 2


def test_two_groups_do_not_see_each_other(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, 1, 2, 3)
    one = streams.reader([name], group="one")
    read(one, 3)
    one.commit()
    assert len(read(streams.reader([name], group="two"), 3)) == 3
    assert streams.committed("two", [name]) == {}


def test_a_reader_without_a_group_has_nothing_to_commit_for(place):
    with pytest.raises(ValueError, match="without a group"):
        place.open().reader([place.name("scores")]).commit()


def test_seeking_goes_back_and_forth(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, *range(5))
    reader = streams.reader([name])
    read(reader, 5)
    reader.seek({Partition(name): 1})
    assert reader.positions() == {Partition(name): 1}
    assert [message.offset for message in read(reader, 4)] == [1, 2, 3, 4]
    reader.seek({Partition(name): 4})
    assert [message.offset for message in read(reader, 1)] == [4]


def test_seeking_before_the_first_poll_holds(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, *range(5))
    reader = streams.reader([name], group="tail")
    reader.seek({Partition(name): 3})
    assert [message.offset for message in read(reader, 2)] == [3, 4]


def test_positions_are_what_is_read_next(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, *range(5))
    reader = streams.reader([name])
    read(reader, 3, limit=3)
    assert reader.positions() == {Partition(name): 3}


def test_latest_starts_after_what_is_there(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, 1, 2)
    reader = streams.reader([name], start="latest")
    assert reader.poll(timeout=0.0) == []
    write(streams, name, 3)
    assert values(read(reader, 1)) == [b'{"n":3}']


def test_latest_yields_to_what_the_group_committed(place):
    streams, name = place.open(), place.name("scores")
    write(streams, name, 1, 2)
    reader = streams.reader([name], group="tail")
    read(reader, 1, limit=1)
    reader.commit()
    reader.close()
    assert values(read(streams.reader([name], group="tail", start="latest"), 1)) == [b'{"n":2}']


def test_ends_are_the_offsets_of_the_next_messages(place):
    streams, name, other = place.open(), place.name("scores"), place.name("metrics")
    write(streams, name, 1, 2, 3)
    assert streams.ends([name, other]) == {Partition(name): 3}


def test_names_are_those_of_the_streams_that_exist(place):
    streams, one, two = place.open(), place.name("scores"), place.name("metrics")
    assert not {one, two} & set(streams.names())
    write(streams, one, 1)
    write(streams, two, 1)
    names = streams.names()
    assert {one, two} <= set(names)
    assert names == sorted(names)


def test_any_text_and_big_messages_come_back_byte_for_byte(place):
    streams, name = place.open(), place.name("scores")
    texts = ['{"id":"Grüße, 世界 🐦"}'.encode(), b'{"x":"' + b"x" * 900_000 + b'"}']
    streams.append(name, [(b"", text) for text in texts])
    assert values(read(streams.reader([name]), 2)) == texts


def test_what_is_excluded_is_there():
    assert {(kind, test) for kind, test in EXCLUDED if kind not in KINDS or test not in globals()} == set()
