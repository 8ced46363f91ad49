"""A file of JSON lines with every alert."""

import os
from collections.abc import Sequence
from pathlib import Path

from birdwatch.alerts.sinks.sink import Sink
from birdwatch.records import Alert, encode

__all__ = ["Log"]


class Log(Sink):
    """Appends an alert as one line of JSON, on disk before it returns; the file may be rotated at any time."""

    batch = 100

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, alert: Alert, message_id: str) -> None:
        """Write a line; one left torn by a crash is ended first, so that it spoils only itself."""
        self.send_all([(alert, message_id)])

    def send_all(self, changes: Sequence[tuple[Alert, str]]) -> None:
        """Write lines, which are all on disk before it returns."""
        # A reader tells repeated lines by fingerprint, state and ts.
        lines = b"".join(encode(alert) + b"\n" for alert, _ in changes)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            else:
                torn = False
            file.write((b"\n" if torn else b"") + lines)
            file.flush()
            os.fsync(file.fileno())
