"""The gateway's feature plug-in of the demo: puts the weather at the origin into a request, once, for all models."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from birdwatch.errors import ServingError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["inject", "write_weather"]

_MEASURED: Final = ("wind_speed", "precip", "visib")


def write_weather(weather: "pd.DataFrame", path: Path) -> None:
    """Write the table that `inject` reads."""
    weather.to_csv(path, index=False)


def inject(path: str | Path) -> Callable[[dict[str, Any], float], dict[str, Any]]:
    """Read the table; give the function that adds the weather at the origin, in the hour of ``ts``, to the features.

    Where nothing was measured the value is None, which every model reads as missing.

    Raises
    ------
    ServingError
        The table cannot be read.
    """
    measured: dict[tuple[str, str], dict[str, float | None]] = {}
    try:
        with Path(path).open(newline="") as lines:
            for row in csv.DictReader(lines):
                values = {name: float(row[name]) if row[name] else None for name in _MEASURED}
                measured[row["origin"], row["hour"]] = values
    except (OSError, KeyError, ValueError) as error:
        raise ServingError(f"{path} is not a table of weather: {error!r}") from error
    unknown = dict.fromkeys(_MEASURED)

    def with_weather(features: dict[str, Any], ts: float) -> dict[str, Any]:
        hour = datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H")
        return {**features, **measured.get((str(features.get("origin")), hour), unknown)}

    return with_weather
