"""Where a backfill's scores go, and which requests have one there.

In an archive a score lies at the offset of its request, in a partition of the model's own that no log has. So the files
tell which requests are scored, a crash leaves no score twice, and readers that join by event time read each model in its
own order. On other streams it is the request's id that tells.
"""

import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from birdwatch.archive.writer import ArchiveWriter, Row
from birdwatch.errors import RecordError, ServingError, StreamError
from birdwatch.records import Request, Score, decode
from birdwatch.serving.runner.model import encode_score
from birdwatch.streams import Message, Streams
from birdwatch.streams.deadletters import dead_letter
from birdwatch.streams.parquet import ArchiveFile, archived
from birdwatch.streams.stretch import read_until

__all__ = ["Asked", "Filled", "InArchive", "OnStreams"]

_SCORES: Final = "scores"
_MADE_BY: Final = "birdwatch.backfill"
_FIRST_PARTITION: Final = 1_000_000
_PARTITIONS: Final = 1_000
_FLUSH_COUNT: Final = 10_000


class Asked(NamedTuple):
    """A request, and the message that it came in."""

    message: Message
    request: Request


class Filled(Protocol):
    """Takes scores of one version of a model."""

    def fresh(self, asked: Sequence[Asked]) -> list[Asked]:
        """Give those requests that have no score there yet."""
        ...

    def put(self, scores: Sequence[tuple[Message, Score]]) -> None:
        """Take scores, each with the message that its request came in."""
        ...

    def lose(self, message: Message, reason: str) -> None:
        """Take note of a message that cannot be read."""
        ...

    def flush(self) -> None:
        """Write what is waiting, durably."""
        ...


class InArchive:
    """Writes into an archive, also the one that the requests come from.

    The partition's number follows from model and version: it is above a million, which no log has.

    Raises
    ------
    ServingError
        The requests lie in more than a thousand partitions.
    SettingsError
        The folder cannot be made.
    """

    def __init__(self, directory: Path, model: str, version: str) -> None:
        self._said = msgspec.json.encode({"model": model, "version": version}).decode()
        self._writer = ArchiveWriter(directory, _SCORES, made_by={_MADE_BY: self._said})
        self._folder = directory / _SCORES
        self._base = _FIRST_PARTITION + zlib.crc32(self._said.encode()) % _FIRST_PARTITION * _PARTITIONS
        self._files = archived(self._folder)
        self._held: dict[int, _Held] = {}
        self._waiting: list[Row] = []

    def fresh(self, asked: Sequence[Asked]) -> list[Asked]:
        """Give those whose offset has no score.

        Raises
        ------
        StreamError
            There are scores of other requests at these offsets, or of another model in this partition.
        """
        found = []
        for one in asked:
            number, offset = one.message.partition, one.message.offset
            held = self._held.get(number) or self._read(number)
            if not held.has(offset):
                found.append(one)
            elif held.first == offset and held.first_id != one.request.id:
                raise StreamError(
                    f"{self._folder} holds scores of {self._said} for other requests than these, as {held.first_id}:"
                    " give another --version, or another --to"
                )
        return found

    def put(self, scores: Sequence[tuple[Message, Score]]) -> None:
        """Let scores wait until they fill a file."""
        for message, score in scores:
            at = self._base + message.partition
            key = score.request_id.encode()
            row = Message(_SCORES, at, message.offset, key, encode_score(score))
            self._waiting.append(Row(row, score.request_id, score.ts))
        if len(self._waiting) >= _FLUSH_COUNT:
            self.flush()

    def lose(self, message: Message, reason: str) -> None:
        """Leave it where it is: an archive is only written by those who archive, and tells of it when it is read."""

    def flush(self) -> None:
        """Write what is waiting."""
        if self._waiting:
            self._writer.write(self._waiting)
        self._waiting = []

    def _read(self, number: int) -> "_Held":
        if number >= _PARTITIONS:
            raise ServingError(f"requests in partition {number} cannot be backfilled: {_PARTITIONS} are the most")
        mine = [file for file in self._files if file.held.partition == self._base + number]
        held = self._held[number] = _held(mine, self._said)
        return held


class _Held(NamedTuple):
    """What there is of a partition: offsets in order, and the id at the first of them."""

    offsets: NDArray[np.int64]
    first: int
    first_id: str

    def has(self, offset: int) -> bool:
        place = int(np.searchsorted(self.offsets, offset))
        return place < self.offsets.size and int(self.offsets[place]) == offset


def _held(files: Sequence[ArchiveFile], said: str) -> _Held:
    if not files:
        return _Held(np.array([], dtype=np.int64), -1, "")
    parts = []
    for file in files:
        try:
            made_by = pq.read_schema(file.path).metadata or {}
            parts.append(pq.read_table(file.path, columns=["offset", "id"], partitioning=None))
        except (OSError, pa.ArrowException) as error:
            raise StreamError(
                f"{file.path} cannot be read: {error}; `birdwatch archive verify --put-aside` leaves it out, and its"
                " requests are scored again"
            ) from error
        other = made_by.get(_MADE_BY.encode(), b"").decode()
        if other != said:
            raise StreamError(
                f"{file.path} is where the scores of {said} belong, and holds {other}: give another --version"
            )
    table = pa.concat_tables(parts)
    offsets = table["offset"].to_numpy()
    first = int(offsets.argmin())
    return _Held(np.unique(offsets), int(offsets[first]), table["id"][first].as_py())


class _Said(msgspec.Struct):
    """What tells whose score it is."""

    request_id: str
    model: str
    version: str


class OnStreams:
    """Appends to the stream of scores of some place, and reads first which requests have one there.

    Their ids are held in memory, some 100 bytes each.
    """

    def __init__(self, to: Streams, model: str, version: str) -> None:
        self._to = to
        self._ids: set[str] = set()
        begins, ends = to.begins([_SCORES]), to.ends([_SCORES])
        with closing(to.reader([_SCORES])) as reader:
            for messages in read_until(reader, begins, ends, limit=10_000):
                for message in messages:
                    try:
                        said = decode(message.value, _Said)
                    except RecordError:
                        continue  # nobody's score
                    if (said.model, said.version) == (model, version):
                        self._ids.add(said.request_id)

    def fresh(self, asked: Sequence[Asked]) -> list[Asked]:
        """Give those whose id has no score; of several with one id, the first."""
        first = {one.request.id: one for one in reversed(asked) if one.request.id not in self._ids}
        return [one for one in asked if first.get(one.request.id) is one]

    def put(self, scores: Sequence[tuple[Message, Score]]) -> None:
        """Append scores."""
        self._to.append(_SCORES, [(score.request_id.encode(), encode_score(score)) for _, score in scores])
        self._ids.update(score.request_id for _, score in scores)

    def lose(self, message: Message, reason: str) -> None:
        """Put it among the dead letters."""
        dead_letter(self._to, message, reason)

    def flush(self) -> None:
        """Do nothing: what was put is written."""
