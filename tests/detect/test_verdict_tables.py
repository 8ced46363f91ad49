"""Verdicts and the fleet as tables."""

import pandas as pd
import pytest

from birdwatch.detect.tables import fleet_table, last_verdict_table, verdict_table, worst_status
from birdwatch.detect.verdict import Subject, Verdict, create_table, put_verdicts
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import FIXED_POINT, Counts, Series, selection_bin
from birdwatch.windows.store import Source, Store
from birdwatch.windows.tables import Span, timestamp

HOUR = 3600
SPAN = Span(0, 4 * HOUR, HOUR)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "birdwatch.db", pane_seconds=HOUR)
    create_table(opened)
    yield opened
    opened.close()


def verdict(end, model="a", version="1", partner="", *, status="ok", rule="scores", kind="distribution", **more):
    return Verdict(
        rule=rule,
        kind=kind,
        start=end - HOUR,
        end=end,
        subject=Subject(model, version, partner),
        status=status,
        reason="because",
        **more,
    )


def test_a_verdict_is_a_row_with_its_window(store):
    put_verdicts(store, [verdict(HOUR, statistic="ks", value=0.3, tolerance=0.2, effect=0.1, n=50)])
    (row,) = verdict_table(store, 0, HOUR).to_dict("records")
    assert (row["start"], row["time"]) == (timestamp(0), timestamp(HOUR))
    assert (row["model"], row["statistic"], row["value"], row["n"]) == ("a", "ks", 0.3, 50)


def test_what_could_not_be_measured_is_not_a_number(store):
    put_verdicts(store, [verdict(HOUR, status="no data")])
    assert verdict_table(store, 0, HOUR)[["value", "tolerance", "disagreement"]].isna().all(axis=None)


def test_disagreement_is_told_whichever_statistic_spoke(store):
    details = {"disagreement": 0.1, "disagreement_tolerance": 0.2}
    put_verdicts(store, [verdict(HOUR, partner="b", kind="paired", statistic="mean", value=0.5, details=details)])
    table = verdict_table(store, 0, HOUR)
    assert table[["value", "disagreement", "disagreement_tolerance"]].to_numpy().tolist() == [[0.5, 0.1, 0.2]]


def test_a_store_nobody_judged_has_an_empty_table(tmp_path):
    fresh = Store(tmp_path / "fresh.db", pane_seconds=HOUR)
    assert verdict_table(fresh, 0, HOUR).empty
    assert fleet_table(fresh, SPAN).empty
    fresh.close()


def test_the_last_verdict_of_each_rule_on_each_subject_counts(store):
    put_verdicts(
        store,
        [
            verdict(HOUR, status="drifting"),
            verdict(2 * HOUR, status="ok"),
            verdict(HOUR, rule="other", status="error"),
            verdict(HOUR, version="2", status="no data"),
        ],
    )
    last = last_verdict_table(store, 0, 2 * HOUR)
    assert sorted(zip(last["rule"], last["version"], last["status"], strict=True)) == [
        ("other", "1", "error"),
        ("scores", "1", "ok"),
        ("scores", "2", "no data"),
    ]


def test_a_rule_that_judged_before_the_range_still_has_its_say(store):
    put_verdicts(
        store,
        [
            verdict(HOUR, rule="weekly", status="ok"),
            verdict(2 * HOUR, rule="weekly", status="drifting"),
            verdict(9 * HOUR, rule="hourly"),
            verdict(12 * HOUR, rule="weekly", status="error"),
        ],
    )
    last = last_verdict_table(store, 8 * HOUR, 10 * HOUR)
    assert list(zip(last["rule"], last["status"], strict=True)) == [("weekly", "drifting"), ("hourly", "ok")]


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        (["ok", "no data"], "ok"),
        (["no data", "drifting", "ok"], "drifting"),
        (["drifting", "error"], "error"),
        (["ok"], "ok"),
        ([], "no data"),
    ],
)
def test_the_worst_status_is_the_one_that_needs_a_look(statuses, worst):
    assert worst_status(pd.Series(statuses, dtype=str)) == worst


def fleet(store):
    for hour in range(3):
        pane = {}
        for model, version in (("a", "1" if hour < 2 else "2"), ("b", "1"), ("c", "1")):
            pane[Series("counts", model, version)] = Counts.of([1, 2], [10, 1])
            pane[Series("latency.model", model, version)] = Counts.of(bins_of([0.01] * 9 + [0.5]))
        pane[Series("pair", "a", "1" if hour < 2 else "2", "b")] = Counts.of([0, 1, 2], [10, FIXED_POINT, FIXED_POINT])
        pane[Series("pair", "b", "1", "c")] = Counts.of([0, 2], [10, 0])
        pane[Series("selection", "b", "1")] = Counts.of([selection_bin(0, "first choice")], [10])
        store.put(hour * HOUR, pane)
    store.put_sources([Source("canary", 0, "c", 0.0, idle=False)])
    put_verdicts(
        store,
        [
            verdict(HOUR, "b", statistic="ks", value=0.1, tolerance=0.2),
            verdict(2 * HOUR, "b", statistic="ks", value=0.3, tolerance=0.2, status="drifting"),
            verdict(
                2 * HOUR,
                "b",
                partner="c",
                rule="pairs",
                kind="paired",
                statistic="disagreement",
                details={"disagreement": 0.1, "disagreement_tolerance": 0.25},
            ),
            verdict(2 * HOUR, "b", rule="latency", kind="latency", status="no data"),
            verdict(2 * HOUR, "a", "2", status="no data"),
        ],
    )
    return fleet_table(store, SPAN).set_index(["model", "version"])


def test_the_fleet_has_a_row_for_each_version_by_role(store):
    table = fleet(store)
    assert list(table.index) == [("b", "1"), ("a", "1"), ("a", "2"), ("c", "1")]
    assert table["role"].tolist() == ["champion", "challenger", "challenger", "canary"]
    assert table["events"].tolist() == [30.0, 20.0, 10.0, 30.0]
    assert table["share"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert table.loc[("a", "1"), "traffic"] == [10.0, 10.0, 0.0, 0.0]
    assert table.loc[("a", "1"), "seen"] == timestamp(HOUR)
    assert table.loc[("c", "1"), "seen"] == timestamp(2 * HOUR)
    assert table["gone"].tolist() == [False, True, False, False]


def test_the_fleet_tells_latency_difference_and_the_last_verdicts(store):
    champion = fleet(store).loc[("b", "1")]
    assert champion["p50"] == pytest.approx(0.01, rel=0.01)
    assert champion["p99"] == pytest.approx(0.5, rel=0.01)
    assert (champion["partner"], champion["mean"], champion["sd"]) == ("c", 0.0, 0.0)
    assert (champion["status"], champion["judged"]) == ("drifting", timestamp(2 * HOUR))
    assert (champion["distance"], champion["distance_tolerance"]) == (0.3, 0.2)
    assert (champion["disagreement"], champion["disagreement_tolerance"]) == (0.1, 0.25)
    assert champion["drift"] == pytest.approx([0.5, 1.5])


def test_a_version_that_no_rule_could_judge_has_no_data(store):
    table = fleet(store)
    assert table.loc[("c", "1"), "status"] == table.loc[("a", "2"), "status"] == "no data"


def test_rules_that_could_not_judge_are_named(store):
    assert fleet(store)["unjudged"].to_dict() == {
        ("b", "1"): "latency",
        ("a", "1"): "",
        ("a", "2"): "scores",
        ("c", "1"): "",
    }
