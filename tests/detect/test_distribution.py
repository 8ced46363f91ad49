import json
import math

import numpy as np
import pytest
from scipy import stats

from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.verdict import Subject
from birdwatch.stats.grid import bins_of
from birdwatch.stats.steps import Steps
from birdwatch.windows.pane import Counts, Series

from .scenes import DAY, case, draw, inputs_pane, month, reference_of, scores_pane

RULE = DistributionRule(name="scores")
CHAMPION = ("champion", "1")
LEVEL = math.log(90)
"""Three models by the day, and a ticket a month."""


def judge(pane, reference, rule=RULE, subject=CHAMPION):
    return rule.judge(case(pane, subject, reference), {}, 0.0)[0]


def run(panes, reference, rule=RULE, subject=CHAMPION, *, whole=None):
    """Give what a rule says of pane after pane; what it remembers goes through JSON, as in the store.

    ``whole`` is the reference before it was summed up: from that a rule learns.
    """
    state, said = {}, []
    taught = rule.learned(whole or reference, Subject(*subject))
    for number, pane in enumerate(panes):
        one = case(pane, subject, reference, start=(100 + number) * DAY)._replace(taught=taught)
        verdict, state = rule.judge(one, state, LEVEL)
        state = json.loads(json.dumps(state))
        said.append(verdict)
    return said


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
    assert verdict.details["ks"] <= true <= verdict.details["ks"] + verdict.details["ks_error"]
    # What decides is the same at the cuts of the reference, of which there is one in every twentieth.
    assert true - 0.05 <= verdict.value <= true
    assert verdict.details["reference_events"] == 8_000
    known = {"name": reference.name, "since": reference.since, "until": reference.until}
    assert verdict.details["reference"] == known


def test_the_tolerance_is_what_the_blocks_did_among_themselves():
    rng = np.random.default_rng(9)
    past = [draw(rng, inputs=rng.normal(0, 0.3))["champion"] for _ in range(12)]
    found = judge(day(), reference_of([scores_pane({"champion": values}) for values in past]))
    by_hand = []
    for i, block in enumerate(past):
        rest = np.concatenate(past[:i] + past[i + 1 :])
        noise = stats.kstwobign.ppf(0.95) * np.sqrt(1 / block.size + 1 / rest.size)
        by_hand.append(np.sqrt(max(stats.ks_2samp(block, rest).statistic ** 2 - noise**2, 0)))
    assert found.tolerance == pytest.approx(np.quantile(by_hand, 0.95), abs=0.005)


def test_a_learned_tolerance_is_never_under_the_floor_and_a_given_one_is_taken():
    same = [month(days=1)[0]] * 10
    assert judge(day(), reference_of(same)).tolerance == 0.02
    for tolerance in (0.0, 0.3):
        given = RULE.model_copy(update={"tolerance": tolerance})
        assert judge(day(), reference_of(same), given).tolerance == tolerance


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
    assert "there are 99 values, fewer than 100" in verdict.reason


def test_a_version_that_was_there_for_a_part_is_not_compared_with_whole_days():
    verdict = judge(day(), reference_of(month(), whole=False))
    assert verdict.status == "no data"
    assert "part of the window" in verdict.reason


def test_a_new_version_is_compared_with_what_its_predecessors_did():
    pane = scores_pane(draw(np.random.default_rng(3)), version="2")
    assert judge(pane, reference_of(month()), subject=("challenger", "2")).status == "ok"


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


# --- evidence that adds up ----------------------------------------------------------------------------------------------


def of_normal(rng, n=400, *, mean=0.0, spread=1.0):
    return {Series("score", "champion", "1"): Counts.of(bins_of(rng.normal(mean, spread, n), "real"))}


@pytest.fixture(scope="module")
def still():
    """A reference of one distribution all the time: 40 blocks of 400 normal scores."""
    rng = np.random.default_rng(20)
    return reference_of([of_normal(rng) for _ in range(40)])._replace(scale="real")


EXACT = RULE.model_copy(update={"tolerance": 0.0, "floor": 0.0})


@pytest.mark.parametrize("changed", [{"mean": 0.2}, {"mean": -0.2}, {"spread": 1.25}])
@pytest.mark.parametrize("rule", [EXACT, RULE], ids=["shapes", "steps"])
def test_changes_too_small_for_a_window_add_up_and_are_dated(still, changed, rule):
    rng = np.random.default_rng(21)
    said = run([of_normal(rng) for _ in range(20)] + [of_normal(rng, **changed) for _ in range(30)], still, rule)
    assert {v.status for v in said[:20]} == {"ok"}
    alarm = next(v for v in said if v.alarmed)
    assert alarm.start < 150 * DAY
    assert alarm.details["since"] // DAY in range(117, 124)
    assert alarm.statistic == "ks"
    assert alarm.n > 400 or alarm.start == 120 * DAY


def test_a_change_of_shape_far_too_small_for_a_distance_is_found_without_a_tolerance_alone(still):
    rng = np.random.default_rng(22)

    def tailed():
        values = rng.normal(0, 1, 400)
        values[:8] = rng.normal(4, 0.5, 8)
        return {Series("score", "champion", "1"): Counts.of(bins_of(values, "real"))}

    panes = [tailed() for _ in range(20)]
    assert any(v.alarmed for v in run(panes, still, EXACT))
    assert not any(v.alarmed for v in run(panes, still))


def test_a_distance_within_a_given_tolerance_is_never_evidence_however_long_it_lasts(still):
    rng = np.random.default_rng(23)
    wide = RULE.model_copy(update={"tolerance": 0.1, "floor": 0.0})
    panes = [of_normal(rng, mean=0.2) for _ in range(60)]  # .08 away
    assert not any(v.alarmed for v in run(panes, still, wide))
    assert any(v.alarmed for v in run(panes, still, wide.model_copy(update={"tolerance": 0.02})))


