"""The models read features as they were trained to; the second version's adapter forgets the time zone."""

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from birdwatch.demo.models import MODELS, categories, load, load_utc, matrix, save, train
from birdwatch.errors import ServingError

KNOWN = {"carrier": ["AA", "UA"], "origin": ["EWR", "JFK", "LGA"], "dest": ["IAH", "MIA"]}


def flight(scheduled="2013-05-14T12:30:00Z", **other):
    usual = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400.0}
    return {"scheduled": scheduled, **usual, "wind_speed": 9.0, "precip": 0.0, "visib": 10.0, **other}


def flights(count, seed=1):
    draw = random.Random(seed)
    for _ in range(count):
        ts = draw.randrange(1_357_000_000, 1_364_000_000, 60)
        yield flight(
            datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            carrier=draw.choice(KNOWN["carrier"]),
            origin=draw.choice(KNOWN["origin"]),
            dest=draw.choice(KNOWN["dest"]),
            distance=float(draw.randrange(100, 2500)),
            wind_speed=draw.choice([None, draw.uniform(0, 30)]),
        )


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """All models, trained on flights that are late in the evening and in the wind."""
    folder = tmp_path_factory.mktemp("models")
    rows = list(flights(2000))
    numbers = matrix(rows, KNOWN)
    risk = numbers[:, 0] / 1440 + np.nan_to_num(numbers[:, 6]) / 60
    late = (np.random.default_rng(1).random(len(rows)) < risk / 2).astype(float)
    for name in MODELS:
        save(train(name, numbers, KNOWN, late), folder / f"{name}.skops")
    return folder


def test_the_schedule_is_read_on_the_clock_of_new_york_in_summer_and_winter():
    numbers = matrix(
        [flight("2013-05-14T12:30:00Z"), flight("2013-01-14T12:30:00Z"), flight("2013-05-14T02:30:00Z")], KNOWN
    )
    assert numbers[:, :2].tolist() == [[8 * 60 + 30, 1], [7 * 60 + 30, 0], [22 * 60 + 30, 0]]


def test_what_is_missing_or_was_never_seen_is_nan():
    numbers = matrix([flight(carrier="ZZ", visib=None)], KNOWN)
    assert np.isnan(numbers[0]).tolist() == [False, False, True, False, False, False, False, False, True]


def test_categories_are_those_that_occur():
    rows = [flight(carrier="UA"), flight(carrier="AA", dest="MIA"), flight(carrier="UA")]
    assert categories(rows) == {"carrier": ["AA", "UA"], "origin": ["EWR"], "dest": ["IAH", "MIA"]}


def test_no_flights_are_an_empty_matrix():
    assert matrix([], KNOWN).shape == (0, 9)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_scores_alike_in_any_batch_and_gives_probabilities(artifacts, name):
    score = load(artifacts / f"{name}.skops")
    rows = [*flights(50, seed=2), flight(carrier="ZZ", dest="XXX", wind_speed=None, precip=None, visib=None)]
    together = score(rows)
    assert together == [score([row])[0] for row in rows]  # to the last bit
    assert all(0 < value < 1 for value in together)
    assert len(set(together)) > 10


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_learnt_that_evenings_are_late(artifacts, name):
    score = load(artifacts / f"{name}.skops")
    morning, evening = score([flight("2013-05-14T10:30:00Z"), flight("2013-05-15T02:30:00Z")])
    assert evening > morning + 0.1


def test_the_second_version_takes_universal_time_for_new_yorks(artifacts):
    path = artifacts / "challenger.skops"
    right, wrong = load(path), load_utc(path)
    rows = list(flights(50, seed=3))
    as_it_reads = []
    for row in rows:
        universal = datetime.fromisoformat(row["scheduled"]).replace(tzinfo=ZoneInfo("America/New_York"))
        as_it_reads.append({**row, "scheduled": universal.astimezone(UTC).isoformat()})
    assert wrong(rows) == right(as_it_reads)
    assert wrong(rows) != right(rows)


def test_what_is_no_model_is_refused_by_name(tmp_path):
    path = tmp_path / "champion.skops"
    path.write_text("not a model")
    with pytest.raises(ServingError, match=r"champion\.skops is not a model of the demo"):
        load(path)


def test_a_file_with_types_of_others_is_not_built(tmp_path):
    class Foreign:
        pass

    Foreign.__qualname__ = "Foreign"
    globals()["Foreign"] = Foreign
    save({"known": KNOWN, "estimator": Foreign()}, tmp_path / "foreign.skops")
    with pytest.raises(ServingError, match="Foreign"):
        load(tmp_path / "foreign.skops")
