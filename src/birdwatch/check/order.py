"""How far the rows of a file are out of order: so long its panes stay open.

Who serves writes in order of time, but for a little. A table may be sorted by anything else, and what belongs together in
it must still meet.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from birdwatch.config import Mapping, Settings
from birdwatch.streams.arrow import as_array
from birdwatch.streams.formats import column_of
from birdwatch.windows.lane import OLDEST_SECONDS

__all__ = ["patient"]


def patient(settings: Settings, stream: str, path: Path, now: Callable[[], float] = time.time) -> Settings:
    """Allow as much lateness as a file needs: what waits is in memory.

    Lines are taken to be in order, as they came: only tables (Parquet, CSV) are looked through.

    Parameters
    ----------
    stream
        Of ours, as which it is read by its mapping.
    now
        The wall clock: what is too far ahead of it is not counted.
    """
    if path.suffix not in (".csv", ".parquet"):
        return settings
    mapping = settings.mappings.get(stream, Mapping())
    column, unit = mapping.fields.get("request_ts", "request_ts"), mapping.units.get("request_ts", 1.0)
    late = _most_late(path, column, unit, settings.earliest, now() + settings.ahead_seconds)
    return settings.model_copy(update={"lateness_seconds": max(settings.lateness_seconds, late)})


def _most_late(path: Path, column: str, unit: float, earliest: float, latest: float) -> float:
    """Give by how many seconds a row lies behind one before it, at most; what no pane will count does not matter."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and seldom needed

    reached, most = -np.inf, 0.0
    try:
        for part in column_of(path, column):
            times = as_array(part.cast(pa.float64(), safe=False).drop_null()) * unit
            times = times[(times >= earliest) & (times <= latest)]
            if times.size:
                before = np.maximum.accumulate(np.concatenate([[reached], times]))
                behind = before[:-1] - times
                most = max(most, float(behind[behind <= OLDEST_SECONDS].max(initial=0.0)))
                reached = float(before[-1])
    except (KeyError, OSError, pa.ArrowException):
        return most  # who counts the file says what is wrong with it
    return most