@pytest.mark.parametrize("rule", [EXACT, RULE], ids=["shapes", "steps"])
def test_what_a_quiet_window_is_told_by_is_its_distance(still, rule):
    rng = np.random.default_rng(24)
    said = run([of_normal(rng) for _ in range(30)], still, rule)
    assert {(v.status, v.statistic) for v in said} == {("ok", "ks")}
    assert all(v.value <= v.details["ks"] for v in said)


# --- watched inputs -----------------------------------------------------------------------------------------------------

FEATURES = DistributionRule(name="inputs", of="features")


def rain(rng, n=400, mean=5.0, missing=0):
    return inputs_pane(rain=rng.normal(mean, 1, n), missing=missing)


def carriers(rng, shares=(0.5, 0.3, 0.2), names="ABC", n=400):
    counts = rng.multinomial(n, shares)
    return inputs_pane(carrier={name: int(k) for name, k in zip(names, counts, strict=True) if k})


RAIN, CARRIER = ("", "", "", "rain"), ("", "", "", "carrier")


def of_rain(rng, **more):
    return reference_of([rain(rng, **more) for _ in range(28)])


def test_a_number_that_moves_is_found_and_told_by_its_median():
    rng = np.random.default_rng(30)
    said = run([rain(rng)] * 3 + [rain(rng, mean=6.0)] * 3, of_rain(rng), FEATURES, RAIN)
    assert [v.status for v in said] == ["ok"] * 3 + ["drifting"] * 3
    assert "rain lie" in said[3].reason
    assert said[3].details["median"] == pytest.approx(6, abs=0.2)
    assert said[3].details["reference_median"] == pytest.approx(5, abs=0.1)


def test_a_category_whose_share_changes_and_a_new_one_are_found_and_named():
    rng = np.random.default_rng(31)
    reference = reference_of([carriers(rng) for _ in range(28)])
    assert {v.status for v in run([carriers(rng) for _ in range(20)], reference, FEATURES, CARRIER)} == {"ok"}
    (moved,) = run([carriers(rng, (0.2, 0.6, 0.2))], reference, FEATURES, CARRIER)
    assert moved.status == "drifting"
    assert {one["value"] for one in moved.details["moved"][:2]} == {"A", "B"}
    (new,) = run([carriers(rng, (0.4, 0.24, 0.16, 0.2), "ABCZ")], reference, FEATURES, CARRIER)
    assert new.status == "drifting"
    assert new.details["moved"][0]["value"] == "new (Z)"
    assert new.details["moved"][0]["before"] == 0
    assert new.details["moved"][0]["now"] == pytest.approx(0.2, abs=0.05)


def test_the_distance_of_categories_is_the_largest_of_their_shares_added_up_by_rank():
    reference = reference_of([inputs_pane(carrier={"A": 200, "B": 120, "C": 80})] * 10)
    found = judge(inputs_pane(carrier={"A": 80, "B": 200, "C": 80, "Z": 40}), reference, FEATURES, CARRIER)
    # Added up: .5 .8 1 1 before, .2 .7 .9 1 now.
    assert found.details["ks"] == pytest.approx(0.3)


def test_values_that_are_missing_are_found_though_those_that_are_there_have_not_moved():
    rng = np.random.default_rng(33)
    reference = of_rain(rng, missing=4)
    quiet = run([rain(rng, missing=5) for _ in range(20)], reference, FEATURES, RAIN)
    assert {v.status for v in quiet} == {"ok"}
    said = run([rain(rng, missing=100) for _ in range(3)], reference, FEATURES, RAIN)
    alarm = next(v for v in said if v.alarmed)
    assert alarm.statistic == "missing"
    assert alarm.value == pytest.approx(0.2)
    assert "rain is missing in 20.0% of 500 requests" in alarm.reason


def test_of_missing_values_what_blocks_did_among_themselves_is_in_order():
    rng = np.random.default_rng(34)
    share = rng.uniform(0, 0.2, 28)
    panes = [rain(rng, n=400 - int(400 * s), missing=int(400 * s)) for s in share]
    taught = FEATURES.learned(reference_of(panes), Subject(feature="rain"))
    assert taught["missing"] == pytest.approx((400 * share).astype(int).sum() / (28 * 400))
    assert 0.02 <= taught["missing_tolerance"] <= share.max() - share.mean() + 0.01


def test_an_input_that_is_watched_no_more_is_still_asked_for():
    pane = inputs_pane(rain=np.arange(10.0), carrier={"A": 3})
    assert FEATURES.subjects(pane, ()) == [Subject(feature="carrier"), Subject(feature="rain")]
    assert FEATURES.subjects({}, [Subject(feature="rain")]) == [Subject(feature="rain")]
    only = FEATURES.model_copy(update={"feature": "ra*"})
    assert only.subjects(pane, ()) == [Subject(feature="rain")]


def test_of_a_reference_that_was_summed_up_steps_are_made_once_and_say_the_same(monkeypatch):
    reference, made = reference_of(month()), []
    of = Steps.of
    monkeypatch.setattr(Steps, "of", lambda whole, tolerance: made.append(tolerance) or of(whole, tolerance))
    panes = [day(seed=seed) for seed in (3, 4, 5)]
    as_it_was = run(panes, reference)
    assert len(made) == 3
    summed = reference.summed_up(Subject(*CHAMPION))
    assert run(panes, summed, whole=reference) == as_it_was
    assert len(made) == 4
