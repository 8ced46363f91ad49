import pytest

from birdwatch.errors import RecordError
from birdwatch.records import LARGEST, Score, decode
from birdwatch.streams import Message
from birdwatch.streams.deadletters import (
    LARGEST_KEY_BYTES,
    LARGEST_VALUE_BYTES,
    LONGEST_REASON,
    DeadLetter,
    dead_letter,
    dead_letters,
    letters,
)
from birdwatch.testing import MemoryStreams


def posted(value, reason="no reason"):
    streams = MemoryStreams()
    dead_letter(streams, Message("scores", 2, 17, b"k", value), reason, clock=lambda: 1e9)
    (message,) = streams.reader(["deadletters"]).poll(timeout=0.0)
    return decode(message.value, DeadLetter)


def test_a_dead_letter_says_where_when_and_why():
    assert posted(b'{"n":', "Input data was truncated") == DeadLetter(
        stream="scores",
        partition=2,
        offset=17,
        ts=1e9,
        reason="Input data was truncated",
        value='{"n":',
        length=5,
        key="k",
    )


@pytest.mark.parametrize("value", [b"", b'{"n":', "Grüße 🐦".encode(), b"\x00\x01", b"\xff\xfe\x00", bytes(range(256))])
def test_the_bytes_come_back(value):
    assert posted(value).raw == value


@pytest.mark.parametrize("unit", [b"x", "ü".encode(), "🐦".encode(), b"\xff"])
def test_what_is_too_long_is_cut_and_its_length_said(unit):
    value = b"a" + unit * (3 * LARGEST_VALUE_BYTES // len(unit))
    letter = posted(value)
    assert letter.length == len(value)
    assert value.startswith(letter.raw)
    assert LARGEST_VALUE_BYTES - 4 < len(letter.raw) <= LARGEST_VALUE_BYTES
    assert letter.encoding == ("base64" if unit == b"\xff" else "utf-8")


def test_many_travel_at_once():
    streams = MemoryStreams()
    dead_letters(streams, [(Message("scores", 0, n, b"", b"{"), f"reason {n}") for n in range(3)])
    found = [decode(message.value, DeadLetter) for message in streams.reader(["deadletters"]).poll(timeout=0.0)]
    assert [(letter.offset, letter.reason) for letter in found] == [(0, "reason 0"), (1, "reason 1"), (2, "reason 2")]


def test_what_a_record_error_says_is_a_reason():
    value = b'{"request_id":"r1"}'
    with pytest.raises(RecordError) as error:
        decode(value, Score)
    assert "missing required field `request_ts`" in posted(value, str(error.value)).reason


@pytest.mark.parametrize("key", [b"", b"r1", "Grüße".encode(), b"\xff\x00"])
def test_the_key_comes_back(key):
    streams = MemoryStreams()
    dead_letter(streams, Message("scores", 0, 1, key, b"{"), "no reason")
    (message,) = streams.reader(["deadletters"]).poll(timeout=0.0)
    assert decode(message.value, DeadLetter).raw_key == key


def test_a_key_that_is_too_large_is_not_kept():
    streams = MemoryStreams()
    dead_letter(streams, Message("scores", 0, 1, b"k" * (LARGEST_KEY_BYTES + 1), b"{"), "no reason")
    (message,) = streams.reader(["deadletters"]).poll(timeout=0.0)
    assert decode(message.value, DeadLetter).raw_key is None


def test_a_reason_that_repeats_what_was_read_is_cut():
    letter = posted(b"{", "x" * 1_000_000)
    assert letter.reason == "x" * (LONGEST_REASON - 1) + "…"
    assert posted(b"{", "x" * LONGEST_REASON).reason == "x" * LONGEST_REASON


def test_a_letter_is_small_enough_to_travel_whatever_is_in_it():
    for byte in (b"\x00", b"\xff", b'"'):
        value, key = byte * 1_000_000, byte * LARGEST_KEY_BYTES
        (entry,) = letters([(Message("scores", 0, 1, key, value), "\x00" * 1000)], 1e9)
        assert len(entry.value) < LARGEST


def test_headers_say_it_without_json():
    (entry,) = letters([(Message("scores", 2, 17, b"k", b"{"), "wäre gut")], 1e9)
    assert entry.stream == "deadletters"
    assert dict(entry.headers) == {
        "birdwatch.stream": b"scores",
        "birdwatch.partition": b"2",
        "birdwatch.offset": b"17",
        "birdwatch.reason": "wäre gut".encode(),
    }


def test_many_are_one_append(monkeypatch):
    streams, appends = MemoryStreams(), []
    append = streams.append

    def counted(stream, messages, **options):
        appends.append(stream)
        append(stream, messages, **options)

    monkeypatch.setattr(streams, "append", counted)
    dead_letters(streams, ((Message("scores", 0, n, b"", b"{"), "no reason") for n in range(100)))
    dead_letters(streams, [])
    assert appends == ["deadletters"]
