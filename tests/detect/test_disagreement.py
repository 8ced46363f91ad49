import json
import math

import numpy as np
import pytest

from birdwatch.detect.disagreement import DisagreementRule
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.verdict import Subject
from birdwatch.stats.calibration import ROOM
from birdwatch.stats.grid import bins_of
from birdwatch.windows.store import Extreme

from .scenes import HOUR, case, draw, month, reference_of, scores_pane

RULE = DisagreementRule(name="apart", window=HOUR)
LEVEL = math.log(4_320)
"""Three pairs by the hour, and a page a month."""
PAIR = ("challenger", "1", "champion")
ON_CANARY = ("champion", "1", "canary")


def hours(rng, many, n=60, **story):
    return [scores_pane(draw(rng, n, **story)) for _ in range(many)]


def run(panes, reference, rule=RULE, subject=PAIR, level=LEVEL, **asked):
    """Give what a rule says of pane after pane; what it remembers goes through JSON, as in the store."""
    state, said = {}, []
    asked = {"taught": rule.learned(reference, Subject(*subject)), **asked}
    for number, pane in enumerate(panes):
        one = case(pane, subject, reference, start=1_000 * HOUR + number * HOUR)._replace(**asked)
        verdict, state = rule.judge(one, state, level)
        state = json.loads(json.dumps(state))
        said.append(verdict)
    return said


def first(verdicts):
    """Give after how many windows an alarm was raised."""
    return next((number for number, v in enumerate(verdicts, 1) if v.alarmed), None)


@pytest.fixture(scope="module")
def week():
    return reference_of(hours(np.random.default_rng(1), 168))


@pytest.mark.parametrize("seed", range(5))
def test_scores_that_are_permuted_are_found_within_hours_though_no_mean_moves(week, seed):
    rng = np.random.default_rng(seed)
    bad = hours(rng, 6, permute=True)
    said = run(bad, week)
    assert first(said) <= 2
    assert all(v.status == "drifting" for v in said[first(said) - 1 :])
    means = run(bad, week, PairedRule(name="pairs", window=HOUR))
    assert {v.status for v in means if v.statistic == "mean"} <= {"ok"}


def test_it_dates_the_change_and_measures_all_since(week):
    rng = np.random.default_rng(3)
    said = run(hours(rng, 20) + hours(rng, 12, 10, permute=True), week)
    alarm = next(v for v in said if v.alarmed)
    assert alarm.details["since"] in range(1_019 * HOUR, 1_022 * HOUR, HOUR)
    assert alarm.effect == pytest.approx(alarm.value - alarm.tolerance)
    assert "since" in alarm.reason
    assert alarm.evidence >= LEVEL == alarm.threshold


def test_while_nothing_changes_it_is_quiet(week):
    said = run(hours(np.random.default_rng(4), 500), week)
    assert {v.status for v in said} == {"ok"}


def test_inputs_that_change_for_both_are_quiet(week):
    said = run(hours(np.random.default_rng(5), 48, inputs=0.7), week)
    assert {v.status for v in said} == {"ok"}


def test_partners_that_wander_teach_to_tolerate_that_they_do():
    rng = np.random.default_rng(6)

    def wander(many):
        return [scores_pane(draw(rng, 60, challenger=rng.normal(0, 0.15))) for _ in range(many)]

    wandering, later = reference_of(wander(400)), wander(400)
    tolerance = RULE.learned(wandering, Subject(*PAIR))["tolerance"]
    steady = RULE.learned(reference_of(hours(rng, 400)), Subject(*PAIR))["tolerance"]
    assert tolerance > steady
    assert not any(v.alarmed for v in run(later, wandering))
    # By the mean share alone it would alarm all the time.
    strict = RULE.model_copy(update={"tolerance": 0.1, "floor": 0.0})
    assert sum(v.alarmed for v in run(later, wandering, strict)) > 5


def test_what_is_usual_and_what_is_in_order_are_those_of_the_scores_themselves():
    rng = np.random.default_rng(7)
    past = [draw(rng, 200, challenger=rng.normal(0, 0.1)) for _ in range(40)]
    taught = RULE.learned(reference_of([scores_pane(p) for p in past]), Subject(*PAIR))
    sizes = [np.abs(bins_of(p["challenger"], "probability") - bins_of(p["champion"], "probability")) for p in past]
    usual = np.quantile(np.concatenate(sizes), 0.9, method="inverted_cdf")
    assert taught["usual"] == usual
    k = np.array([(of > usual).sum() for of in sizes])
    assert (np.concatenate(sizes) > usual).mean() <= 0.1
    # The least share, in 48 steps up to .95, at which R as a plain loop has it stays below what chance may reach.
    for tolerance in np.linspace(k.sum() / 8_000, 0.95, 48):
        r, most = np.zeros(7), 0.0
        q = np.minimum(tolerance * np.array([1.1, 1.25, 1.5, 2, 3, 5, 10]), 0.999999)
        over = q > 1 - (1 - tolerance) / np.array([1.1, 1.25, 1.5, 2, 3, 5, 10])
        q = np.where(over, 1 - (1 - tolerance) / np.array([1.1, 1.25, 1.5, 2, 3, 5, 10]), q)
        for one in k:
            r = (1 + r) * (q / tolerance) ** one * ((1 - q) / (1 - tolerance)) ** (200 - one)
            most = max(most, r.mean())
        if most <= 40**ROOM:
            break
    assert taught["tolerance"] == pytest.approx(tolerance)
    assert taught["blocks"] == 40


