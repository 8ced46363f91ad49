"""The decoy: looks like a runner, emits no score, and archives every request exactly as the models saw it.

Unless something must not be kept: that is left out, and the files say so.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from birdwatch.archive.archiver import Archiver
from birdwatch.archive.redaction import Redaction
from birdwatch.streams import Streams

__all__ = ["Decoy"]


class Decoy(Archiver):
    """Archives the stream of requests, byte for byte but for what is to be left out.

    Parameters
    ----------
    directory
        Where the archive lies.
    redactions
        What is left out of the records of a stream, by its name.
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
        redactions: Mapping[str, Redaction] | None = None,
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
            redactions=redactions,
            flush_count=flush_count,
            flush_seconds=flush_seconds,
            clock=clock,
            sleep=sleep,
        )
