import numpy as np
import pytest

from birdwatch.detect.latency import LatencyRule
from birdwatch.detect.verdict import Subject
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts, Series

from .scenes import case

RULE = LatencyRule.model_validate({"name": "slow", "stage": "model", "objective": "200ms"})


def pane(seconds, measure="latency.model"):
    return {Series(measure, "m", "1"): Counts.of(bins_of(seconds))}


def judge(seconds, rule=RULE):
    return rule.judge(case(pane(seconds), ("m", "1")), {}, 0.0)[0]


def test_it_compares_the_percentile_with_the_objective():
    fast, slow = np.full(980, 0.01), np.full(20, 0.5)
    verdict = judge(np.concatenate([fast, slow]))
    assert verdict.status == "drifting"
    assert verdict.statistic == "p99"
    assert verdict.value == pytest.approx(0.5, rel=0.01)
    assert "over the objective of 0.2 s" in verdict.reason
    assert judge(np.concatenate([fast, slow[:9]])).status == "ok"


def test_where_the_grid_leaves_it_open_it_is_in_order():
    assert judge(np.full(200, 0.2001)).status == "ok"
    assert judge(np.full(200, 0.203)).status == "drifting"


def test_the_usual_percentiles_are_told():
    details = judge(np.linspace(0.001, 0.1, 1_000)).details
    assert list(details) == ["p50", "p90", "p95", "p99", "p99.9"]
    assert details["p50"] == pytest.approx(0.05, rel=0.02)


def test_too_few_for_the_percentile_are_no_data():
    rare = RULE.model_copy(update={"percentile": 0.999})
    verdict = judge(np.full(500, 0.01), rare)
    assert verdict.status == "no data"
    assert "fewer than 1000" in verdict.reason


def test_each_stage_has_its_stream_and_subjects():
    answer = RULE.model_copy(update={"stage": "answer"})
    assert (RULE.stream, answer.stream) == ("scores", "metrics")
    assert answer.subjects(pane([0.1], "latency.answer"), []) == [Subject("m", "1")]
    assert answer.subjects(pane([0.1]), []) == []
