"""Numbers as people say them."""

from typing import Final

import pandas as pd

__all__ = ["STATUS", "STATUS_COLOURS", "against", "ago", "duration", "length", "share"]

STATUS: Final = {"ok": "✓ ok", "drifting": "▲ drifting", "no data": "? no data", "error": "✕ error"}
STATUS_COLOURS: Final = ["green", "red", "gray", "orange"]


def against(value: pd.Series, tolerance: pd.Series, form: str) -> list[str]:
    """Say a value beside what is tolerated."""
    return [
        "–" if pd.isna(v) or pd.isna(t) else f"{form.format(v)} {'≤' if v <= t else '>'} {form.format(t)}"
        for v, t in zip(value, tolerance, strict=True)
    ]


def share(part: float, of: float) -> str:
    """Say a share; what is less than all is never rounded up to it."""
    if not of:
        return "no data"
    return "100%" if part == of else f"{min(part / of, 0.9999):.2%}"


def duration(seconds: float | None) -> str:
    """Say a short time."""
    if seconds is None:
        return "no data"
    value, unit = (seconds * 1e3, "ms") if seconds < 1 else (seconds, "s")
    return f"{value:.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"


def length(seconds: float) -> str:
    """Say a long time."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' * (count > 1)}"
    return f"{seconds:.0f} s"


def ago(seconds: float) -> str:
    """Say how long ago it was."""
    return "just now" if seconds < 10 else f"{length(seconds)} ago"
