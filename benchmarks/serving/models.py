"""Models that take no time, or too much: what is measured is the way to them and back."""

import time
from typing import Any

__all__ = ["same", "slow"]

SLOW_SECONDS = 10.0


def same(batch: list[dict[str, Any]]) -> list[float]:
    """Give back what was asked, so that an answer to somebody else's question shows."""
    return [row["x"] for row in batch]


def slow(batch: list[dict[str, Any]]) -> list[float]:
    """Do so after ten seconds."""
    time.sleep(SLOW_SECONDS)
    return same(batch)
