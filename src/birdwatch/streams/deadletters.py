"""Dead letters: messages that could not be read, kept with where they lay and why, so that nothing stops for them."""

import base64
import codecs
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal

import msgspec

from birdwatch.records import encode
from birdwatch.streams.base import Message, Streams

__all__ = ["DEADLETTERS", "LARGEST_VALUE_BYTES", "DeadLetter", "dead_letter", "dead_letters"]

DEADLETTERS: Final = "deadletters"
"""The stream they are on."""

LARGEST_VALUE_BYTES: Final = 64 * 1024
"""How much is kept of a message."""


class DeadLetter(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A message that could not be read.

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
    """

    stream: str
    partition: int
    offset: int
    ts: float
    reason: str
    value: str
    length: int
    encoding: Literal["utf-8", "base64"] = "utf-8"

    @property
    def raw(self) -> bytes:
        """The bytes that were kept."""
        return base64.b64decode(self.value) if self.encoding == "base64" else self.value.encode()


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
    streams: Streams, letters: Iterable[tuple[Message, str]], *, clock: Callable[[], float] = time.time
) -> None:
    """Put many messages, each with its reason, on the stream ``deadletters`` at once."""
    now = clock()
    streams.append(DEADLETTERS, [(_key(message), encode(_letter(message, reason, now))) for message, reason in letters])


def _key(message: Message) -> bytes:
    return f"{message.stream}-{message.partition}-{message.offset}".encode()


def _letter(message: Message, reason: str, now: float) -> DeadLetter:
    kept = message.value[:LARGEST_VALUE_BYTES]
    encoding: Literal["utf-8", "base64"] = "utf-8"
    try:
        # Where the text is cut within a character, the decoder leaves that character out.
        value = codecs.getincrementaldecoder("utf-8")().decode(kept, final=len(kept) == len(message.value))
    except UnicodeDecodeError:
        value, encoding = base64.b64encode(kept).decode(), "base64"
    return DeadLetter(
        stream=message.stream,
        partition=message.partition,
        offset=message.offset,
        ts=now,
        reason=reason,
        value=value,
        length=len(message.value),
        encoding=encoding,
    )
