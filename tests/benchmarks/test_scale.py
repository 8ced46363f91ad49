"""How the cost grows: what is written to be counted, and what is said of the figures."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.scale import judged, report
from benchmarks.tail import events


def test_an_exponent_is_one_where_the_cost_grows_as_the_size_does():
    assert report.slope([10, 100, 1000], [3, 30, 30]) == [1.0, 0.0]
    assert report.slope([1, 10], [1, 1000]) == [3.0]


def test_a_rate_is_what_the_larger_stream_took_more():
    found = {"100": [{"wall": 5.0}, {"wall": 7.0}, {"wall": 6.0}], "1100": [{"wall": 8.0}]}
    assert report._rate(found, "wall") == pytest.approx(500)


def test_the_judge_of_a_minute_may_take_six_seconds_of_it():
    few, many = report._judged(
        {"9": {"minutes": [5.0, 6.0, 9.0], "moved": [8.0]}, "1000": {"minutes": [12.0], "moved": [20.0]}}
    )
    assert few == ("9", "6.00 s", "8.00 s", "10.0%", "≤ 10%", "yes")
    assert many == ("1,000", "12.00 s", "20.00 s", "20.0%", "≤ 10%", "**no**")


def test_a_later_part_of_a_stream_is_of_other_requests_and_later():
    first, second = events.table(10, 1000), events.table(10, 1000, part=1)
    ids = [set(part["request_id"].to_pylist()) for part in (first, second)]
    assert not ids[0] & ids[1]
    assert max(first["request_ts"].to_pylist()) < min(second["request_ts"].to_pylist())


@pytest.mark.parametrize(("models", "of_request"), [(1, 1), (3, 3), (50, 10)])
def test_each_request_is_scored_by_ten_models_or_all_there_are(models, of_request):
    rows = events.table(models, 900).to_pylist()
    by_request = {}
    for row in rows:
        by_request.setdefault(row["request_id"], set()).add(row["model"])
    assert {len(found) for found in by_request.values()} == {of_request}
    assert all(events.CHAMPION in found for found in by_request.values())


def test_every_model_of_a_fleet_is_there_and_every_challenger_is_compared():
    pane = judged.fleet(5)[0]
    assert {series.model for series in pane if series.measure == "score"} == {
        judged.CHAMPION,
        *(f"challenger-{n}" for n in range(1, 5)),
    }
    assert {series.partner for series in pane if series.measure == "pair"} == {judged.CHAMPION}