def test_the_value_is_the_share_of_the_scores_themselves(week):
    usual = RULE.learned(week, Subject(*PAIR))["usual"]
    now = draw(np.random.default_rng(8), 500, permute=True)
    (verdict,) = run([scores_pane(now)], week)
    steps = np.abs(bins_of(now["challenger"], "probability") - bins_of(now["champion"], "probability"))
    assert verdict.value == pytest.approx((steps > usual).mean())
    assert verdict.details["usual"] == usual
    assert f"on {verdict.value:.0%} of 500 requests" in verdict.reason


@pytest.mark.parametrize("spread", [0.02, 3.0, 1e3])
def test_scores_that_are_no_probabilities_are_compared_by_their_difference(spread):
    rng = np.random.default_rng(9)

    def pane(*, permute=False):
        champion = rng.normal(0, 20 * spread, 80)
        challenger = champion + rng.normal(0, spread, 80)
        return scores_pane(
            {"champion": champion, "challenger": rng.permutation(challenger) if permute else challenger}, scale="real"
        )

    reference = reference_of([pane() for _ in range(60)])._replace(scale="real")
    quiet = run([pane() for _ in range(60)], reference, scale="real")
    loud = run([pane(permute=True) for _ in range(4)], reference, scale="real")
    assert {v.status for v in quiet} == {"ok"}
    assert first(loud) <= 2
    taught = RULE.learned(reference, Subject(*PAIR))
    # 1.645 standard deviations are exceeded by one in ten, on either side.
    assert bins_of(np.array([1.645 * spread]), "real")[0] == pytest.approx(taught["usual"], abs=8)


def test_differences_are_as_large_to_either_side():
    rng = np.random.default_rng(10)
    noise, champion = rng.normal(0, 1, 4_000), rng.normal(0, 9, 4_000)
    there, back = (
        scores_pane({"champion": champion, "challenger": champion + sign * noise}, scale="real") for sign in (1, -1)
    )
    one, other = (
        RULE.learned(reference_of([pane] * 10)._replace(scale="real"), Subject(*PAIR)) for pane in (there, back)
    )
    assert one == other


def test_a_given_tolerance_is_taken_and_what_is_usual_is_still_learned(week):
    given = RULE.model_copy(update={"tolerance": 0.97})
    (verdict,) = run(hours(np.random.default_rng(11), 1, permute=True), week, given)
    assert (verdict.status, verdict.tolerance) == ("ok", 0.97)
    assert verdict.details["usual"] == RULE.learned(week, Subject(*PAIR))["usual"]


def test_a_share_beyond_doubt_but_too_small_to_matter_does_not_alarm(week):
    strict = RULE.model_copy(update={"tolerance": 0.1, "floor": 0.0})
    loose = strict.model_copy(update={"floor": 0.6})
    bad = hours(np.random.default_rng(12), 3, 2_000, challenger=0.15)
    assert first(run(bad, week, strict)) is not None
    assert first(run(bad, week, loose)) is None
    assert "too little" in run(bad, week, loose)[0].reason


@pytest.mark.parametrize("tolerance", ["auto", 0.2])
def test_too_short_a_reference_is_no_data_and_forgets_nothing(tolerance):
    rule = RULE.model_copy(update={"tolerance": tolerance})
    asked = case(month(days=1)[0], PAIR, reference_of(month(days=7)))
    verdict, state = rule.judge(asked, {"kept": [1.0]}, LEVEL)
    assert verdict.status == "no data"
    assert "7 of 8 blocks of challenger 1 and champion" in verdict.reason
    assert state == {"kept": [1.0]}


def test_a_window_without_a_pair_is_no_data_and_forgets_nothing(week):
    asked = case(scores_pane({"champion": np.array([0.5])}), PAIR, week)
    verdict, state = RULE.judge(asked, {"kept": [1.0]}, LEVEL)
    assert (verdict.status, state) == ("no data", {"kept": [1.0]})


@pytest.mark.parametrize("n", [2, 5])
def test_hours_of_a_few_events_add_up(week, n):
    said = run(hours(np.random.default_rng(13), 72, n, permute=True), week)
    assert np.isfinite([v.evidence for v in said]).all()
    assert said[first(said) - 1].n >= RULE.min_events


def test_a_ticket_leaves_the_worst_twentieth_of_the_reference_out():
    rng = np.random.default_rng(14)
    panes = hours(rng, 97) + hours(rng, 3, permute=True)
    page, ticket = (
        RULE.model_copy(update={"severity": severity}).learned(reference_of(panes), Subject(*PAIR))["tolerance"]
        for severity in ("page", "ticket")
    )
    calm = RULE.learned(reference_of(panes[:97]), Subject(*PAIR))["tolerance"]
    assert ticket < page
    assert ticket == pytest.approx(calm, abs=0.05)


def test_false_pages_stay_within_the_budget():
    # A level of 20 is where the bound can be tested: at most one alarm in 20 windows is expected.
    rng = np.random.default_rng(15)
    strict = RULE.model_copy(update={"floor": 0.0, "min_events": 1})
    said = run(hours(rng, 600, 30), reference_of(hours(rng, 200, 30)), strict, level=math.log(20))
    assert sum(v.alarmed for v in said) <= 600 / 20


def test_an_old_canary_of_another_kind_teaches_its_own_distance(week):
    pair, canary = (RULE.learned(week, Subject(*subject))["usual"] for subject in (PAIR, ON_CANARY))
    assert canary > 2 * pair


def test_the_largest_disagreements_are_told(week):
    extremes = (Extreme("challenger", "1", "champion", "r7", 0.9, 0.1),)
    (verdict,) = run(hours(np.random.default_rng(16), 1), week, extremes=extremes)
    assert verdict.details["largest"] == [{"request_id": "r7", "score": 0.9, "partner_score": 0.1}]
