import math

import numpy as np
import pytest
from pydantic import ValidationError

from birdwatch.detect.selection import SelectionRule
from birdwatch.detect.verdict import Subject
from birdwatch.stats.selections import STEPS
from birdwatch.windows.pane import PROPENSITY_PARTS, Counts, Series, merge, selection_bin

from .scenes import answers_pane, case


def judge(pane, **more):
    rule = SelectionRule.model_validate({"name": "selection", **more})
    return rule.judge(case(pane, ("", "")), {}, math.log(100))[0]


def test_too_few_first_choices_are_seen():
    verdict = judge(answers_pane(1_000, fallbacks=100), reason="first choice", at_least=0.95)
    assert verdict.status == "drifting"
    assert verdict.value == pytest.approx(0.1)
    assert "100 of 1,000 (10.00%) answers were not first choice" in verdict.reason
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


DRAWS = SelectionRule.model_validate({"name": "draws", "of": "propensities"})


def drawn_pane(rng, *, n=2_000, biased=1.0):
    """A day of a bandit that shifts from one arm to the other, and draws the first at other odds than it says."""
    theta = np.linspace(0.9, 0.1, n)
    really = theta * biased / (theta * biased + 1 - theta)
    first = rng.random(n) < really
    return {
        Series("propensity", arm): Counts.of(2 * np.rint(t * PROPENSITY_PARTS).astype(np.int64) + was_drawn)
        for arm, t, was_drawn in (("a", theta, first), ("b", 1 - theta, ~first))
    }


def judge_days(days, arm="a", a=1_000.0):
    state, verdicts = {}, []
    for pane in days:
        verdict, state = DRAWS.judge(case(pane, (arm,)), state, math.log(a))
        verdicts.append(verdict)
    return verdicts


def test_a_bandit_that_draws_as_it_says_is_in_order_however_its_propensities_change():
    rng = np.random.default_rng(1)
    days = [drawn_pane(rng) for _ in range(60)]
    found = [v for arm in "ab" for v in judge_days(days, arm)]
    assert {v.status for v in found} == {"ok"}
    assert any(v.value < 0 == v.effect for v in found)  # by chance on the other side than the evidence leans


def test_an_arm_that_is_drawn_more_often_than_is_said_is_named_and_so_is_the_other():
    rng = np.random.default_rng(2)
    days = [drawn_pane(rng, biased=1.5) for _ in range(3)]
    more, less = judge_days(days, "a")[-1], judge_days(days, "b")[-1]
    assert (more.status, less.status) == ("drifting", "drifting")
    assert (more.statistic, less.statistic) == ("drawn beyond said", "said beyond drawn")
    assert min(more.value, less.value) > 0.05
    assert more.details["drawn"] > more.details["said"] == pytest.approx(0.5, abs=0.001)
    assert less.details["drawn"] < less.details["said"]
    assert "a was drawn in" in more.reason
    assert "its propensities say 50.00%" in more.reason


def test_an_alarm_on_draws_ends_when_they_are_in_order_again():
    rng = np.random.default_rng(3)
    days = [drawn_pane(rng, biased=b) for b in (3.0, 3.0, 1.0, 1.0, 1.0, 1.0)]
    found = judge_days(days)
    assert [v.status for v in found] == ["drifting", "drifting", "ok", "ok", "ok", "ok"]
    assert [v.alarmed for v in found[:2]] == [True, True]  # fresh evidence on either day


def test_panes_of_draws_add_up():
    rng = np.random.default_rng(4)
    parts = [drawn_pane(rng, n=500) for _ in range(4)]
    whole, other = (judge_days([merge(order)])[0] for order in (parts, parts[::-1]))
    assert whole == other
    assert whole.n == 2_000


def test_windows_of_few_draws_add_up_to_evidence():
    rng = np.random.default_rng(6)
    found = judge_days([drawn_pane(rng, n=10, biased=8.0) for _ in range(60)])
    assert found[0].status == "no data"
    assert "by itself that tells nothing" in found[0].reason
    first = next(i for i, v in enumerate(found) if v.status == "drifting")
    assert 1 < first < 30
    assert found[first].n >= 20


def test_few_draws_are_no_data_and_arms_without_propensities_no_subjects():
    rng = np.random.default_rng(5)
    assert judge_days([drawn_pane(rng, n=19)])[0].status == "no data"
    assert DRAWS.subjects(drawn_pane(rng), []) == [Subject("a"), Subject("b")]
    assert DRAWS.subjects(answers_pane(10), []) == []


def test_propensities_are_counted_in_the_steps_that_the_evidence_knows():
    assert PROPENSITY_PARTS == STEPS


@pytest.mark.parametrize("said", [{"at_most": 0.5}, {"reason": "override"}, {"tier": 0}])
def test_propensities_need_no_bound(said):
    with pytest.raises(ValidationError, match="needs no bound"):
        SelectionRule.model_validate({"name": "draws", "of": "propensities", **said})
