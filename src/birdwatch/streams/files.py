"""Recorded streams: ``files:DIR``, one file a stream, named by the file's stem.

===================  ==================================================================================
``NAME.jsonl``       one message a line; may be appended to, also while it is read
``NAME.jsonl.gz``    the same, compressed
``NAME.csv``         up to 1,000 rows a message, as one Arrow IPC stream; types as pyarrow infers them,
                      but ids, keys, models and versions are text
``NAME.parquet``     the same, with the types that the file has
===================  ==================================================================================

The offset of a message is the number of its line, or of its thousand rows, from 0; blank lines are skipped. Messages
have no keys: a line has no room for one. What a group commits is kept in ``DIR/.offsets.db``, so committing needs a
folder that can be written; reading does not. Going back in a file means reading it again from its start, and a CSV
file is read whole: it takes all lines to decide the type of a column.
"""

import fcntl
import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal

from birdwatch.errors import AddressError, StreamError
from birdwatch.streams.base import Headers, Message, OnLost, Partition, Positions
from birdwatch.streams.database import GroupOffsets, naming
from birdwatch.streams.formats import SUFFIXES, Recording, count_messages, open_recording
from birdwatch.streams.local import LocalReader, LocalStreams, Log

__all__ = ["FileStreams"]

_APPENDED: Final = ".jsonl"


