import numpy as np
import pytest
from scipy import stats

from birdwatch.detect.distribution import DistributionRule
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts, Series

from .scenes import case, draw, month, reference_of, scores_pane

RULE = DistributionRule(name="scores")
CHAMPION = ("champion", "1")


def judge(pane, reference, rule=RULE, subject=CHAMPION):
    return rule.judge(case(pane, subject, reference), {}, 0.0)[0]


def day(seed=3, **changes):
    return scores_pane(draw(np.random.default_rng(seed), **changes))


def test_scores_that_moved_further_than_the_reference_ever_did_are_drifting():
    verdict = judge(day(inputs=0.6), reference_of(month()))
    assert verdict.status == "drifting"
    assert verdict.value > verdict.tolerance
    assert verdict.effect == pytest.approx(verdict.value - verdict.tolerance)
    assert "champion 1" in verdict.reason
    assert "the reference" in verdict.reason


def test_a_reference_whose_days_differ_tolerates_such_days():
    rng = np.random.default_rng(8)
    calm = month()
    restless = [scores_pane(draw(rng, inputs=rng.normal(0, 0.4))) for _ in range(28)]
    assert judge(day(inputs=0.4), reference_of(calm)).status == "drifting"
    assert judge(day(inputs=0.4), reference_of(restless)).status == "ok"


def test_the_value_is_the_distance_that_scipy_finds():
    rng = np.random.default_rng(4)
    past = [draw(rng)["champion"] for _ in range(10)]
    now = draw(rng, inputs=0.3)["champion"]
    reference = reference_of([scores_pane({"champion": values}) for values in past])
    verdict = judge(scores_pane({"champion": now}), reference)
    true = stats.ks_2samp(now, np.concatenate(past)).statistic
    assert verdict.value <= true <= verdict.value + verdict.details["ks_error"]
    assert verdict.details["reference_events"] == 8_000


def test_the_tolerance_is_what_the_blocks_did_among_themselves():
    rng = np.random.default_rng(9)
    past = [draw(rng, inputs=rng.normal(0, 0.3))["champion"] for _ in range(12)]
    found = judge(day(), reference_of([scores_pane({"champion": values}) for values in past]))
    by_hand = []
    for i, block in enumerate(past):
        rest = np.concatenate(past[:i] + past[i + 1 :])
        noise = stats.kstwobign.ppf(0.95) * np.sqrt(1 / block.size + 1 / rest.size)
        by_hand.append(np.sqrt(max(stats.ks_2samp(block, rest).statistic ** 2 - noise**2, 0)))
    assert found.details["learned_tolerance"] == pytest.approx(np.quantile(by_hand, 0.95), abs=0.005)


def test_a_learned_tolerance_is_never_under_the_floor_and_a_given_one_is_taken():
    same = [month(days=1)[0]] * 10
    assert judge(day(), reference_of(same)).details["learned_tolerance"] == 0.02
    given = RULE.model_copy(update={"tolerance": 0.0})
    assert judge(day(), reference_of(same), given).details["learned_tolerance"] == 0.0


def test_unchanged_scores_raise_few_tickets_even_with_small_windows():
    rng = np.random.default_rng(10)
    reference = reference_of([scores_pane({"champion": rng.beta(2, 8, 150)}) for _ in range(28)])
    windows = [judge(scores_pane({"champion": rng.beta(2, 8, 150)}), reference).status for _ in range(200)]
    assert windows.count("drifting") <= 6


def test_too_short_a_reference_is_no_data_and_says_how_short():
    verdict = judge(day(), reference_of(month(days=5)))
    assert verdict.status == "no data"
    assert "5 of 8 blocks" in verdict.reason
    assert judge(day(), reference_of(month(days=1)), RULE.model_copy(update={"tolerance": 0.1})).status == "ok"


def test_few_scores_are_no_data():
    verdict = judge(day(n=99), reference_of(month()))
    assert verdict.status == "no data"
    assert "99 scores, fewer than 100" in verdict.reason


def test_a_version_that_was_there_for_a_part_is_not_compared_with_whole_days():
    verdict = judge(day(), reference_of(month(), whole=False))
    assert verdict.status == "no data"
    assert "part of the window" in verdict.reason


def test_a_new_version_is_compared_with_what_its_predecessors_did():
    pane = scores_pane(draw(np.random.default_rng(3)), version="2")
    assert judge(pane, reference_of(month()), subject=("challenger", "2")).status == "ok"


def test_psi_can_decide_and_takes_its_own_noise_out():
    rule = RULE.model_copy(update={"statistic": "psi"})
    moved, still = (judge(day(seed=5, inputs=shift), reference_of(month()), rule) for shift in (0.6, 0.0))
    assert (moved.status, still.status) == ("drifting", "ok")
    assert moved.statistic == "psi"
    assert moved.value == moved.details["psi"]


def test_a_rule_that_may_page_tolerates_the_largest_block():
    rng = np.random.default_rng(11)
    panes = [scores_pane(draw(rng)) for _ in range(27)] + [scores_pane(draw(rng, inputs=0.8))]
    page = RULE.model_copy(update={"severity": "page"})
    assert judge(day(inputs=0.7), reference_of(panes)).status == "drifting"
    assert judge(day(inputs=0.7), reference_of(panes), page).status == "ok"


def test_any_scores_will_do_on_the_real_scale():
    rng = np.random.default_rng(12)

    def pane(mean):
        return {Series("score", "champion", "1"): Counts.of(bins_of(rng.normal(mean, 100, 500)))}

    reference = reference_of([pane(0) for _ in range(10)])
    asked = case(pane(80), CHAMPION, reference)._replace(scale="real")
    verdict, _ = RULE.judge(asked, {}, 0.0)
    assert verdict.status == "drifting"
    assert verdict.details["wasserstein"] == pytest.approx(80, rel=0.2)
