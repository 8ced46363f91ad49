"""The report says what happened: counted again here in another way."""

import io
import random

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from birdwatch.alerts.history import AlertRow
from birdwatch.demo.feeder import Answer, Served
from birdwatch.demo.flights import start_of
from birdwatch.demo.printout import show
from birdwatch.demo.report import call_days, count_scores, make_report, read_answers, write
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.records import Control, Result, Score, encode
from birdwatch.streams import open_streams

TRUTH = pd.DataFrame(
    {
        "flights": [900, 910, 920, 930],
        "late": [0.1, 0.5, 0.2, 0.4],
        "cancelled": [0.0, 0.0, 0.2, 0.0],
        "disrupted": [False, True, True, True],
    },
    index=pd.Index(["2013-06-06", "2013-06-07", "2013-06-08", "2013-06-09"], name="day"),
)


def alert(day_after, **other):
    """An alert that fires when a day has ended."""
    usual = {
        "fingerprint": "ab12",
        "rule": "scores-moved",
        "severity": "ticket",
        "attribution": "inputs changed",
        "model": "champion",
        "version": "1",
        "partner": "",
        "feature": "",
        "state": "firing",
        "started": start_of(day_after),
        "fired": start_of(day_after),
        "resolved": None,
        "reason": "the scores moved",
        "statistic": "ks",
        "value": 0.6,
        "tolerance": 0.3,
        "n": 900,
        "delivered": {},
    }
    return AlertRow(**{**usual, **other})


@pytest.fixture
def streams(tmp_path):
    place = open_streams(f"sqlite:{tmp_path / 'streams'}")
    yield place
    place.close()


def drifting(day_after, *models, rule="scores-moved", status="drifting"):
    """What a rule said of some models when a day had ended."""
    end = int(start_of(day_after))
    return [
        Verdict(
            rule=rule, kind="distribution", start=end - 86_400, end=end, subject=Subject(m), status=status, reason=""
        )
        for m in models
    ]


def report_of(streams, served=None, alerts=(), took=lambda *_: True, verdicts=()):
    return make_report(
        served or Served(),
        streams,
        alerts,
        verdicts,
        took,
        TRUTH,
        since=start_of("2013-06-06"),
        until=start_of("2013-06-10"),
        deadline_seconds=1.0,
        canary="canary",
        wall_seconds=12.0,
    )


def called(report):
    return {day.day for day in report.days.days if day.called}


def test_a_ticket_is_about_the_day_that_ended_when_it_fired(streams):
    report = report_of(streams, alerts=[alert("2013-06-08")])
    assert called(report) == {"2013-06-07"}


def test_precision_and_recall_are_those_of_the_called_days(streams):
    report = report_of(streams, alerts=[alert("2013-06-07"), alert("2013-06-08"), alert("2013-06-09")])
    hits = {"2013-06-07", "2013-06-08"}
    assert called(report) == hits | {"2013-06-06"}
    assert report.days.precision == len(hits) / 3
    assert report.days.recall == len(hits) / 3
    assert (report.days.judged, report.days.called, report.days.disrupted) == (4, 3, 3)
    assert [(day.day, day.disrupted) for day in report.days.days] == list(TRUTH["disrupted"].items())


def test_a_ticket_that_stays_open_is_about_the_days_on_which_two_models_moved_again(streams):
    open_ticket = alert("2013-06-07", resolved=start_of("2013-06-10"))
    verdicts = [
        *drifting("2013-06-08", "champion", "canary"),
        *drifting("2013-06-09", "champion"),
        *drifting("2013-06-09", "canary", status="ok"),
        *drifting("2013-06-09", "champion", "canary", rule="another"),
        *drifting("2013-06-10", "champion", "canary"),
    ]
    report = report_of(streams, alerts=[open_ticket], verdicts=verdicts)
    assert called(report) == {"2013-06-06", "2013-06-07"}
    assert {day.day for day in report.days.days if day.fired} == {"2013-06-06"}


def test_only_tickets_about_the_inputs_call_a_day(streams):
    others = [alert("2013-06-08", severity="page"), alert("2013-06-08", attribution="the model changed")]
    assert called(report_of(streams, alerts=others)) == set()


def test_without_calls_or_disruptions_there_is_no_precision_or_recall():
    quiet = call_days([], TRUTH[~TRUTH["disrupted"]])
    assert (quiet.precision, quiet.recall, quiet.days) == (None, None, [])


def test_answers_and_latencies_are_counted(streams):
    draw = random.Random(1)
    served = Served()
    latencies = [draw.expovariate(5) for _ in range(1000)]
    for latency in latencies:
        model, reason = ("champion", "first choice") if latency < 0.4 else ("fallback", "timed out")
        served.add(Answer(model, reason, latency, within_sla=latency <= 1.0))
    served.add(None)
    report = report_of(streams, served)
    assert (report.requests, report.answers) == (1001, 1000)
    assert report.answers_within_sla == sum(latency <= 1.0 for latency in latencies)
    ordered = sorted(latencies)
    assert report.latency_seconds.p50 == pytest.approx((ordered[499] + ordered[500]) / 2)
    assert report.latency_seconds.p99 == pytest.approx(np.quantile(ordered, 0.99))
    assert report.first_choice_share == sum(latency < 0.4 for latency in latencies) / 1000


