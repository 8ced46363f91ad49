"""What of an archive is looked at: a stretch of time, some models, requests with some features."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from birdwatch.streams.parquet import EVERY_DAY, Days

__all__ = ["Moment", "Narrowed", "as_seconds", "day_of"]

Moment = float | str | datetime
"""A time: Unix seconds, ISO 8601 (UTC where it names no zone), or a datetime."""


def as_seconds(moment: Moment) -> float:
    """Give a time as Unix seconds.

    >>> as_seconds("2013-06-07"), as_seconds("2013-06-07T12:00:00+02:00"), as_seconds(5)
    (1370563200.0, 1370599200.0, 5.0)
    """
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(moment)


def day_of(ts: float, days: int = 0) -> str:
    """Give the day of a time in UTC, or one so many days later, as YYYY-MM-DD.

    >>> day_of(1370563199.0), day_of(1370563199.0, 1)
    ('2013-06-06', '2013-06-07')
    """
    return (datetime.fromtimestamp(ts, UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


@dataclass(frozen=True)
class Narrowed:
    """What of an archive is looked at."""

    since: float | None = None
    until: float | None = None
    models: frozenset[str] | None = None
    features: Mapping[str, Any] = field(default_factory=dict)

    def days(self) -> Days:
        """Give the days in whose folders it lies."""
        return Days(
            EVERY_DAY.since if self.since is None else day_of(self.since, -1),  # of many rows the first tells the day
            EVERY_DAY.until if self.until is None else day_of(self.until),
        )

    def fits(self, features: Mapping[str, Any]) -> bool:
        """Tell whether a request has the features that are asked for."""
        return all(
            features.get(name) in tuple(wanted)
            if isinstance(wanted, list | tuple | set | frozenset)
            else features.get(name) == wanted
            for name, wanted in self.features.items()
        )
