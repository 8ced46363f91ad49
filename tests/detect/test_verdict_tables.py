"""Verdicts and the fleet as tables."""

import pandas as pd
import pytest

from birdwatch.detect.fleet import fleet_table, health_table
from birdwatch.detect.tables import (
    input_table,
    last_verdict_table,
    value_table,
    verdict_behind,
    verdict_table,
    worst_by_step,
)
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


def verdict(end, model="a", version="1", partner="", *, status="ok", rule="scores", feature="", **more):
    return Verdict(
        rule=rule,
        start=end - HOUR,
        end=end,
        subject=Subject(feature=feature) if feature else Subject(model, version, partner),
        status=status,
        **{"kind": "distribution", "reason": "because", **more},
    )


def test_a_verdict_is_a_row_with_its_window(store):
    put_verdicts(store, [verdict(HOUR, statistic="ks", value=0.3, tolerance=0.2, effect=0.1, n=50)])
    (row,) = verdict_table(store, 0, HOUR).to_dict("records")
    assert (row["start"], row["time"]) == (timestamp(0), timestamp(HOUR))
    assert (row["model"], row["statistic"], row["value"], row["n"]) == ("a", "ks", 0.3, 50)


def test_what_could_not_be_measured_is_not_a_number(store):
    put_verdicts(store, [verdict(HOUR, status="no data")])
    assert verdict_table(store, 0, HOUR)[["value", "tolerance", "level"]].isna().all(axis=None)


def test_evidence_is_told_as_a_share_of_what_it_must_reach(store):
    put_verdicts(store, [verdict(HOUR, evidence=2.0, threshold=8.0), verdict(2 * HOUR, evidence=-3.0, threshold=8.0)])
    assert verdict_table(store, 0, 2 * HOUR)["level"].tolist() == [0.25, 0.0]


def test_a_step_keeps_what_is_worst_in_it_and_no_alarm_is_lost(store):
    put_verdicts(
        store,
        [
            verdict(HOUR, value=0.1, tolerance=0.2, evidence=1.0, threshold=8.0),
            verdict(2 * HOUR, value=0.3, tolerance=0.2, evidence=2.0, threshold=8.0),
            verdict(3 * HOUR, value=0.2, tolerance=0.2, evidence=9.0, threshold=8.0, alarmed=True, status="drifting"),
            verdict(4 * HOUR, status="no data"),
            verdict(5 * HOUR, value=0.1, tolerance=0.2, evidence=4.0, threshold=8.0),
        ],
    )
    table = verdict_table(store, 0, 5 * HOUR)
    first, second = worst_by_step(table, 4 * HOUR).to_dict("records")
    assert (first["value"], first["level"], first["alarmed"], first["status"]) == (0.3, 9 / 8, True, "drifting")
    assert (first["time"], first["shown_from"], first["shown_to"]) == tuple(timestamp(h * HOUR) for h in (2, 0, 4))
    assert (second["value"], second["alarmed"]) == (0.1, False)
    assert worst_by_step(table, 4 * HOUR, "level")["value"].tolist() == [0.2, 0.1]
    assert worst_by_step(table, HOUR)[list(table.columns)].equals(table)
    assert worst_by_step(table[:0], HOUR).empty


def test_what_few_events_measured_stands_for_a_step_only_alone(store):
    few, many = {"value": 0.9, "n": 3}, {"value": 0.1, "n": 300}
    put_verdicts(
        store, [verdict(h * HOUR, tolerance=0.2, **more) for h, more in ((1, few), (2, many), (3, many), (6, few))]
    )
    assert worst_by_step(verdict_table(store, 0, 6 * HOUR), 4 * HOUR)["value"].tolist() == [0.1, 0.9]