def score(request_id, model, component):
    return Score(
        request_id=request_id,
        request_ts=0,
        ts=0,
        model=model,
        version="1",
        score=0.5,
        provenance={"component": component},
    )


def test_scores_are_counted_by_model_without_the_month_before(streams):
    before = [score(f"a{n}", "champion", "backfill") for n in range(5)]
    live = [score(f"b{n}", "champion", "runner") for n in range(3)]
    streams.append("scores", [(b"", encode(record)) for record in before + live])
    streams.append("canary", [(b"", encode(score("b0", "canary", "canary")))])
    assert count_scores(streams) == {"canary": 1, "champion": 3}


def test_the_first_result_is_the_answer_and_one_by_the_canary_is_found(streams):
    def result(request_id, model):
        return b"", encode(Result(request_id=request_id, request_ts=0, ts=0, model=model, version="1", score=0.5))

    streams.append("results", [result("a", "champion"), result("a", "canary"), result("b", "canary")])
    assert [(answer.request_id, answer.model) for answer in read_answers(streams)] == [
        ("a", "champion"),
        ("b", "canary"),
    ]
    assert report_of(streams).canary_answers == 1


def test_the_deployment_is_told_and_what_the_ramped_version_answered(streams):
    def put(stream, *records):
        streams.append(stream, [(b"", encode(record)) for record in records])

    def control(ts, action, version="2", model="challenger", **params):
        return Control(ts=ts, action=action, author="us", reason="why", model=model, version=version, params=params)

    def answer(ts, model, version):
        return Result(request_id=str(ts), request_ts=ts, ts=ts, model=model, version=version, score=0.5)

    put("control", control(0, "schedule", "1", "", default=0.5, tiers=[{"models": ["champion"]}]))
    put("control", control(5, "ramp", percent=10), control(10, "warm"), control(20, "ramp", percent=10))
    put("control", control(90, "rollback"))
    put("results", *(answer(ts, "champion", "1") for ts in range(10, 100, 2)))
    put("results", *(answer(ts, "challenger", "2") for ts in (21, 51, 81, 81)))
    report = report_of(streams)
    (ramped,) = report.ramped
    assert (ramped.model, ramped.version, ramped.percent, ramped.answers) == ("challenger", "2", 10, 3)
    assert ramped.of == len([ts for ts in range(10, 100, 2) if 20 <= ts <= 81]) + 3
    assert [line.what for line in report.changes] == [
        "schedule 1: champion",
        "ramp challenger 2 to 10 % of the keys",
        "challenger 2 is warm",
        "ramp challenger 2 to 10 % of the keys",
        "roll back challenger 2",
    ]
    assert [line.refused is None for line in report.changes] == [True, False, True, True, True]
    console = Console(file=io.StringIO(), width=140)
    show(report, console)
    text = console.file.getvalue()
    assert "challenger 2 answered 3 of 34 flights" in text
    assert "refused: ramp 'challenger' by us: version '2' is not warm" in " ".join(text.split())


def test_an_alert_is_delivered_when_the_receiver_says_so(streams):
    alerts = [alert("2013-06-08"), alert("2013-06-09", fingerprint="cd34", resolved=start_of("2013-06-10"))]
    report = report_of(
        streams, alerts=alerts, took=lambda fingerprint, ts: (fingerprint, ts) == ("ab12", alerts[0].fired)
    )
    assert [line.delivered for line in report.alerts] == [True, False]
    assert [line.resolved for line in report.alerts] == [None, start_of("2013-06-10")]


def test_the_report_is_written_with_its_promised_keys_and_printed(streams, tmp_path):
    served = Served()
    served.add(Answer("champion", "first choice", 0.012, within_sla=True))
    report = report_of(streams, served, [alert("2013-06-08")])
    write(report, tmp_path / "made" / "report.json")
    read = pd.read_json(tmp_path / "made" / "report.json", typ="series")
    assert {"requests", "answers", "answers_within_sla", "deadline_seconds", "first_choice_share", "scores"} <= set(
        read.index
    )
    assert set(read["latency_seconds"]) == {"p50", "p99"}
    assert {"ts", "rule", "severity", "attribution", "model", "version", "delivered"} <= set(read["alerts"][0])
    console = Console(file=io.StringIO(), width=140)
    show(report, console)
    text = console.file.getvalue()
    assert "p50 12.0 ms" in text
    assert "2013-06-08 08:00Z" in text
    assert "precision 100% (21-100%), recall 33% (6-79%)" in text  # Wilson (1927), by hand


def test_a_run_without_an_answer_can_still_be_reported(streams):
    report = report_of(streams)
    assert (report.latency_seconds.p50, report.first_choice_share) == (None, None)
    show(report, Console(file=io.StringIO()))
