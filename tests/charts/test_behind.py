"""What lies behind an alert, drawn by its kind: the data against a recount of the store, and a picture that is one."""

import math
import struct

import numpy as np
import pandas as pd
import pytest

from birdwatch.alerts.history import read_alerts
from birdwatch.charts.behind import Fired, draw_behind
from birdwatch.charts.picture import HEIGHT, SCALE, WIDTH, draw_alert
from birdwatch.detect.verdict import Subject, Verdict, put_verdicts, read_verdicts
from birdwatch.stats.grid import midpoints
from birdwatch.testing import an_alert
from birdwatch.windows.store import Store

from ..dashboards.synthetic import BAD_DAY, DAY, HOUR, START, WORLD_DAY, write_store  # noqa: TID252

END = START + 26 * DAY
SINCE = END - 2 * HOUR


FLEET = Subject()


def verdicts(kind, statistic, values, subject=FLEET, tolerance=0.2, window=HOUR, **more):
    """Hourly verdicts of a rule named as its kind, the last at the end; what `more` says is of the last alone."""
    found = []
    for place, value in enumerate(values):
        end, last = END - (len(values) - 1 - place) * window, place == len(values) - 1
        told = {"status": "ok", "n": 60} | (more if last else {key: more[key] for key in ("details",) if key in more})
        found.append(
            Verdict(
                rule=kind,
                kind=kind,
                start=end - window,
                end=end,
                subject=subject,
                reason=f"it was {value}",
                statistic=statistic,
                value=value,
                tolerance=tolerance,
                **told,
            )
        )
    return found


