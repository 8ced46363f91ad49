"""A file of JSON lines with every alert."""

import os
from pathlib import Path

from birdwatch.alerts.sinks.sink import Sink
from birdwatch.records import Alert, encode

__all__ = ["Log"]


class Log(Sink):
    """Appends an alert as one line of JSON, on disk before it returns; the file may be rotated at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, alert: Alert, message_id: str) -> None:
        """Write a line; one left torn by a crash is ended first, so that it spoils only itself."""
        del message_id  # a reader tells repeated lines by fingerprint, state and ts
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            else:
                torn = False
            file.write((b"\n" if torn else b"") + encode(alert) + b"\n")
            file.flush()
            os.fsync(file.fileno())
