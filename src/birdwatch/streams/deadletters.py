"""Dead letters: messages that could not be read, kept with where they lay and why, so that nothing stops for them."""

import base64
import codecs
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from birdwatch.records import encode
from birdwatch.streams.base import Entry, Headers, Message, Streams

__all__ = [
    "DEADLETTERS",
    "LARGEST_KEY_BYTES",
    "LARGEST_VALUE_BYTES",
    "LONGEST_REASON",
    "DeadLetter",
    "dead_letter",
    "dead_letters",
    "letters",
]

DEADLETTERS: Final = "deadletters"
"""The stream they are on."""

LARGEST_VALUE_BYTES: Final = 64 * 1024
"""How much is kept of a message."""

LARGEST_KEY_BYTES: Final = 4 * 1024
"""A larger key is not kept."""

LONGEST_REASON: Final = 300
"""How many characters are kept of a reason, which may repeat what was read."""

Encoding = Literal["utf-8", "base64"]


class DeadLetter(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A message, or that part of it, that could not be read.

    Attributes
    ----------
    stream, partition, offset
        Where it lies.
    ts
        When it was found unreadable, on the wall clock.
    reason
        Why, for people.
    value
        Its beginning: as text where it is UTF-8, else in base64.
    encoding
        Which of the two.
    length
        Its whole length in bytes; what is longer than `LARGEST_VALUE_BYTES` is cut.
    key, key_encoding
        Its key, likewise; null where it was larger than `LARGEST_KEY_BYTES`.
    """

    stream: str
    partition: int
    offset: int
    ts: float
    reason: str
    value: str
    length: int
    encoding: Encoding = "utf-8"
    key: str | None = None
    key_encoding: Encoding = "utf-8"

    @property
    def raw(self) -> bytes:
        """The bytes of the value that were kept."""
        return _bytes(self.value, self.encoding)

    @property
    def raw_key(self) -> bytes | None:
        """The bytes of the key, or None where it was not kept."""
        return None if self.key is None else _bytes(self.key, self.key_encoding)

    @property
    def where(self) -> str:
        """Where it lies, for people.

        >>> DeadLetter(stream="scores", partition=2, offset=17, ts=0, reason="", value="", length=0).where
        'scores/2@17'
        """
        return f"{self.stream}/{self.partition}@{self.offset}"


def dead_letter(streams: Streams, message: Message, reason: str, *, clock: Callable[[], float] = time.time) -> None:
    """Put a message that could not be read on the stream ``deadletters``.

    Parameters
    ----------
    streams
        Where the stream ``deadletters`` lives.
    message
        As it was read.
    reason
        Why it is dead, for people; a `birdwatch.errors.RecordError` says it.
    clock
        Unix seconds.
    """
    dead_letters(streams, [(message, reason)], clock=clock)


def dead_letters(
    streams: Streams, found: Iterable[tuple[Message, str]], *, clock: Callable[[], float] = time.time
) -> None:
    """Put many messages, each with its reason, on the stream ``deadletters`` at once."""
    entries = letters(found, clock())
    if entries:
        pairs = [(entry.key, entry.value) for entry in entries]
        streams.append(DEADLETTERS, pairs, headers=[entry.headers for entry in entries])


def letters(found: Iterable[tuple[Message, str]], now: float) -> list[Entry]:
    """Give what is to be put on the stream ``deadletters`` for messages, each with its reason.

    Where a stream is Kafka's, headers say the same as the record, for whoever does not read JSON:
    ``birdwatch.stream``, ``birdwatch.partition``, ``birdwatch.offset`` and ``birdwatch.reason``.
    """
    entries = []
    for message, reason in found:
        letter = _letter(message, reason, now)
        entries.append(Entry(DEADLETTERS, letter.where.encode(), encode(letter), headers=_headers(letter)))
    return entries


def _headers(letter: DeadLetter) -> Headers:
    return (
        ("birdwatch.stream", letter.stream.encode()),
        ("birdwatch.partition", b"%d" % letter.partition),
        ("birdwatch.offset", b"%d" % letter.offset),
        ("birdwatch.reason", letter.reason.encode()),
    )


def _letter(message: Message, reason: str, now: float) -> DeadLetter:
    value, encoding = _text(message.value, LARGEST_VALUE_BYTES)
    key, key_encoding = _text(message.key, LARGEST_KEY_BYTES)
    return DeadLetter(
        stream=message.stream,
        partition=message.partition,
        offset=message.offset,
        ts=now,
        reason=reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 1]}…",
        value=value,
        length=len(message.value),
        encoding=encoding,
        key=key if len(message.key) <= LARGEST_KEY_BYTES else None,
        key_encoding=key_encoding,
    )


def _text(raw: bytes, most: int) -> tuple[str, Encoding]:
    kept = raw[:most]
    try:
        if len(kept) == len(raw):
            return kept.decode(), "utf-8"
        # Where the text is cut within a character, the decoder leaves that character out.
        return codecs.getincrementaldecoder("utf-8")().decode(kept), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(kept).decode(), "base64"


def _bytes(text: str, encoding: Encoding) -> bytes:
    return base64.b64decode(text) if encoding == "base64" else text.encode()
