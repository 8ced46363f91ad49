import math

import numpy as np
import pytest

from birdwatch.detect.rate import RateRule
from birdwatch.detect.verdict import Subject
from birdwatch.windows.pane import Series, merge

from .scenes import answers_pane, case, counted, reference_of

LEVEL = math.log(100)


def rule(**more):
    return RateRule.model_validate({"name": "rate", **more})


def scored(events=1_000, **n):
    return {Series("counts", "m", "1"): counted(events=events, **n)}


def judge(asked, pane, subject=("", ""), reference=None, state=None):
    return asked.judge(case(pane, subject, reference), state or {}, LEVEL)


@pytest.mark.parametrize("of", ["errors", "nulls", "orphans"])
def test_what_goes_wrong_with_scores_is_judged_by_version(of):
    asked = rule(of=of, tolerance=0.01)
    assert asked.subjects(scored(), []) == [Subject("m", "1")]
    assert judge(asked, scored(**{of: 50}), ("m", "1"))[0].status == "drifting"
    assert judge(asked, scored(**{of: 10}), ("m", "1"))[0].status == "ok"


def test_missed_deadlines_and_fallbacks_are_judged_for_the_fleet():
    for of, wrong in (("sla_misses", {"missed": 60}), ("fallbacks", {"fallbacks": 60})):
        asked = rule(of=of, tolerance=0.01)
        assert asked.subjects(answers_pane(1_000), []) == [Subject()]
        assert asked.stream == "metrics"
        verdict, _ = judge(asked, answers_pane(1_000, **wrong))
        assert verdict.status == "drifting"
        assert (verdict.value, verdict.tolerance, verdict.n) == (0.06, 0.01, 1_000)
        assert "60 of 1,000" in verdict.reason


def test_one_bad_window_of_few_events_is_not_yet_evidence_and_three_are():
    asked, state, statuses = rule(of="errors", tolerance=0.01), {}, []
    for _ in range(3):
        verdict, state = judge(asked, scored(100, errors=4), ("m", "1"), state=state)
        statuses.append(verdict.status)
    assert statuses == ["ok", "ok", "drifting"]
    assert "not yet certain" in judge(asked, scored(100, errors=4), ("m", "1"))[0].reason


def test_a_tolerance_can_be_learned():
    rng = np.random.default_rng(0)
    blocks = [merge([scored(errors=int(rng.binomial(1_000, 0.03)))]) for _ in range(20)]
    asked = rule(of="errors")
    verdict, _ = judge(asked, scored(errors=35), ("m", "1"), reference_of(blocks))
    assert verdict.status == "ok"
    assert 0.02 < verdict.tolerance < 0.045
    assert judge(asked, scored(errors=90), ("m", "1"), reference_of(blocks))[0].status == "drifting"


def test_where_nothing_ever_failed_one_may():
    blocks = [answers_pane(1_000)] * 10
    asked = rule(of="sla_misses")
    assert judge(asked, answers_pane(1_000), reference=reference_of(blocks))[0].tolerance == 0.001
    assert judge(asked, answers_pane(1_000, missed=1), reference=reference_of(blocks))[0].status == "ok"
    assert judge(asked, answers_pane(1_000, missed=20), reference=reference_of(blocks))[0].status == "drifting"


def test_fallbacks_are_learned_from_the_answers_of_the_reference():
    blocks = [answers_pane(1_000, fallbacks=50)] * 10
    assert judge(rule(of="fallbacks"), answers_pane(1_000), reference=reference_of(blocks))[0].tolerance == 0.05


def test_nothing_to_learn_from_is_no_data():
    verdict, state = judge(rule(of="errors"), scored(), ("m", "1"), reference_of([scored()] * 3), {"kept": [1.0]})
    assert verdict.status == "no data"
    assert "3 of 8 blocks" in verdict.reason
    assert state == {"kept": [1.0]}


def test_a_reference_is_read_only_where_the_tolerance_is_learned():
    assert rule(of="errors", tolerance=0.1).compares_with is None
    assert rule(of="errors").compares_with is not None
