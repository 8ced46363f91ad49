"""Charts: valid Vega-Lite, few points, colours that stay, and a specification that new data leave alone."""

import json

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert

from birdwatch import charts
from birdwatch.alerts.tables import alert_table
from birdwatch.charts import OKABE_ITO, Colours, Marks
from birdwatch.detect.burn import burn_table, objectives
from birdwatch.detect.tables import value_table, verdict_table, worst_by_step
from birdwatch.detect.usual import usual_table
from birdwatch.stats.grid import bins_of
from birdwatch.windows import tables
from birdwatch.windows.accounts import audit_table, lag_table, unreadable_table
from birdwatch.windows.heat import distance_table, heat_table
from birdwatch.windows.pane import Counts
from birdwatch.windows.qq import qq_table
from birdwatch.windows.roles import models
from birdwatch.windows.running import running_table
from birdwatch.windows.store import Store

from ..dashboards.synthetic import BAD_DAY, DAY, START, write_store  # noqa: TID252

NAMES = [
    "latency by stage",
    "latency by model",
    "drift",
    "difference",
    "evidence",
    "a pair",
    "selection",
    "other choices",
    "too late",
    "latency over time",
    "objective",
    "burn",
    "scores over time",
    "distance",
    "changes",
    "episodes",
    "traffic",
    "without a score",
    "lag",
    "dead letters",
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("charts") / "birdwatch.db"
    write_store(made).close()
    return made


def drawings(path, since, until):
    store = Store(path, readonly=True)
    span = tables.span_of(store, since, until)
    marks = Marks.of(span, tables.control_table(store, since, until), alert_table(store, since, until))
    colours = Colours.of(models(store))
    verdicts = verdict_table(store, since, until)
    on_pairs = verdicts[verdicts["kind"].isin(["paired", "disagreement"])]
    of_pair = on_pairs[(on_pairs["kind"] == "disagreement") & (on_pairs["model"] == "challenger")]
    by_model = tables.latency_table(store, span, "latency.model", (0.5, 0.99), by_model=True)
    selection = tables.selection_table(store, span)
    distances = distance_table(store, span, "champion", scale="probability")
    found = [
        charts.latency_chart(tables.latency_table(store, span), marks, colours),
        charts.latency_chart(by_model, marks, colours),
        charts.drift_chart(verdicts[(verdicts["kind"] == "distribution") & (verdicts["model"] != "")], marks, colours),
        charts.difference_chart(
            running_table(tables.pair_table(store, span)),
            marks,
            colours,
            usual_table(store, since, until, "champion", "canary"),
        ),
        charts.evidence_chart(worst_by_step(on_pairs, span.step, "level"), marks, colours),
        charts.pair_chart(worst_by_step(of_pair, span.step), marks),
        charts.selection_chart(selection, marks, colours),
        charts.other_choices_chart(selection, marks),
        charts.misses_chart(tables.count_table(store, span), marks),
        charts.latency_heat_chart(heat_table(store, span, "latency.answer"), marks),
        charts.objective_chart(worst_by_step(verdicts[verdicts["kind"] == "latency"], span.step), marks, colours),
        charts.burn_chart(burn_table(store, span, objectives(store, since, until)), marks, colours),
        charts.score_heat_chart(heat_table(store, span, "score", model="champion", scale="probability"), marks),
        charts.distance_chart(distances[distances["statistic"] == "ks"], marks, 0.27),
        charts.changes_chart(tables.control_table(store, since, until), marks),
        charts.episodes_chart(alert_table(store, since, until), marks),
        charts.traffic_chart(tables.count_table(store, span), marks, colours),
        charts.pending_chart(audit_table(store, span), marks, colours),
        charts.lag_chart(lag_table(store, span), marks),
        charts.unreadable_chart(unreadable_table(store, span), marks),
    ]
    store.close()
    return dict(zip(NAMES, found, strict=True))


@pytest.fixture(scope="module")
def month(path):
    return drawings(path, START, START + 30 * DAY)


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_keeps_to_the_schema_and_renders(month, name):
    chart = month[name].chart(title=name, width=600)
    assert isinstance(chart, alt.LayerChart)
    svg = vl_convert.vegalite_to_svg(chart.to_dict(validate=True))
    assert name in svg
    assert "event time (UTC)" in svg


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_has_at_most_two_thousand_points(month, name):
    assert 0 < len(month[name].data["main"]) <= tables.MOST_POINTS


@pytest.mark.parametrize("name", NAMES)
def test_new_data_leave_the_specification_as_it_was(path, month, name):
    # Both ranges hold the same models: what a browser would draw anew is the same to the letter.
    earlier = drawings(path, START, START + 28 * DAY)
    assert earlier[name].spec == month[name].spec
    assert "datasets" not in month[name].spec


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_says_what_it_shows_in_a_sentence(month, name):
    assert month[name].says.endswith(".")
    assert "nan" not in month[name].says


def test_the_sentences_name_the_bad_day(month):
    assert "furthest was challenger, at 2.3 times what is allowed, 26 Mar 00:00." in month["objective"].says
    assert month["episodes"].says == "1 page, 1 ticket in this time; 0 still firing at its end."
    assert month["changes"].says == "8 changes; the last: rollback challenger 2, by ana, 26 Mar 00:00."


def test_a_model_keeps_its_colour_whatever_is_shown(path):
    colours = Colours.of(["canary", "challenger", "champion"])
    assert colours.codes == OKABE_ITO[:3]
    store = Store(path, readonly=True)
    span = tables.span_of(store, START, START + DAY)
    pairs = running_table(tables.pair_table(store, span))
    marks = Marks.of(span, tables.control_table(store, 0, 1), alert_table(store, 0, 1))
    store.close()
    for shown in (pairs, pairs[pairs["model"] == "champion"]):
        spec = json.dumps(charts.difference_chart(shown, marks, colours).spec)
        assert json.dumps({"domain": list(colours.models), "range": list(colours.codes)}) in spec


def test_more_models_than_colours_begin_again():
    many = Colours.of([f"m{i}" for i in range(9)])
    assert many.codes[7] == many.codes[0]


def test_deployments_at_one_moment_share_a_line_and_many_are_not_written_out(path):
    store = Store(path, readonly=True)
    span = tables.span_of(store, START, START + 30 * DAY)
    controls = tables.control_table(store, span.since, span.until)
    nobody = alert_table(store, 0, 1)
    store.close()
    few = Marks.of(span, controls, nobody).deployments
    assert few["what"].tolist() == ["6 changes", "register challenger 2", "rollback challenger 2"]
    assert few["row"].tolist() == [0, 1, 2]
    many = pd.concat([controls.assign(time=tables.timestamp(START + i * 3600)) for i in range(8)])
    assert set(Marks.of(span, many, nobody).deployments["row"]) == {-1}


def test_an_alert_is_drawn_from_firing_to_resolved_within_the_range(path):
    store = Store(path, readonly=True)
    since, until = START + (BAD_DAY + 2) * DAY, START + (BAD_DAY + 3) * DAY
    span = tables.Span(since, until, 3600)
    marks = Marks.of(span, tables.control_table(store, since, until), alert_table(store, since, until))
    store.close()
    (bar,) = marks.alerts.to_dict("records")
    assert (bar["time"], bar["to"]) == (tables.timestamp(since), tables.timestamp(until))
    assert bar["fired"] < bar["time"]


def test_verdicts_without_a_tolerance_are_no_multiples_of_one(month):
    drift = month["drift"].data["main"]
    assert drift["multiple"].tolist() == (drift["value"] / drift["tolerance"]).tolist()
    some = drift.drop(columns="multiple").assign(tolerance=float("nan"))
    span = tables.Span(START, START + DAY, 3600)
    empty = charts.drift_chart(some, Marks(span, pd.DataFrame(), pd.DataFrame()), Colours.of(["champion"]))
    assert empty.data["main"].empty


def test_more_than_enough_evidence_is_drawn_as_that_and_told_as_it_is(month):
    table = month["evidence"].data["main"]
    raised = table[table["alarmed"]]
    assert set(zip(raised["model"], raised["version"], strict=True)) == {("challenger", "2")}
    assert raised["share"].tolist() == raised["alarm"].tolist() == [1.2, 1.2]
    assert raised["level"].tolist() == [1.2, 1.2]
    calm = table[~table["alarmed"]]
    assert (calm["share"] == 0).all()
    assert calm["alarm"].isna().all()


def test_a_pair_is_drawn_upon_what_is_in_order_for_as_long_as_each_verdict_stands(month):
    table = month["a pair"].data["main"]
    assert (table["tolerance"] == 0.24).all()
    assert (table["shown_to"] - table["shown_from"] == pd.Timedelta(days=1)).all()
    assert table.loc[table["alarm"].notna(), "alarm"].tolist() == [0.54]


def differences(mean, sd, n=(500, 500), version="1", **usual):
    """Draw a pair of two hours; ``usual`` is what is in order."""
    steps = pd.DataFrame(
        {"time": [tables.timestamp(START + i * 3600) for i in range(2)], "n": n, "mean": mean, "sd": sd}
    )
    table = running_table(steps.assign(model="champion", version=version, partner="canary"))
    span = tables.Span(START, START + DAY, 3600)
    nothing = pd.DataFrame(columns=["time", "what", "author", "reason"])
    columns = ["fired", "resolved", "severity", "rule", "model", "version", "feature", "attribution", "reason"]
    marks = Marks.of(span, nothing, pd.DataFrame(columns=columns))
    order = None
    if usual:
        ends = {"time": [tables.timestamp(START - DAY)], "to": [tables.timestamp(START + 2 * DAY)]}
        order = pd.DataFrame({**ends, "version": ["1"], **{name: [value] for name, value in usual.items()}})
    return charts.difference_chart(table, marks, Colours.of(["champion"]), order)


@pytest.mark.parametrize(
    ("mean", "usual", "says"),
    [
        (
            [0.02, 0.02],
            {},
            (
                "Over 1,000 requests champion 1 scored 0.020 higher than canary on average (between 0.011 and 0.029, at any"
                " time)."
            ),
        ),
        (
            [-0.02, -0.02],
            {"low": -0.01, "high": 0.01},
            (
                "Over 1,000 requests champion 1 scored 0.020 lower than canary on average (between 0.011 and 0.029, at any"
                " time), beyond what is in order (-0.01 to +0.01)."
            ),
        ),
        (
            [0.02, 0.02],
            {"low": -0.05, "high": 0.05},
            (
                "Over 1,000 requests champion 1 scored 0.020 higher than canary on average (between 0.011 and 0.029, at any"
                " time), which is in order (-0.05 to +0.05)."
            ),
        ),
        (
            [0.003, 0.003],
            {"low": -0.005, "high": 0.005},
            (
                "Over 1,000 requests champion 1 scored 0.003 higher than canary on average (between 0.006 lower and 0.012"
                " higher, at any time: it may be nothing); in order is -0.005 to +0.005."
            ),
        ),
    ],
)
def test_a_difference_is_told_with_its_band_and_whether_it_is_in_order(mean, usual, says):
    assert differences(mean, [0.01, 0.01], **usual).says == says


def test_a_band_without_a_bound_says_when_there_are_too_few():
    few = differences([30.0, 10.0], [1.0, 1.0], n=[20, 20])
    assert few.says == "Over 40 requests champion 1 scored 20.000 higher than canary on average, too few for a band."


def test_what_is_in_order_is_drawn_within_the_time_and_a_wild_band_does_not_flatten_the_rest():
    drawing = differences([0.01, 0.02], [0.01, 0.01], n=[10, 5000], low=-0.05, high=0.05)
    (order,) = drawing.data["usual"].to_dict("records")
    assert (order["time"], order["to"]) == (tables.timestamp(START), tables.timestamp(START + DAY))
    table = drawing.data["main"]
    assert table["high"].iloc[0] > 0.5  # of ten requests
    assert table["at_high"].max() < 0.06


def quantiles_moved(move, seed=2):
    scores = np.random.default_rng(seed).random(20_000)
    before, now = (Counts.of(bins_of(x, "probability")) for x in (scores, move(scores)))
    return charts.quantile_chart(qq_table(now, before))


@pytest.mark.parametrize(
    ("move", "says"),
    [
        (
            lambda x: x,
            "They agree: between 20,000 scores now and 20,000 before there is no more difference than chance makes.",
        ),
        (lambda x: x * 0.8, "Among the upper 78 % scores lie lower: 9 in 10 are now below 0.72, it was 0.9."),
        (
            lambda x: np.where(x < 0.3, x / 2, x),
            "Among the lower 30 % scores lie lower: 1 in 10 are now below 0.049, it was 0.098.",
        ),
        (
            lambda x: x + 0.15 * ((x > 0.3) & (x < 0.6)),
            "Scores above the lowest 31 % and below the highest 34 % lie higher: half are now below 0.62, it was 0.5.",
        ),
    ],
)
def test_a_quantile_plot_says_which_scores_moved_whither_and_by_how_much(move, says):
    assert quantiles_moved(move).says.startswith(says.removesuffix("."))


def test_a_quantile_plot_keeps_to_the_schema_and_its_specification():
    drawing = quantiles_moved(np.sqrt)
    rows = {name: json.loads(table.to_json(orient="records")) for name, table in drawing.data.items()}
    chart = alt.Chart.from_dict({**drawing.spec, "datasets": rows})
    svg = vl_convert.vegalite_to_svg(chart.to_dict(validate=True))
    assert "half below" in svg
    assert drawing.spec == quantiles_moved(lambda x: x).spec
    assert np.isfinite(drawing.data["main"][["least", "most"]]).all(axis=None)


def test_nothing_to_compare_is_drawn_as_nothing():
    nothing = Counts.of([])
    drawing = charts.quantile_chart(qq_table(nothing, nothing))
    assert (drawing.says, len(drawing.data["main"])) == ("", 0)


def test_a_distance_says_how_many_lie_beyond_chance_and_beyond_the_tolerance(path):
    store = Store(path, readonly=True)
    since, until = START + 14 * DAY, START + 21 * DAY
    span = tables.span_of(store, since, until)
    marks = Marks.of(span, tables.control_table(store, since, until), alert_table(store, since, until))
    table = distance_table(store, span, "champion", scale="probability")
    store.close()
    found = charts.distance_chart(table[table["statistic"] == "w1"], marks, 0.05)
    assert found.says.endswith(
        "1 of 7 points are above what chance alone explains, 1 above the 0.05 that a rule tolerates."
    )
    drawn = found.data["main"]
    assert (drawn["at_least"] < drawn["value"]).all()
    assert (drawn["at_most"] > drawn["value"]).all()


def test_values_stand_side_by_side_in_order(path):
    store = Store(path, readonly=True)
    storm = START + 17 * DAY
    shares = value_table(store, "visib", (storm, storm + DAY), (START, storm))
    store.close()
    drawing = charts.values_chart(shares)
    spec = {**drawing.spec, "datasets": {"main": json.loads(drawing.data["main"].to_json(orient="records"))}}
    svg = vl_convert.vegalite_to_svg(alt.Chart.from_dict(spec).to_dict(validate=True))
    assert shares["value"].iloc[0] in svg
    sums = drawing.data["main"].groupby("time")["share"].sum()
    assert sums.to_dict() == pytest.approx({"now": 1.0, "before": 1.0})


def test_an_alert_on_an_input_is_told_by_its_name():
    moment = tables.timestamp(START)
    row = dict.fromkeys(["severity", "rule", "model", "version", "attribution", "reason"], "")
    alerts = pd.DataFrame([{**row, "feature": "visib", "fired": moment, "resolved": moment}])
    controls = pd.DataFrame(columns=["time", "what", "author", "reason"])
    marks = Marks.of(tables.Span(START, START + DAY, 3600), controls, alerts)
    assert marks.alerts["about"].tolist() == ["visib"]


def test_a_ramp_says_how_far_and_what_the_guard_did_says_so():
    at, start = {"time": pd.Timestamp("2024-03-01", tz="UTC"), "model": "m", "reason": ""}, tables.Span(0, 60, 60)
    told = [("ramp", "ana", "ramp m 2 to 5 %"), ("hold", "guard", "hold m 2"), ("register", "ana", "register m 2")]
    controls = pd.DataFrame([at | {"action": a, "author": by, "what": what} for a, by, what in told])
    table = charts.changes_chart(controls, Marks(start, controls[:0], controls[:0])).data["main"]
    assert table["share"].tolist() == ["5 %", "", ""]
    assert table["guard"].tolist() == ["", "guard", ""]


def test_the_burn_says_who_spent_most_of_what_is_allowed():
    rows = [("slow", "a", "1", 1000.0, 5.0, 0.01), ("slow", "b", "2", 500.0, 40.0, 0.01)]
    table = pd.DataFrame(rows, columns=["rule", "model", "version", "n", "slower", "allowed"])
    table = table.assign(time=pd.Timestamp(START, unit="s", tz="UTC"), burn=[0.5, 8.0])
    marks = Marks(tables.Span(START, START + DAY, 3600), pd.DataFrame(), pd.DataFrame())
    says = charts.burn_chart(pd.concat([table, table]), marks, Colours.of(["a", "b"])).says
    assert says.startswith(
        "1 of 2 spent more than they may in this time. Most did b 2 by the rule slow: 80 of 1,000 took longer"
    )
    assert says.endswith("8.00% where 1.00% may, so 800% of what is allowed.")
