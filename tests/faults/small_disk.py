"""A disk so small that it can be filled, and traffic that needs no broker."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from birdwatch.errors import DiskFullError
from birdwatch.streams import Streams

from .ledger import Ledger

__all__ = ["LocalTraffic", "SmallDisk", "small_disk"]


class SmallDisk:
    """A mounted file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no byte of it."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):  # there is no room for as much
                    while filler.write(bytes(size)):
                        pass

    def make_room(self) -> None:
        """Give back what was filled."""
        self._filler.unlink()


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a small disk in memory; skip the test where that is not allowed."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class LocalTraffic:
    """Appends the requests of a ledger as their event time comes, from a thread of its own; use it as a context.

    What cannot be appended for want of room is tried again, as a producer of Kafka does; ``refused`` counts how often.
    """

    def __init__(self, streams: Streams, ledger: Ledger) -> None:
        self.ledger = ledger
        self.refused: list[str] = []
        self._streams = streams
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send, name="traffic")
        self._sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._ending.wait(0.05):
            until = int((time.time() - self.ledger.start) * self.ledger.rate)
            messages: dict[str, list[tuple[bytes, bytes]]] = {}
            parts: dict[str, list[tuple[int, int]]] = {}
            for n in range(self._sent, until):
                for part, (stream, value) in enumerate(self.ledger.messages(n)):
                    messages.setdefault(stream, []).append((self.ledger.id_of(n).encode(), value))
                    parts.setdefault(stream, []).append((part, n))
            for stream, batch in messages.items():
                self._append(stream, batch)
                for part, n in parts[stream]:
                    self.ledger.acknowledge(part, n)
            self._sent = max(self._sent, until)

    def _append(self, stream: str, batch: list[tuple[bytes, bytes]]) -> None:
        while True:
            with contextlib.suppress(DiskFullError):
                self._streams.append(stream, batch)
                return
            self.refused.append(stream)
            time.sleep(0.05)
