import math

import pytest
from pydantic import ValidationError

from birdwatch.detect.selection import SelectionRule
from birdwatch.detect.verdict import Subject
from birdwatch.windows.pane import Counts, Series, selection_bin

from .scenes import answers_pane, case


def judge(pane, **more):
    rule = SelectionRule.model_validate({"name": "selection", **more})
    return rule.judge(case(pane, ("", "")), {}, math.log(100))[0]


def test_too_few_first_choices_are_seen():
    verdict = judge(answers_pane(1_000, fallbacks=100), reason="first choice", at_least=0.95)
    assert verdict.status == "drifting"
    assert verdict.value == pytest.approx(0.1)
    assert "100 of 1000 (10.00%) answers were not first choice" in verdict.reason
    assert judge(answers_pane(1_000, fallbacks=30), reason="first choice", at_least=0.95).status == "ok"


def test_too_many_answers_of_a_tier_or_a_model_are_seen():
    pane = answers_pane(1_000, fallbacks=100)
    assert judge(pane, tier=1, at_most=0.05).status == "drifting"
    assert judge(pane, tier=1, at_most=0.2).status == "ok"
    pane[Series("selection", "other", "1")] = Counts.of([selection_bin(0, "explored")] * 500)
    assert judge(pane, model="other", at_most=0.1).status == "drifting"
    assert judge(pane, model="other", reason="override", at_most=0.1).status == "ok"


def test_the_shares_are_told_by_model_tier_and_reason():
    shares = judge(answers_pane(1_000, fallbacks=100), tier=1, at_most=0.5).details["shares"]
    assert shares == {"champion, tier 0, first choice": 0.9, "champion, tier 1, timed out": 0.1}


def test_it_takes_one_bound():
    for bounds in ({}, {"at_least": 0.5, "at_most": 0.6}):
        with pytest.raises(ValidationError, match="either `at_least` or `at_most`"):
            judge({}, **bounds)


def test_it_is_about_the_fleet_where_there_were_answers():
    rule = SelectionRule.model_validate({"name": "selection", "at_most": 0.5})
    assert rule.subjects(answers_pane(1), []) == [Subject()]
    assert rule.subjects({}, []) == []
    assert rule.stream == "metrics"
