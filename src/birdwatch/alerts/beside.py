"""Writing to a store beside the process that counts into it: what people say, and what was delivered."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from birdwatch.windows.store import Store

__all__ = ["PATIENCE_SECONDS", "beside"]

PATIENCE_SECONDS: Final = 60.0
"""So long one waits for the process that counts, which may judge for long in one transaction."""


@contextmanager
def beside(path: Path, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[Store]:
    """Open a store that is there, for short transactions.

    Parameters
    ----------
    path
        The store.
    patience_seconds
        How long to wait while somebody else writes.

    Raises
    ------
    StoreError
        There is none, or it cannot be read.
    """
    Store(path, readonly=True).close()  # opened for writing, a store that is missing would be made
    kept = Store(path)
    try:
        kept.connection.set_busy_timeout(round(1000 * patience_seconds))
        yield kept
    finally:
        kept.close()