WEEK = {"reference": {"name": "march", "since": START + DAY, "until": START + 8 * DAY}}
GONE = {"reference": {"name": "june", "since": START - 90 * DAY, "until": START - 60 * DAY}}
TRAILING = {"reference": {"name": "the trailing 7d", "since": END - HOUR - 7 * DAY, "until": END - HOUR}}
DRIFTS = {"status": "drifting", "effect": 0.1, "alarmed": True}
OF = {
    "rate": verdicts("rate", "share", [0.01, 0.02, 0.3], **DRIFTS),
    "selection": verdicts("selection", "share", [0.0, 0.0, 0.4], **DRIFTS),
    "paired": verdicts("paired", "mean", [0.0, 0.1, 0.3], Subject("challenger", "2", "champion"), **DRIFTS),
    "threshold": verdicts("threshold", "psi", [0.1, 0.1, 0.3], Subject("champion", "1"), **DRIFTS),
    "silence": verdicts(
        "silence", "share scored", [1.0, 0.98, 0.1], Subject("champion"), 0.5, status="no data", effect=0.4
    ),
    "still": verdicts("still", "requests", [40.0, 30.0, 0.0], FLEET, 1.0, status="no data", effect=1.0),
    "traffic": verdicts(
        "traffic", "requests", [100.0, 110.0, 30.0], FLEET, 50.0, details={"least": 100.0, "most": 120.0}, **DRIFTS
    ),
    "latency": verdicts("latency", "p99", [0.05, 0.05, 0.2], Subject("challenger", "1"), 0.06, **DRIFTS)
    + verdicts("staged", "p99", [0.2], Subject("challenger", "1"), 0.06, details={"stage": "model"}, **DRIFTS),
    "distribution": verdicts("distribution", "ks", [0.5], Subject("champion", "1"), details={"since": SINCE}, **DRIFTS),
    "frozen": verdicts("frozen", "ks", [0.5], Subject("champion", "1"), details={"since": SINCE} | WEEK, **DRIFTS),
    "elsewhere": verdicts(
        "elsewhere", "ks", [0.5], Subject("champion", "1"), details={"since": SINCE} | GONE, **DRIFTS
    ),
    "visib": verdicts("visib", "ks", [0.5], Subject(feature="visib"), details={"since": SINCE}, **DRIFTS),
    "carrier": verdicts(
        "carrier", "ks", [0.5], Subject(feature="carrier"), details={"since": SINCE} | TRAILING, **DRIFTS
    ),
    "missing": verdicts("missing", "missing", [0.0, 0.0, 0.4], Subject(feature="visib"), **DRIFTS),
    "failed": verdicts("failed", "ks", [0.1], Subject("champion", "1"), status="error"),
}
KIND = {"still": "silence", "staged": "latency"} | dict.fromkeys(
    ("visib", "carrier", "missing", "failed", "frozen", "elsewhere"), "distribution"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = write_store(tmp_path_factory.mktemp("behind") / "birdwatch.db", days=26)
    renamed = [
        Verdict(**{name: getattr(v, name) for name in v.__struct_fields__} | {"kind": KIND.get(v.rule, v.kind)})
        for found in OF.values()
        for v in found
    ]
    put_verdicts(store, renamed)
    yield store
    store.close()


def behind(store, rule):
    subject = (OF.get(rule) or [v for v in OF["latency"] if v.rule == rule])[-1].subject
    return draw_behind(store, Fired("ab", rule, subject, END, END))


@pytest.mark.parametrize(
    ("rule", "band", "shown_to"),
    [
        ("rate", (0.0, 0.2), "20%"),
        ("selection", (0.0, 0.2), "20%"),
        ("paired", (0.0, 0.2), "up to 0.2"),
        ("threshold", (0.0, 0.2), "up to 0.2"),
        ("silence", (0.5, 1.0), "50% to 100%"),
        ("still", (1.0, 46.0), "at least 1"),  # no end: to the top of the picture
        ("traffic", (50.0, 240.0), "50 to 240"),  # by the factor of two that the tolerance tells
        ("missing", (0.0, 0.2), "up to 20%"),
    ],
)
def test_what_a_rule_measured_is_drawn_window_by_window_upon_what_is_in_order(store, rule, band, shown_to):
    drawing = behind(store, rule)
    table, kept = drawing.data["main"], read_verdicts(store, START, END, rule)
    assert table["value"].tolist() == [v.value for v in kept]
    assert table["start"].tolist() == [pd.Timestamp(v.start, unit="s", tz="UTC") for v in kept]
    assert table["beyond"].tolist() == [False, False, True]
    assert (table["low"].iloc[-1], table["high"].iloc[-1]) == pytest.approx(band)
    assert drawing.says.startswith("1 of 3 windows was not in order; furthest was ")
    assert drawing.says.endswith(f"{shown_to}.")


def test_a_new_version_is_drawn_after_its_predecessor(store):
    drawing = draw_behind(store, Fired("ab", "pairs", Subject("challenger", "2", "champion"), END - DAY, END - DAY))
    versions = drawing.data["main"].groupby("version")["beyond"].agg(["size", "sum"])
    assert versions.loc["2"].tolist() == [1, 1]
    assert versions.loc["1", "sum"] == 0
    assert versions.loc["1", "size"] == BAD_DAY


def counted(store, since, until, **which):
    """Give the middles of bins and their counts, added up by hand."""
    found = {}
    for _, _, counts in store.rows(since, until, **which):
        for bin_, n in zip(counts.bins.tolist(), counts.counts.tolist(), strict=True):
            found[bin_] = found.get(bin_, 0) + n
    return np.array(list(found)), np.array(list(found.values()))


def shares(drawing, time):
    table = drawing.data["main"]
    return table[table["time"] == time].sort_values("place")["share"].to_numpy()


def test_scores_are_drawn_beside_those_of_the_four_weeks_before(store):
    drawing = behind(store, "distribution")
    for time, since, until in [("now", SINCE, END), ("before", START, SINCE)]:
        bins, n = counted(store, since, until, measure="score", model="champion")
        expected, _ = np.histogram(midpoints(bins, "probability"), np.linspace(0, 1, 21), weights=n)
        assert shares(drawing, time) == pytest.approx(expected / n.sum())
    assert "Now: 26 Mar 22:00 to 27 Mar 00:00; before: the four weeks before that." in drawing.says


def test_scores_are_drawn_beside_the_reference_that_their_rule_compared_them_with(store):
    drawing = behind(store, "frozen")
    for time, since, until in [("now", SINCE, END), ("before", START + DAY, START + 8 * DAY)]:
        bins, n = counted(store, since, until, measure="score", model="champion")
        expected, _ = np.histogram(midpoints(bins, "probability"), np.linspace(0, 1, 21), weights=n)
        assert shares(drawing, time) == pytest.approx(expected / n.sum())
    assert drawing.says.endswith("before: march, 02 Mar 00:00 to 09 Mar 00:00.")


def test_what_has_moved_is_no_part_of_the_trailing_reference_that_it_is_drawn_beside(store):
    assert behind(store, "carrier").says.endswith("before: the trailing 7d, 19 Mar 23:00 to 26 Mar 22:00.")


def test_a_reference_that_the_store_does_not_have_is_not_drawn_which_is_said(store):
    drawing = behind(store, "elsewhere")
    assert drawing.says.endswith("before: the four weeks before that, for june is not in this store.")
    assert shares(drawing, "before") == pytest.approx(shares(behind(store, "distribution"), "before"))


def test_an_input_of_numbers_is_drawn_by_ranges_and_one_of_categories_by_name(store):
    numbers = behind(store, "visib")
    bins, n = counted(store, SINCE, END, measure="feature.visib")
    told = numbers.data["main"]
    low, high = (
        float(name.split(" to ")[end]) for name, end in ((told["value"].iloc[0], 0), (told["value"].iloc[-1], 1))
    )
    expected, _ = np.histogram(np.clip(midpoints(bins), low, high), np.linspace(low, high, 21), weights=n)
    assert shares(numbers, "now") == pytest.approx(expected / n.sum(), abs=0.1)  # names are rounded, bins near an edge
    assert shares(numbers, "now").sum() == pytest.approx(1)
    named = behind(store, "carrier").data["main"]
    assert sorted(named.loc[named["time"] == "before", "value"]) == ["B6", "UA"]
    assert named.loc[named["time"] == "before", "share"].tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_latency_is_drawn_as_percentiles_upon_its_objective(store):
    drawing = behind(store, "staged")
    table = drawing.data["main"]
    assert set(table["percentile"]) == {"p50", "p99"}
    assert "0.06" in str(drawing.spec)
    step = int((table["time"].drop_duplicates().diff().dropna().iloc[0]).total_seconds())
    at = table[(table["percentile"] == "p50") & table["seconds"].notna()].iloc[-1]
    start = int(at["time"].timestamp())
    bins, n = counted(store, start, start + step, measure="latency.model", model="challenger")
    values = np.sort(np.repeat(midpoints(bins), n))
    assert at["seconds"] == pytest.approx(values[math.ceil(0.5 * values.size) - 1], rel=0.02)
    # Verdicts of before the stage was told of are drawn all the same.
    assert behind(store, "latency").data["main"]["value"].tolist() == [0.05, 0.05, 0.2]


def test_inputs_that_changed_are_drawn_as_the_models_that_moved_together(store):
    end = START + (WORLD_DAY + 1) * DAY
    drawing = draw_behind(store, Fired("ab", "scores", Subject(), end, end))
    table = drawing.data["main"]
    moved = table[table["multiple"] > 1]
    kept = [v for v in read_verdicts(store, end - 1, end, "scores") if v.value > v.tolerance]
    assert sorted(moved["multiple"]) == pytest.approx(sorted(v.value / v.tolerance for v in kept))
    assert sorted(moved["model"]) == ["canary", "challenger", "champion", "fallback"]


def test_nothing_is_drawn_of_what_was_not_measured_or_is_no_longer_kept(store, tmp_path):
    assert behind(store, "failed") is None
    assert draw_behind(store, Fired("ab", "rate", Subject(), END + DAY, END + DAY)) is None  # an older one is another's
    assert draw_behind(store, Fired("ab", "unknown", Subject(), END, END)) is None
    empty = Store(tmp_path / "empty.db", pane_seconds=60)
    assert draw_behind(empty, Fired("ab", "rate", Subject(), END, END)) is None
    assert draw_alert(empty, an_alert()) is None
    empty.close()


def test_nothing_later_than_the_alert_is_drawn(store):
    drawing = draw_behind(store, Fired("ab", "pairs", Subject("challenger", "2", "champion"), END - DAY, END - DAY))
    assert drawing.data["main"]["time"].max() == pd.Timestamp(END - DAY, unit="s", tz="UTC")


@pytest.mark.parametrize("rule", ["rate", "visib", "staged"])
def test_a_picture_is_a_png_of_its_size(store, rule):
    subject = (OF.get(rule) or OF["latency"])[-1].subject
    alert = an_alert(
        rule=rule,
        ts=float(END),
        started=float(END),
        model=subject.model,
        version=subject.version,
        partner="",
        feature=subject.feature,
        reason="it was more than is in order, and goes on " * 20,
    )
    png = draw_alert(store, alert)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (SCALE * WIDTH, SCALE * HEIGHT)


def test_all_that_fired_in_a_store_is_drawn(store):
    fired = read_alerts(store, START, math.inf)
    assert len(fired) == 2
    assert all(draw_behind(store, Fired.of(row)) is not None for row in fired)
