"""Birdwatch serves machine-learning models by rendezvous, and watches them while they serve."""

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from birdwatch.windows.archived import Archive

__all__ = ["__version__", "open_archive"]

__version__ = version("birdwatch")


def open_archive(path: "Path | str") -> "Archive":
    """Open an archive, to read its records as tables, join them, and count them into panes; nothing is read yet.

    Raises
    ------
    StreamError
        There is no such folder.

    Examples
    --------
    ::

        archive = birdwatch.open_archive("archive").where(since="2013-06-07", until="2013-06-08")
        scores = archive.read("scores", columns=["request_id", "model", "score"])
        table = archive.joined(as_of="2013-06-08T12:00:00Z")
    """
    from birdwatch.windows.archived import Archive  # noqa: PLC0415 - `import birdwatch` waits for nothing

    return Archive(path)
