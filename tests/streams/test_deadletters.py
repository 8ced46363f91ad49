import pytest

from birdwatch.errors import RecordError
from birdwatch.records import Score, decode
from birdwatch.streams import Message
from birdwatch.streams.deadletters import LARGEST_VALUE_BYTES, DeadLetter, dead_letter, dead_letters
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
    letters = [(Message("scores", 0, n, b"", b"{"), f"reason {n}") for n in range(3)]
    dead_letters(streams, letters)
    found = [decode(message.value, DeadLetter) for message in streams.reader(["deadletters"]).poll(timeout=0.0)]
    assert [(letter.offset, letter.reason) for letter in found] == [(0, "reason 0"), (1, "reason 1"), (2, "reason 2")]


def test_what_a_record_error_says_is_a_reason():
    value = b'{"request_id":"r1"}'
    with pytest.raises(RecordError) as error:
        decode(value, Score)
    assert "missing required field `request_ts`" in posted(value, str(error.value)).reason
