"""The decoy: looks like a runner, emits no score, and archives every request exactly as the models saw it."""

import time
from collections.abc import Callable
from pathlib import Path

from birdwatch.archive.archiver import Archiver
from birdwatch.streams import Streams

__all__ = ["Decoy"]


class Decoy(Archiver):
    """Archives the stream of requests, byte for byte.

    Parameters
    ----------
    directory
        Where the archive lies.
    flush_count, flush_seconds
        Files are written when so many requests are waiting (or 64 MiB of them), or the first has waited so long.
    clock, sleep
        The wall clock, and how to wait until streams that fail are tried again.
    """

    def __init__(
        self,
        streams: Streams,
        directory: Path,
        *,
        flush_count: int = 10_000,
        flush_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(
            streams,
            ["requests"],
            directory,
            group="decoy",
            component="decoy",
            flush_count=flush_count,
            flush_seconds=flush_seconds,
            clock=clock,
            sleep=sleep,
        )