class FileStreams(LocalStreams):
    """Recorded streams in a folder.

    Parameters
    ----------
    address
        ``files:DIR``; the folder is made at the first append.

    Attributes
    ----------
    folder
        Where the files lie.

    Raises
    ------
    AddressError
        The address names a file instead of a folder, or nothing.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.folder = Path(address.removeprefix("files:")).expanduser()
        if address == "files:":
            raise AddressError(f"{address!r} names no folder: write files:DIR")
        if self.folder.exists() and not self.folder.is_dir():
            raise AddressError(f"{address!r} names a file: write its folder, files:{self.folder.parent}")
        self._offsets = GroupOffsets(self.folder / ".offsets.db")

    def append(
        self, stream: str, messages: Iterable[tuple[bytes, bytes]], *, headers: Iterable[Headers] | None = None
    ) -> None:
        """Write values as lines to ``NAME.jsonl``; keys and headers are dropped.

        Raises
        ------
        StreamError
            A value has a line break in it or is empty, or the stream is recorded in another format.
        """
        del headers
        lines = [value for _, value in messages]
        for line in lines:
            if b"\n" in line or not line.strip():
                raise StreamError(f"{line[:80]!r} cannot be a line of {stream}{_APPENDED}: write JSON on one line")
        if "/" in stream or stream.startswith(".") or not stream:
            raise StreamError(f"{stream!r} cannot name a stream in {self.address}: it is the stem of a file")
        path = self._find(stream) or self.folder / f"{stream}{_APPENDED}"
        if path.suffix != _APPENDED:
            raise StreamError(
                f"{path} is not appended to: write to another folder, or turn it into {stream}{_APPENDED}"
            )
        if not lines:
            return
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # A line that its writer could not finish stays a message of its own.
                begin = b"" if _ends_in_line_break(file) else b"\n"
                file.write(begin + b"\n".join(lines) + b"\n")

    def broadcast(self, stream: str, key: bytes, value: bytes) -> None:
        """Write one message to the stream's one partition."""
        self.append(stream, [(key, value)])

    def reader(
        self,
        streams: Sequence[str],
        *,
        group: str | None = None,
        start: Literal["earliest", "latest"] = "earliest",
        on_lost: OnLost = "earliest",
    ) -> LocalReader:
        """Open a reader; a file that appears later is taken up.

        Its polls raise a `StreamError` once for a file that is damaged, after all that can be read of it. A last line
        without its end is handed over as it lies, when a whole poll has waited for the rest in vain. Of tables, the
        limit of a poll counts the rows.
        """
        logs: dict[Partition, Log] = {
            Partition(stream): _FileLog(stream, partial(self._find, stream)) for stream in streams
        }
        begin = dict.fromkeys(map(Partition, streams), 0)
        if start == "latest":
            begin |= self.ends(streams)
        if group is None:
            return LocalReader(logs, begin, None, on_lost=on_lost)
        keep, committed = partial(self._offsets.commit, group), self.committed(group, streams)
        return LocalReader(logs, begin, keep, committed=committed, on_lost=on_lost)

    def names(self) -> list[str]:
        """Name the streams that exist, sorted."""
        return sorted(self._files())

    def ends(self, streams: Sequence[str]) -> Positions:
        """Give the offset that each stream's next message will have; lines and CSV are read to their ends for it."""
        found: Positions = {}
        for stream in streams:
            path = self._find(stream)
            if path is not None:
                with naming(path):
                    found[Partition(stream)] = count_messages(path)
        return found

    def committed(self, group: str, streams: Sequence[str]) -> Positions:
        """Give what a group has committed; streams without a commit are left out."""
        return self._offsets.committed(group, streams)

    def close(self) -> None:
        """Close the groups' offsets; files are held by their readers."""
        self._offsets.close()

    def _find(self, stream: str) -> Path | None:
        if not stream or "/" in stream or stream.startswith("."):
            return None
        found = [path for suffix in SUFFIXES if (path := self.folder / f"{stream}{suffix}").exists()]
        return _only(found, stream) if found else None

    def _files(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                suffix = next((suffix for suffix in SUFFIXES if path.name.endswith(suffix)), None)
                if suffix is None or path.name.startswith("."):
                    continue
                name = path.name.removesuffix(suffix)
                found[name] = _only([found[name], path] if name in found else [path], name)
        return found


def _only(paths: list[Path], stream: str) -> Path:
    if len(paths) > 1:
        raise StreamError(f"{paths[0]} and {paths[1]} are both the stream {stream!r}: move one away")
    return paths[0]


class _FileLog:
    def __init__(self, stream: str, find: Callable[[], Path | None]) -> None:
        self._stream = stream
        self._find = find
        self._path: Path | None = None
        self._recording: Recording | None = None
        self._seen: tuple[int, int] | None = None
        self.damaged: list[tuple[int, int]] = []  # a line that is not what it was is a row that cannot be read

    def exists(self) -> bool:
        self._path = self._path or self._find()
        return self._path is not None

    def read(self, offset: int, limit: int, *, stalled: bool) -> tuple[list[Message], int]:
        if not self.exists():
            return [], offset
        assert self._path is not None  # noqa: S101 - `exists` found it
        with naming(self._path):
            recording = self._at(offset, self._path)
            messages: list[Message] = []
            while len(messages) * recording.rows < limit:
                at, value = recording.at, recording.take(stalled=stalled)
                if value is None:
                    break
                if at >= offset and value.strip():
                    messages.append(Message(self._stream, 0, at, b"", value))
            if not messages and recording.fault is not None:
                fault, recording.fault = recording.fault, None
                raise fault
        return messages, max(offset, recording.at)

    def renewed(self, offset: int) -> int | None:
        if self._path is None or not self._path.exists():
            return None
        with naming(self._path):
            about = self._path.stat()
            seen, self._seen = self._seen, (about.st_ino, about.st_size)
            if seen is None or (seen[0] == about.st_ino and seen[1] <= about.st_size):
                return None
            # Another file, or shorter than it was; one that holds as much as was read has been put together differently.
            self.close()
            end = count_messages(self._path)
            return end if end < offset else None

    def close(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None

    def _at(self, offset: int, path: Path) -> Recording:
        if self._recording is None or self._recording.at > offset:
            self.close()
            self._recording = open_recording(path)
        return self._recording


def _ends_in_line_break(file: io.BufferedRandom) -> bool:
    if file.seek(0, io.SEEK_END) == 0:
        return True
    file.seek(-1, io.SEEK_END)
    return file.read(1) == b"\n"
