"""The speed of the tail: what is written to be counted, and what is said of the figures."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.tail import events, panework, report

from birdwatch.windows.pane import merge


def rounds(*seconds):
    return [{"events": 1000, "wall": wall, "cpu": cpu} for wall, cpu in seconds]


@pytest.fixture
def figures():
    pane = {"numbers": 1e6, "bins": 0.002, "counts": 0.02, "both": 0.022, "merge": 0.04, "held": 3e6, "arrays": 2e6}
    pane |= {"store": {"minutes": 0.5, "rolled_up": 0.06}}
    return {
        "machine": {
            "cores": 2,
            "cpu": "X",
            "system": "Y",
            "python": "3",
            "packages": {"birdwatch": "1"},
            "load_at_start": 0.5,
        },
        "events": 1000,
        "a_pane": 100,
        "panes": [pane, pane | {"merge": 0.06}, pane],
        "kafka": {
            "10": {
                "discard": rounds((1, 1), (4, 1), (1, 1)),
                "tail": rounds((2, 4), (9, 4), (10, 4)),
                "arrow": rounds((0.2, 1), (0.9, 1), (1, 1)),
            }
        },
        "files": {"1000": {"parquet": rounds((1, 1e-4), (1, 1e-4), (1, 1))}},
    }


def said(figures):
    """Give the rows of all tables by their first cells."""
    lines = [line.strip("| ").split(" | ") for line in report.markdown(figures).splitlines() if line.startswith("|")]
    return {cells[0]: [cell.strip() for cell in cells[1:]] for cells in lines}


def test_a_ratio_is_the_median_of_the_rounds_and_not_that_of_two_medians(figures):
    found = figures["kafka"]["10"]
    # By round 1/2, 4/9 and 1/10; the medians are 9 and 1.
    assert report.ratio(found["tail"], found["discard"], "wall") == pytest.approx(4 / 9)
    assert report.ratio(found["tail"], found["discard"], "cpu") == pytest.approx(1 / 4)


def test_rates_stand_beside_what_they_should_be(figures):
    rows = said(figures)
    assert rows["Kafka, 10 models: the tail beside reading and discarding"] == ["0.44", "0.25", "≥ 0.4", "yes"]
    assert rows["Kafka, 10 models: Arrow payloads beside JSON"] == ["10.00", "4.00", "≥ 5", "yes"]
    assert rows["files, 1,000 models: rows of Parquet a second"] == ["0.00 M", "10.00 M", "≥ 5 M a core", "yes"]
    assert rows["`Counts.of`, numbers a second"] == ["", "50 M", "≥ 100 M", "**no**"]
    assert rows["`bins_of`, numbers a second"] == ["", "500 M", "≥ 100 M", "yes"]
    a_day = "a day of minutes of 100 models"
    assert rows[f"{a_day}, added up in memory"] == ["", "40 ms", "≤ 50 ms", "yes"]
    assert rows[f"{a_day}, read from a store's minutes and added up"][1] == "500 ms"
    assert rows[f"{a_day}, read from the store that rolled them up"] == ["", "60 ms", "≤ 50 ms", "**no**"]


def test_what_is_too_slow_is_bold(figures):
    figures["kafka"]["10"]["tail"] = rounds((3, 4), (12, 4), (3, 4))
    assert said(figures)["Kafka, 10 models: the tail beside reading and discarding"] == [
        "0.33",
        "0.25",
        "≥ 0.4",
        "**no**",
    ]


def test_each_request_is_scored_by_the_champion_and_by_nine_others_and_some_events_come_twice():
    rows = events.table(1000, 20_000).to_pylist()
    by_request = {}
    for row in rows:
        by_request.setdefault(row["request_id"], set()).add(row["model"])
    assert len(rows) == 20_000
    assert {len(models) for models in by_request.values()} == {9, 10}
    assert all(events.CHAMPION in models for models in by_request.values())
    assert len(set().union(*by_request.values())) == 1000
    assert sum(map(len, by_request.values())) == events.different(20_000) == 19_980
    assert all(a["request_ts"] <= b["request_ts"] for a, b in pairwise(rows))


def test_a_day_of_panes_has_every_score_once():
    day = panework.day(2)
    assert len(day) == panework.MINUTES
    assert [int(counts.counts.sum()) for counts in merge(day).values()] == [panework.MINUTES * panework.A_MINUTE] * 2


def test_a_store_gives_its_day_from_minutes_and_rolled_up():
    """Neither would go through if it gave another sum."""
    assert set(panework.from_store(panework.day(1))) == {"minutes", "rolled_up"}


def test_a_store_that_gives_another_day_is_no_figure(monkeypatch):
    monkeypatch.setattr(panework.Store, "pane", lambda store, since, until: {})
    with pytest.raises(AssertionError, match="another day"):
        panework.from_store(panework.day(1))
