"""Dead letters go back to where they came from, each once, and what cannot is named."""

import pytest

from birdwatch.records import encode
from birdwatch.streams import Message, Partition
from birdwatch.streams.deadletters import (
    DEADLETTERS,
    LARGEST_KEY_BYTES,
    LARGEST_VALUE_BYTES,
    DeadLetter,
    dead_letter,
    dead_letters,
)
from birdwatch.streams.requeue import GROUP, requeue
from birdwatch.testing import FakeClock, MemoryStreams


@pytest.fixture
def streams():
    clock = FakeClock()
    return MemoryStreams(clock=clock, sleep=clock.sleep)


def read(streams, stream):
    return streams.reader([stream]).poll(1000, 0.0)


def die(streams, *pairs, stream="scores"):
    """Write messages, and a dead letter of each."""
    before = streams.ends([stream]).get(Partition(stream), 0)
    streams.append(stream, pairs)
    dead_letters(streams, [(message, "no reason") for message in read(streams, stream)[before:]])


def fates(streams, **options):
    return [letter.fate for letter in requeue(streams, **options)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"r1", b'{"n":1}'),
        (b"", b""),
        (b"\xff\x00", bytes(range(256))),
        ("Grüße".encode(), "🐦".encode()),
        (b"r1", b"x" * (LARGEST_VALUE_BYTES + 1)),
        (b"k" * (LARGEST_KEY_BYTES + 1), b"{}"),
    ],
    ids=["json", "empty", "binary", "text", "longer than is kept", "key longer than is kept"],
)
def test_a_message_goes_back_whole_with_its_key(streams, key, value):
    die(streams, (key, value))
    assert fates(streams) == ["put back"]
    original, again = read(streams, "scores")
    assert (again.key, again.value) == (original.key, original.value) == (key, value)


def test_nothing_goes_back_twice(streams):
    die(streams, (b"1", b"one"), (b"2", b"two"))
    assert fates(streams) == ["put back"] * 2
    assert fates(streams) == []
    die(streams, (b"3", b"three"))
    assert fates(streams) == ["put back"]
    assert [m.value for m in read(streams, "scores")] == [b"one", b"two", b"one", b"two", b"three", b"three"]


def test_in_a_stream_that_was_made_anew_nothing_has_been_dealt_with(streams):
    die(streams, (b"1", b"one"), (b"2", b"two"))
    assert fates(streams) == ["put back"] * 2
    del streams._messages[DEADLETTERS]
    die(streams, (b"3", b"three"))
    assert fates(streams) == ["put back"]
    assert fates(streams) == []


def test_many_go_back_in_their_order(streams):
    die(streams, *((b"", b"%d" % n) for n in range(250)))
    assert fates(streams) == ["put back"] * 250
    assert [int(m.value) for m in read(streams, "scores")] == [*range(250), *range(250)]


def test_what_several_readers_could_not_read_goes_back_once(streams):
    die(streams, (b"1", b"one"))
    dead_letter(streams, read(streams, "scores")[0], "another reader's reason")
    assert fates(streams) == ["put back", "put back already"]
    assert len(read(streams, "scores")) == 2


def test_parts_of_one_message_all_go_back(streams):
    streams.append("scores", [(b"", b"a table")])
    (table,) = read(streams, "scores")
    parts = [Message("scores", 0, table.offset, b"", b'{"row":%d}' % n) for n in range(3)]
    dead_letters(streams, [(part, "no reason") for part in parts])
    assert fates(streams) == ["put back"] * 3
    assert [m.value for m in read(streams, "scores")[1:]] == [b'{"row":0}', b'{"row":1}', b'{"row":2}']


def test_letters_that_come_meanwhile_are_left_for_another_time(streams):
    die(streams, (b"1", b"one"))
    for n, _ in enumerate(requeue(streams)):
        die(streams, (b"", b"still not right %d" % n))
        assert n < 3
    assert len(read(streams, DEADLETTERS)) == 2
    assert streams.committed(GROUP, [DEADLETTERS]) == {Partition(DEADLETTERS): 1}


def test_a_batch_that_was_not_written_is_not_dealt_with(streams, monkeypatch):
    die(streams, (b"1", b"one"))
    append = streams.append

    def fail(stream, messages):
        raise OSError("no room")

    monkeypatch.setattr(streams, "append", fail)
    with pytest.raises(OSError, match="no room"):
        fates(streams)
    monkeypatch.setattr(streams, "append", append)
    assert fates(streams) == ["put back"]


def test_some_are_chosen_by_where_they_lie_and_the_group_stands_where_it_stood(streams):
    die(streams, (b"1", b"one"), (b"2", b"two"))
    assert fates(streams, begin={Partition(DEADLETTERS): 1}) == ["put back"]
    assert streams.committed(GROUP, [DEADLETTERS]) == {}
    assert [m.value for m in read(streams, "scores")] == [b"one", b"two", b"two"]


def test_some_are_chosen_by_what_they_are(streams):
    die(streams, (b"1", b"one"))
    die(streams, (b"1", b"one"), stream="metrics")
    assert fates(streams, chosen=lambda letter: letter.stream == "metrics") == ["not chosen", "put back"]
    assert len(read(streams, "scores")) == 1


LONG = b"y" * (LARGEST_VALUE_BYTES + 1)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (Message("outcomes", 0, 0, b"", b"{"), r"there is no stream 'outcomes' in memory:"),
        (Message("scores", 0, 17, b"", LONG), r"scores/0@17 is gone, and only 65,536 of its 65,537 bytes were kept"),
        (Message("scores", 0, 0, b"", LONG), "at scores/0@0 lies another message"),
    ],
    ids=["no such stream", "gone", "made anew"],
)
def test_what_cannot_go_back_is_named_and_the_others_go_back(streams, message, why):
    dead_letter(streams, message, "no reason")
    die(streams, (b"1", b"one"))
    first, second = requeue(streams)
    assert (first.fate, second.fate) == ("lost", "put back")
    assert why in first.why
    assert fates(streams) == []


@pytest.mark.parametrize("other", [b"z" * len(LONG), LONG + b"y"], ids=["of the same length", "of the same beginning"])
def test_another_message_is_not_taken_for_it(streams, other):
    streams.append("scores", [(b"", other)])
    dead_letter(streams, Message("scores", 0, 0, b"", LONG), "no reason")
    assert fates(streams) == ["lost"]
    assert len(read(streams, "scores")) == 1


def test_a_letter_without_its_key_is_looked_up_where_it_lies(streams):
    """As one that was kept before keys were."""
    streams.append("scores", [(b"r1", b"one")])
    old = DeadLetter(stream="scores", partition=0, offset=0, ts=1.0, reason="", value="one", length=3)
    streams.append(DEADLETTERS, [(b"", encode(old))])
    assert fates(streams) == ["put back"]
    assert read(streams, "scores")[1].key == b"r1"


def test_what_is_no_letter_of_ours_is_said_to_be_none(streams):
    streams.append(DEADLETTERS, [(b"", b"from elsewhere")])
    (letter,) = requeue(streams)
    assert (letter.fate, letter.letter, letter.offset) == ("lost", None, 0)
    assert "not a DeadLetter" in letter.why


def test_there_need_be_no_letters(streams):
    assert fates(streams) == []