def test_an_input_is_summed_up_by_its_last_verdict_that_could_tell(store):
    put_verdicts(
        store,
        [
            verdict(HOUR, feature="visib", rule="inputs", statistic="ks", value=0.1, tolerance=0.2),
            verdict(2 * HOUR, feature="visib", rule="inputs", statistic="ks", value=0.5, tolerance=0.2),
            verdict(3 * HOUR, feature="visib", rule="inputs", statistic="ks", status="no data"),
            verdict(2 * HOUR, feature="carrier", rule="inputs", statistic="ks", value=0.6, tolerance=0.2),
            verdict(3 * HOUR, feature="carrier", rule="inputs", statistic="missing", value=0.9, tolerance=0.1),
            verdict(3 * HOUR, feature="dest", rule="inputs", statistic="ks", status="no data"),
            verdict(3 * HOUR, "model", value=9.0, tolerance=0.1),
        ],
    )
    table = input_table(verdict_table(store, 0, 3 * HOUR))
    assert list(zip(table["feature"], table["statistic"], table["status"], strict=True)) == [
        ("carrier", "missing", "ok"),
        ("carrier", "ks", "ok"),
        ("visib", "ks", "ok"),
        ("dest", "ks", "no data"),
    ]
    assert table["multiple"][:3].tolist() == pytest.approx([9.0, 3.0, 2.5])
    assert table["drift"][2] == pytest.approx([0.5, 2.5])


def test_numbers_are_told_by_bucket_and_categories_by_what_moved_most(store):
    store.put(0, {Series("feature.visib"): Counts.of(bins_of([0.0] * 50 + [10.0] * 50, "real"))})
    store.put(HOUR, {Series("feature.visib"): Counts.of(bins_of([0.0] * 10 + [10.0] * 90, "real"))})
    numbers = value_table(store, "visib", (HOUR, 2 * HOUR), (0, HOUR))
    assert numbers["now"].tolist() == [0.1, 0.9]
    assert numbers["before"].tolist() == [0.5, 0.5]
    assert numbers["value"][0] == "up to 0"
    for hour, ua in ((0, 6), (1, 9)):
        counts = {"UA": ua, "B6": 10 - ua, "WN": 1, "DL": 1}
        store.put(
            (2 + hour) * HOUR,
            {Series("category.carrier", segment=name): Counts.of([0], [n]) for name, n in counts.items()},
        )
    told = value_table(store, "carrier", (3 * HOUR, 4 * HOUR), (2 * HOUR, 3 * HOUR), most=2)
    assert told["value"].tolist() == ["UA", "B6", "all others"]
    assert told["now"].tolist() == pytest.approx([9 / 12, 1 / 12, 2 / 12])
    assert value_table(store, "nobody", (0, HOUR), (HOUR, 2 * HOUR)).empty


def test_what_lies_behind_an_alert_is_the_last_verdict_that_drifts_with_all_its_details(store):
    drifting = {"status": "drifting", "details": {"since": 5}}
    put_verdicts(
        store,
        [
            verdict(HOUR, effect=0.1, **drifting),
            verdict(HOUR, "b", effect=0.9, **drifting),
            verdict(2 * HOUR),
            verdict(3 * HOUR, effect=0.5, **drifting),
        ],
    )
    found = verdict_behind(store, "scores", Subject("a", "1"), 2 * HOUR)
    assert (found.end, found.details) == (HOUR, {"since": 5})
    assert verdict_behind(store, "scores", Subject(), 2 * HOUR).subject.model == "b"
    assert verdict_behind(store, "scores", Subject("c"), 2 * HOUR) is None


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
                kind="disagreement",
                statistic="disagreement",
                value=0.1,
                tolerance=0.25,
            ),
            verdict(2 * HOUR, feature="visib", rule="inputs", statistic="ks", value=5.0, tolerance=0.1),
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


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        (["ok", "no data"], "ok"),
        (["no data", "drifting", "ok"], "drifting"),
        (["drifting", "error"], "error"),
        ([], "no data"),
    ],
)
def test_a_version_shows_the_status_that_most_needs_a_look(statuses, worst):
    counts = pd.DataFrame({"model": ["m"], "version": ["1"], "time": [0], "events": [5.0], "errors": [0.0]})
    last = pd.DataFrame({"model": "m", "version": "1", "status": pd.Series(statuses, dtype=str)})
    assert health_table(counts, last)["status"].tolist() == [worst]
