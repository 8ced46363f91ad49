"""The plug-in adds the weather at the origin, in the hour of departure, to what the client sent."""

import pandas as pd
import pytest

from birdwatch.demo.flights import load_year, start_of
from birdwatch.demo.weather import inject, write_weather
from birdwatch.errors import ServingError


def table(tmp_path):
    path = tmp_path / "weather.csv"
    rows = [("EWR", "2013-05-14T12", 9.5, 0.0, 10.0), ("EWR", "2013-05-14T13", None, 0.1, 2.5)]
    write_weather(pd.DataFrame(rows, columns=["origin", "hour", "wind_speed", "precip", "visib"]), path)
    return path


NOON = start_of("2013-05-14") + 4 * 3600


def test_the_weather_of_the_hour_is_added_and_the_rest_left_alone(tmp_path):
    plug_in = inject(table(tmp_path))
    sent = {"origin": "EWR", "dest": "IAH"}
    assert plug_in(sent, NOON + 3599) == {**sent, "wind_speed": 9.5, "precip": 0.0, "visib": 10.0}
    assert sent == {"origin": "EWR", "dest": "IAH"}


def test_what_was_not_measured_is_none(tmp_path):
    plug_in = inject(table(tmp_path))
    assert plug_in({"origin": "EWR"}, NOON + 3600)["wind_speed"] is None
    assert plug_in({"origin": "JFK"}, NOON)["visib"] is None
    assert plug_in({}, NOON)["precip"] is None


@pytest.mark.parametrize("text", [None, "a,b\n1,2\n", "origin,hour,wind_speed,precip,visib\nEWR,2013,calm,0,10\n"])
def test_a_table_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "weather.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ServingError, match=r"weather\.csv is not a table of weather"):
        inject(path)


def test_nearly_every_flight_has_its_weather(tmp_path):
    year = load_year()
    path = tmp_path / "weather.csv"
    write_weather(year.weather, path)
    plug_in = inject(path)
    sample = year.flights.sample(2000, random_state=1)
    seen = [plug_in({"origin": origin}, ts)["visib"] for origin, ts in zip(sample["origin"], sample["ts"], strict=True)]
    assert sum(value is not None for value in seen) > 0.99 * len(seen)
