import math

import numpy as np
import pytest

from birdwatch.detect.paired import PairedRule
from birdwatch.detect.verdict import Subject
from birdwatch.windows.store import Extreme

from .scenes import case, draw, month, reference_of, scores_pane

RULE = PairedRule(name="pairs")
LEVEL = math.log(90)
PAIR = ("challenger", "1", "champion")


def day(seed=3, **changes):
    return scores_pane(draw(np.random.default_rng(seed), **changes))


def judge(pane, reference, rule=RULE, state=None, subject=PAIR):
    return rule.judge(case(pane, subject, reference), state or {}, LEVEL)


def test_a_fault_that_moves_no_mean_is_seen_as_disagreement():
    verdict, state = judge(day(permute=True), reference_of(month()))
    assert verdict.status == "drifting"
    assert verdict.statistic == "disagreement"
    assert verdict.details["mean_shift"] < verdict.details["mean_floor"]
    assert verdict.evidence >= LEVEL == verdict.threshold
    assert set(state["disagreement"]["kept"]) == {0.0}


def test_a_shift_within_the_usual_differences_is_seen_in_the_mean():
    # Every difference stays as large as ever, but all are on one side now.
    rng = np.random.default_rng(1)

    def pane(lean):
        champion = rng.random(2_000) * 0.5
        side = np.where(rng.random(2_000) < 0.5 + lean, 1, -1)
        return scores_pane({"champion": champion, "challenger": champion + side * 0.1})

    rule = RULE.model_copy(update={"floor": 0.01})
    verdict, _ = judge(pane(0.3), reference_of([pane(0) for _ in range(10)]), rule)
    assert verdict.status == "drifting"
    assert verdict.statistic == "mean"
    assert verdict.details["disagreement"] <= verdict.details["disagreement_tolerance"]
    assert "on average" in verdict.reason


def test_inputs_that_change_for_both_are_quiet():
    assert judge(day(inputs=0.15), reference_of(month()))[0].status == "ok"


def test_a_canary_with_a_standing_offset_is_quiet_while_it_stands():
    panes = month(canary=1.0)
    where = ("champion", "1", "canary")
    verdict, _ = judge(day(canary=1.0), reference_of(panes), subject=where)
    assert verdict.status == "ok"
    assert abs(verdict.details["usual_mean"]) > 0.05
    assert judge(day(canary=-0.5), reference_of(panes), subject=where)[0].status == "drifting"


def test_beyond_doubt_but_too_small_to_matter_does_not_alarm():
    verdict, _ = judge(day(n=20_000, challenger=0.03), reference_of(month()))
    assert verdict.status == "ok"
    strict = RULE.model_copy(update={"floor": 0.0})
    assert judge(day(n=20_000, challenger=0.03), reference_of(month()), strict)[0].status == "drifting"


def test_the_statistics_are_those_of_the_scores_themselves():
    scores = draw(np.random.default_rng(3))
    past = [draw(np.random.default_rng(100 + i)) for i in range(10)]
    verdict, _ = judge(scores_pane(scores), reference_of([scores_pane(p) for p in past]))
    d = scores["challenger"] - scores["champion"]
    usual = np.quantile(np.abs(np.concatenate([p["challenger"] - p["champion"] for p in past])), 0.9)
    assert verdict.details["mean"] == pytest.approx(d.mean(), abs=1e-6)
    assert verdict.details["spread"] == pytest.approx(d.std(), rel=1e-3)
    assert verdict.details["usual_difference"] == pytest.approx(usual, rel=0.02)
    assert verdict.details["disagreement"] == pytest.approx((np.abs(d) > usual).mean(), abs=0.01)
    sd = np.concatenate([p["champion"] for p in past]).std()
    assert verdict.details["mean_floor"] == pytest.approx(0.2 * sd, rel=0.01)


def test_the_largest_share_that_a_block_had_is_in_order():
    rng = np.random.default_rng(2)
    panes = [scores_pane(draw(rng)) for _ in range(27)] + [scores_pane(draw(rng, challenger=0.4))]
    assert judge(day(challenger=0.38), reference_of(panes))[0].status == "ok"
    assert judge(day(challenger=0.38), reference_of(month()))[0].status == "drifting"


def test_identical_partners_stay_quiet_and_the_first_difference_is_not_forgiven():
    def pane(shift):
        champion = np.random.default_rng(4).random(500) * 0.5
        return scores_pane({"champion": champion, "challenger": champion + shift})

    reference = reference_of([pane(0.0)] * 10)
    assert judge(pane(0.0), reference)[0].status == "ok"
    assert judge(pane(0.2), reference)[0].status == "drifting"


def test_a_short_reference_is_no_data_unless_the_tolerance_is_given():
    verdict, state = judge(day(), reference_of(month(days=4)), state={"mean": {"kept": [1.0]}})
    assert verdict.status == "no data"
    assert "4 of 8 blocks" in verdict.reason
    assert state == {"mean": {"kept": [1.0]}}
    given = RULE.model_copy(update={"tolerance": 0.005, "floor": 0.01})
    verdict, _ = judge(day(challenger=1.0), None, given)
    assert (verdict.status, verdict.statistic) == ("drifting", "mean")
    assert "disagreement" not in verdict.details


def test_scores_beyond_a_difference_of_one_are_judged_by_disagreement_alone():
    rng = np.random.default_rng(6)

    def pane(noise):
        champion = rng.normal(0, 50, 500)
        return scores_pane({"champion": champion, "challenger": champion + rng.normal(0, noise, 500)}, scale="real")

    reference = reference_of([pane(2) for _ in range(10)])
    asked = case(pane(2), PAIR, reference)._replace(scale="real")
    quiet, _ = RULE.judge(asked, {}, LEVEL)
    loud, _ = RULE.judge(asked._replace(pane=pane(12)), {}, LEVEL)
    assert (quiet.status, loud.status, loud.statistic) == ("ok", "drifting", "disagreement")


def test_false_pages_stay_within_the_budget():
    # A level of 20 is where the bound can be tested: at most one alarm in 20 windows is expected.
    rng = np.random.default_rng(13)
    reference = reference_of([scores_pane(draw(rng, 300)) for _ in range(12)])
    strict = RULE.model_copy(update={"floor": 0.0, "disagreement_floor": 0.0})
    alarms, state = 0, {}
    for _ in range(300):
        verdict, after = strict.judge(case(scores_pane(draw(rng, 300)), PAIR, reference), state, math.log(20))
        fired = verdict.status == "drifting"
        alarms, state = alarms + fired, {} if fired else after
    assert alarms <= 300 / 20


def test_the_largest_disagreements_are_told():
    extremes = (Extreme("challenger", "1", "champion", "r7", 0.9, 0.1),)
    asked = case(day(), PAIR, reference_of(month()))._replace(extremes=extremes)
    verdict, _ = RULE.judge(asked, {}, LEVEL)
    assert verdict.details["largest"] == [{"request_id": "r7", "score": 0.9, "partner_score": 0.1}]


def test_rules_choose_models_and_partners():
    pane = day()
    of_canary = RULE.model_copy(update={"partner": "canary"})
    assert of_canary.subjects(pane, []) == [Subject("champion", "1", "canary")]
    assert len(RULE.subjects(pane, [])) == 2
