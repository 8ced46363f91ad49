import math

import numpy as np
import pytest
from scipy import stats

from birdwatch.detect.latency import LatencyRule
from birdwatch.detect.verdict import Subject
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts, Series

from .scenes import case

RULE = LatencyRule.model_validate({"name": "slow", "stage": "model", "objective": "200ms"})
LEVEL = math.log(100)


def pane(seconds, measure="latency.model"):
    return {Series(measure, "m", "1"): Counts.of(bins_of(seconds))}


def judge(seconds, rule=RULE, state=None):
    return rule.judge(case(pane(seconds), ("m", "1")), state or {}, LEVEL)


def took(longer, of):
    return np.concatenate([np.full(of - longer, 0.01), np.full(longer, 0.5)])


def test_it_compares_the_share_that_took_longer_with_what_the_percentile_allows():
    verdict, _ = judge(took(40, 1_000))
    assert verdict.status == "drifting"
    assert (verdict.statistic, verdict.tolerance, verdict.n) == ("p99", 0.2, 1_000)
    assert verdict.value == pytest.approx(0.5, rel=0.01)
    assert verdict.effect == pytest.approx(0.3, rel=0.01)
    assert verdict.evidence >= verdict.threshold
    assert (
        "p99 of m 1 (model) was 0.502 s: 40 of 1,000 (4.00%) took longer than the objective of 0.2 s; 1.00% is in o"
        in (verdict.reason)
    )
    within, _ = judge(took(9, 1_000))
    assert (within.status, within.effect) == ("ok", 0.0)


def test_a_little_more_than_is_allowed_takes_several_windows_to_be_certain_of():
    state, statuses = {}, []
    for _ in range(4):
        verdict, state = judge(took(20, 1_000), state=state)
        statuses.append(verdict.status)
    assert statuses == ["ok", "drifting", "drifting", "drifting"]
    first, _ = judge(took(20, 1_000))
    assert first.effect > 0
    assert "not yet certain that it is more" in first.reason


def test_a_window_of_few_requests_counts_for_what_it_is():
    assert judge(took(0, 19))[0].status == "no data"
    one, state = judge(took(1, 20))
    assert (one.status, one.effect > 0) == ("ok", True)
    for _ in range(9):
        one, state = judge(took(1, 20), state=state)
    assert one.status == "drifting"


def test_the_budget_holds_for_latencies_that_just_keep_the_objective():
    rng = np.random.default_rng(3)
    p99 = stats.expon.ppf(0.99)
    exact = RULE.model_copy(update={"objective": float(p99)})
    windows, alarms, state = 4_000, 0, {}
    for _ in range(windows):
        verdict, after = exact.judge(case(pane(rng.exponential(size=100)), ("m", "1")), state, math.log(200))
        alarms += verdict.evidence >= math.log(200)
        state = after
    assert 0 < alarms <= windows / 200


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_the_share_exceeds_what_is_in_order_exactly_where_the_percentile_exceeds_the_objective(percentile):
    rng = np.random.default_rng(4)
    rule = RULE.model_copy(update={"percentile": percentile})
    for _ in range(200):
        seconds = rng.exponential(rng.choice([0.02, 0.05, 0.1, 0.3]), rng.integers(20, 400))
        edges = np.exp2(np.floor(np.log2(seconds)) - 7)
        lower = np.floor(seconds / edges) * edges
        beyond = np.quantile(lower, percentile, method="inverted_cdf") > 0.2
        verdict, _ = judge(seconds, rule)
        assert (verdict.effect > 0) == beyond


def test_where_the_grid_leaves_it_open_it_is_in_order():
    assert judge(np.full(200, 0.2001))[0].status == "ok"
    assert judge(np.full(200, 0.203))[0].status == "drifting"


def test_the_usual_percentiles_are_told():
    details = judge(np.linspace(0.001, 0.1, 1_000))[0].details
    assert list(details) == ["stage", "percentile", "p50", "p90", "p95", "p99", "p99.9"]
    assert details["p50"] == pytest.approx(0.05, rel=0.02)


def test_each_stage_has_its_stream_and_subjects():
    answer = RULE.model_copy(update={"stage": "answer"})
    assert (RULE.stream, answer.stream) == ("scores", "metrics")
    assert answer.subjects(pane([0.1], "latency.answer"), []) == [Subject("m", "1")]
    assert answer.subjects(pane([0.1]), []) == []
