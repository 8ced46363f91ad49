"""Panes to look at: those of a store, or of streams that are counted first, into a store that is thrown away."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from birdwatch.config import Settings
    from birdwatch.windows.store import Store

__all__ = ["counted"]


@contextmanager
def counted(settings: "Settings", streams: str | None) -> Iterator["Store"]:
    """Open the settings' store to read it, or count what ``streams`` holds now; what cannot be read is warned of."""
    from birdwatch.check.gate import count_at, first_letter  # noqa: PLC0415 - help should not wait for the work
    from birdwatch.streams import open_streams  # noqa: PLC0415
    from birdwatch.windows.store import Store  # noqa: PLC0415

    if streams is None:
        kept = Store(settings.store, readonly=True)
        try:
            yield kept
        finally:
            kept.close()
        return
    with tempfile.TemporaryDirectory(prefix="birdwatch-counted-") as scratch:
        letters = open_streams(f"sqlite:{scratch}/letters")
        kept, unread = count_at(streams, settings, Path(scratch) / "store.db", letters)
        if unread:
            typer.echo(f"{unread:,} rows could not be read, the first because {first_letter(letters)}", err=True)
        try:
            yield kept
        finally:
            kept.close()
            letters.close()
