"""Putting dead letters back on the streams they came from, once what kept them from being read has been mended."""

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

from birdwatch.errors import RecordError
from birdwatch.records import decode
from birdwatch.streams.base import Message, Partition, Positions, Reader, Streams
from birdwatch.streams.deadletters import DEADLETTERS, DeadLetter
from birdwatch.streams.stretch import read_until

__all__ = ["GROUP", "Letter", "requeue"]

GROUP: Final = "requeue"
"""The consumer group whose offset says which letters have been dealt with."""

_BATCH: Final = 100

Fate = Literal["put back", "put back already", "not chosen", "lost"]


class Letter(NamedTuple):
    """What became of a dead letter.

    Attributes
    ----------
    partition, offset
        Where it lies on ``deadletters``.
    letter
        None where it is nothing that Birdwatch wrote.
    fate
        ``put back already``: another letter of this run was of the same message.
    why
        Of one that is lost, for people.
    """

    partition: int
    offset: int
    letter: DeadLetter | None
    fate: Fate
    why: str = ""


def requeue(
    streams: Streams, *, begin: Positions | None = None, chosen: Callable[[DeadLetter], bool] | None = None
) -> Iterator[Letter]:
    """Put letters back, with their keys, and say of each what became of it.

    Letters that come meanwhile are left for another time, so what cannot be read still does not go round for ever. The
    offset is kept after messages have been written: who is interrupted may put some back twice, and loses none.

    Parameters
    ----------
    streams
        Where they lie, and the streams they came from.
    begin
        Deal with all from here on, and leave the group's offset alone; None for those that it has not dealt with.
    chosen
        Which of them to put back; None for all.

    Raises
    ------
    StreamError
        A stream cannot be read or written.
    """
    ends = streams.ends([DEADLETTERS])
    if begin is None:
        reader = streams.reader([DEADLETTERS], group=GROUP)
        done = streams.committed(GROUP, [DEADLETTERS])
        start = {at: done.get(at, 0) for at in ends}
        # What was done in a stream that has been made anew since says nothing of this one.
        anew = {at: 0 for at, end in ends.items() if start[at] > end}
        reader.seek(anew)
        start |= anew
    else:
        reader = streams.reader([DEADLETTERS])
        reader.seek(begin)
        start = begin
    returned = _Returned(streams)
    try:
        for messages in read_until(reader, start, ends, limit=_BATCH):
            yield from returned.put_back(messages, chosen)
            if begin is None:
                reader.commit({Partition(m.stream, m.partition): m.offset + 1 for m in messages})
    finally:
        returned.close()
        reader.close()


class _Returned:
    """Writes messages back, each once."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._names = set(streams.names())
        self._seen: set[int] = set()
        self._readers: dict[str, Reader] = {}

    def put_back(self, messages: list[Message], chosen: Callable[[DeadLetter], bool] | None) -> list[Letter]:
        """Put a batch of letters back; they are written when this returns."""
        found: list[Letter] = []
        back: dict[str, list[tuple[bytes, bytes]]] = {}
        for message in messages:
            fate, why, letter = self._look(message, chosen)
            if letter is not None and fate == "put back":
                whole = self._whole(letter)
                if isinstance(whole, str):
                    fate, why = "lost", whole
                else:
                    back.setdefault(letter.stream, []).append(whole)
            found.append(Letter(message.partition, message.offset, letter, fate, why))
        for stream, pairs in back.items():
            self._streams.append(stream, pairs)
        return found

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()

    def _look(
        self, message: Message, chosen: Callable[[DeadLetter], bool] | None
    ) -> tuple[Fate, str, DeadLetter | None]:
        try:
            letter = decode(message.value, DeadLetter)
        except RecordError as error:
            return "lost", str(error), None
        if chosen is not None and not chosen(letter):
            return "not chosen", "", letter
        if letter.stream not in self._names:
            return "lost", f"there is no stream {letter.stream!r} in {self._streams.address}", letter
        # Several readers may have found the same message unreadable; parts of one lie at one place and differ.
        what = hash((letter.where, letter.value))
        if what in self._seen:
            return "put back already", "", letter
        self._seen.add(what)
        return "put back", "", letter

    def _whole(self, letter: DeadLetter) -> tuple[bytes, bytes] | str:
        """Give the key and the value, or say why there are none."""
        key, value = letter.raw_key, letter.raw
        if key is not None and len(value) == letter.length:
            return key, value
        original = self._original(letter)
        if original is None:
            return f"{letter.where} is gone, and only {len(value):,} of its {letter.length:,} bytes were kept"
        if len(original.value) != letter.length or not original.value.startswith(value):
            return f"at {letter.where} lies another message: it is only a part of that one, or the stream was made anew"
        return original.key, original.value

    def _original(self, letter: DeadLetter) -> Message | None:
        """Read the message again."""
        here = Partition(letter.stream, letter.partition)
        names = [letter.stream]
        ends = self._streams.ends(names)
        if not self._streams.begins(names).get(here, 0) <= letter.offset < ends.get(here, 0):
            return None
        reader = self._readers.get(letter.stream)
        if reader is None:
            reader = self._readers[letter.stream] = self._streams.reader(names)
        begin = ends | {here: letter.offset}
        reader.seek(begin)
        for messages in read_until(reader, begin, {here: letter.offset + 1}, limit=_BATCH):
            for message in messages:
                if (message.partition, message.offset) == (letter.partition, letter.offset):
                    return message
        return None
