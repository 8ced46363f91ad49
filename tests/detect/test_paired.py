import json
import math

import numpy as np
import pytest
from scipy import stats

from birdwatch.detect.paired import PairedRule
from birdwatch.detect.verdict import Subject
from birdwatch.stats.calibration import ROOM
from birdwatch.stats.grid import bins_of
from birdwatch.windows.store import Extreme

from .scenes import HOUR, case, draw, month, reference_of, scores_pane

RULE = PairedRule(name="pairs", window=HOUR, min_events=50)
LEVEL = math.log(4_320)
"""Three pairs by the hour, and a page a month."""
PAIR = ("challenger", "1", "champion")
ON_CANARY = ("champion", "1", "canary")


def hours(rng, many, n=60, **story):
    return [scores_pane(draw(rng, n, **story)) for _ in range(many)]


def run(panes, reference, rule=RULE, subject=PAIR, level=LEVEL, **asked):
    """Give what a rule says of pane after pane; what it remembers goes through JSON, as in the store."""
    state, said = {}, []
    taught = rule.learned(reference, Subject(*subject)) if reference else {}
    for number, pane in enumerate(panes):
        one = case(pane, subject, reference, start=(1_000 + number) * HOUR)._replace(**{"taught": taught, **asked})
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


@pytest.mark.parametrize("side", [1, -1])
def test_a_mean_that_moves_is_found_within_hours_dated_and_measured(week, side):
    rng = np.random.default_rng(2)
    said = run(hours(rng, 20) + hours(rng, 12, challenger=0.6 * side), week)
    assert {v.status for v in said[:20]} == {"ok"}
    alarm = said[first(said) - 1]
    assert 21 <= first(said) <= 26
    assert alarm.details["since"] in range(1_019 * HOUR, 1_022 * HOUR, HOUR)
    assert alarm.effect == pytest.approx(alarm.value - alarm.tolerance)
    assert alarm.evidence >= LEVEL == alarm.threshold
    assert {v.status for v in said[first(said) - 1 :]} == {"drifting"}
    assert {v.statistic for v in said if v.alarmed} <= {"mean", "crossed"}


@pytest.mark.parametrize(("statistic", "changes"), [("mean", {"cut_floor": 0.9}), ("crossed", {"floor": 0.9})])
def test_the_reason_says_by_how_much_since_when_and_what_has_been_usual(week, statistic, changes):
    said = run(hours(np.random.default_rng(3), 24, challenger=0.6), week, RULE.model_copy(update=changes))
    alarm = next((v for v in said if v.statistic == statistic and "since" in v.reason), said[0])
    assert f"of {alarm.n:,} requests" in alarm.reason
    assert "has been usual" in alarm.reason
    said_by = {"mean": "challenger 1 and champion differ by +", "crossed": "challenger scores +"}
    assert said_by[alarm.statistic] in alarm.reason


def test_a_canary_with_a_standing_offset_is_quiet_while_it_stands():
    rng = np.random.default_rng(4)
    reference = reference_of(hours(rng, 168, canary=1.0))
    usual = run(hours(rng, 48, canary=1.0), reference, subject=ON_CANARY)
    assert {v.status for v in usual} == {"ok"}
    assert abs(usual[0].details["usual_mean"]) > 0.05
    assert first(run(hours(rng, 12, canary=0.2), reference, subject=ON_CANARY)) is not None


def test_inputs_that_change_for_both_are_quiet(week):
    assert {v.status for v in run(hours(np.random.default_rng(5), 48, inputs=0.7), week)} == {"ok"}


@pytest.mark.parametrize(("scale", "floor", "soon"), [(1.25, 0.0, 4), (1.35, RULE.cut_floor, 3)])
def test_a_wider_spread_that_moves_no_mean_is_found_at_the_cuts(scale, floor, soon):
    rng = np.random.default_rng(6)

    def pane(scale=1.0):
        z = rng.normal(0, 0.12, 400)
        champion, challenger = 0.5 + z, 0.5 + scale * z + rng.normal(0, 0.005, 400)
        return scores_pane({"champion": champion.clip(0, 1), "challenger": challenger.clip(0, 1)})

    rule = RULE.model_copy(update={"cut_floor": floor})
    reference = reference_of([pane() for _ in range(100)])
    said = run([pane(scale) for _ in range(12)], reference, rule)
    assert {v.statistic for v in said if v.alarmed} == {"crossed"}
    assert first(said) <= soon
    assert max(abs(v.details["mean"]) for v in said) < 0.01
    assert {v.status for v in run([pane() for _ in range(100)], reference, rule)} == {"ok"}


def test_of_a_score_that_is_no_probability_though_it_should_be_the_mean_says_nothing(week):
    now = draw(np.random.default_rng(7), 60)
    now["challenger"] = now["challenger"].copy()
    now["challenger"][:3] = [40.0, 90.0, 250.0]
    (verdict,) = run([scores_pane(now)], week)
    assert verdict.status == "ok"
    assert np.isfinite(verdict.evidence)
    assert abs(verdict.details["mean"]) > 1
    # What else such a model does is still seen: at the cuts, where no score is wild.
    now["challenger"][:] = 1.0
    now["challenger"][0] = 250.0
    said = run([scores_pane(now)] * 3, week)
    assert said[first(said) - 1].statistic == "crossed"


def test_where_the_reference_has_such_scores_too_differences_have_no_bound():
    rng = np.random.default_rng(8)

    def pane(shift=0.0):
        x = rng.normal(0, 5, 80)
        return scores_pane({"champion": x, "challenger": x + shift + rng.normal(0, 2, 80)})

    reference = reference_of([pane() for _ in range(60)])
    assert RULE.learned(reference, Subject(*PAIR))["bounded"] == 0.0
    assert {v.status for v in run([pane() for _ in range(60)], reference)} == {"ok"}
    assert first(run([pane(4.0) for _ in range(6)], reference)) is not None


@pytest.mark.parametrize("unit", [1.0, 100.0])
def test_scores_of_any_size_are_compared_in_their_unit(unit):
    rng = np.random.default_rng(9)

    def pane(shift=0.0):
        x = rng.normal(0, 5, 80)
        # Panes hold differences in parts of the unit.
        return scores_pane({"champion": x, "challenger": x + shift + rng.normal(0, 2, 80)}, scale="real")

    reference = reference_of([pane() for _ in range(60)])._replace(scale="real")
    rule = RULE.model_copy(update={"floor": 0.5 * unit, "cut_floor": 0.5})
    quiet = run([pane() for _ in range(60)], reference, rule, scale="real", unit=unit)
    loud = run([pane(2.0) for _ in range(12)], reference, rule, scale="real", unit=unit)
    assert {v.status for v in quiet} == {"ok"}
    alarm = loud[first(loud) - 1]
    assert alarm.value == pytest.approx(2.0 * unit, rel=0.25)
    assert alarm.details["mean"] == pytest.approx(2.0 * unit, rel=0.5)


def test_beyond_doubt_but_too_small_to_matter_does_not_alarm(week):
    bad = hours(np.random.default_rng(10), 6, 5_000, challenger=0.06)
    strict = RULE.model_copy(update={"floor": 0.0, "cut_floor": 0.0})
    given = {"tolerance": 0.0}
    assert first(run(bad, week, RULE.model_copy(update=given))) is None
    assert first(run(bad, week, strict.model_copy(update=given))) is not None


# --- what is learned, computed again from the raw scores ----------------------------------------------------------------


@pytest.fixture(scope="module")
def past():
    rng = np.random.default_rng(11)
    return [draw(rng, 150, challenger=rng.normal(0.2, 0.1)) for _ in range(40)]


@pytest.fixture(scope="module")
def taught(past):
    return RULE.learned(reference_of([scores_pane(p) for p in past]), Subject(*PAIR))


def test_the_standing_difference_and_the_spread_are_those_of_the_scores(past, taught):
    d = np.concatenate([p["challenger"] - p["champion"] for p in past])
    assert taught["mean"] == pytest.approx(d.mean(), abs=1e-6)
    assert taught["spread"] == pytest.approx(np.concatenate([p["champion"] for p in past]).std(), rel=0.05)
    assert (taught["blocks"], taught["bounded"]) == (40, 1.0)


def test_the_cuts_are_quantiles_of_the_partner_and_their_differences_those_of_the_distributions(past, taught):
    champion, challenger = (
        bins_of(np.concatenate([p[name] for p in past]), "probability") >> 4 for name in ("champion", "challenger")
    )
    levels = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]
    cuts = np.unique(np.quantile(champion, levels, method="inverted_cdf"))
    assert [taught[f"cut_{i}"] for i in range(cuts.size)] == cuts.tolist()
    for i, cut in enumerate(cuts):
        apart = (champion <= cut).mean() - (challenger <= cut).mean()
        assert taught[f"cut_{i}_difference"] == pytest.approx(apart)


def test_the_tolerance_of_the_mean_is_the_least_under_which_the_reference_is_no_evidence(past, taught):
    def peak(margin):
        """Give the most evidence, by Fan's bound written out for every difference, and R as a plain loop has it."""
        lambdas = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95)
        r, most = np.zeros((2, len(lambdas))), 0.0
        for p in past:
            d = p["challenger"] - p["champion"]
            for side, sign in enumerate((1, -1)):
                g = (sign * (d - taught["mean"]) - margin) / (1 + abs(taught["mean"]) + margin)
                for i, by in enumerate(lambdas):
                    r[side, i] = (1 + r[side, i]) * np.exp(by * g.sum() + (np.log1p(-by) + by) * np.square(g).sum())
            most = max(most, r.mean())
        return most

    tried = [0.0, *np.geomspace(1e-4, 1.0, 48)]
    enough = next(margin for margin in tried if peak(margin) <= len(past) ** ROOM)
    assert taught["mean_tolerance"] == pytest.approx(enough)
    assert enough > 0


def test_the_tolerance_at_cuts_is_the_least_under_which_the_reference_is_no_evidence(past, taught):
    lambdas = (0.05, 0.2, 0.5, 0.8, 0.95)
    cuts = [i for i in range(9) if f"cut_{i}" in taught]

    def peak(margin):
        """Give the most evidence at all cuts together, request by request, and R as a plain loop has it."""
        r, most = np.zeros((len(cuts), 2, 5)), 0.0
        for p in past:
            ours, theirs = (bins_of(p[name], "probability") >> 4 for name in ("challenger", "champion"))
            for i in cuts:
                x = (ours > taught[f"cut_{i}"]).astype(int) - (theirs > taught[f"cut_{i}"])
                for side, sign in enumerate((1, -1)):
                    s = sign * taught[f"cut_{i}_difference"] + margin
                    for j, by in enumerate(lambdas):
                        r[i, side, j] = (1 + r[i, side, j]) * np.prod(1 + by / (1 + s) * (sign * x - s))
            most = max(most, r.mean())
        return most

    tolerance = taught["cut_tolerance"]
    assert peak(tolerance) <= len(past) ** ROOM
    # There is no smaller one worth trying.
    assert tolerance == 0 or peak(tolerance - 0.02) > len(past) ** ROOM


def test_partners_that_wander_teach_to_tolerate_that_they_do():
    rng = np.random.default_rng(12)

    def wander(many):
        return [scores_pane(draw(rng, 60, challenger=rng.normal(0, 0.3))) for _ in range(many)]

    reference, later = reference_of(wander(300)), wander(300)
    learned = RULE.learned(reference, Subject(*PAIR))["mean_tolerance"]
    assert learned > RULE.learned(reference_of(hours(rng, 300)), Subject(*PAIR))["mean_tolerance"]
    loose = RULE.model_copy(update={"floor": 0.0, "cut_floor": 0.0})
    assert not any(v.alarmed for v in run(later, reference, loose))
    none = loose.model_copy(update={"tolerance": 0.0})
    assert sum(v.alarmed for v in run(later, reference, none)) > 5


def test_false_pages_stay_within_the_budget():
    # A level of 20 is where the bound can be tested: at most one alarm in 20 windows is expected.
    rng = np.random.default_rng(13)
    strict = RULE.model_copy(update={"floor": 0.0, "cut_floor": 0.0, "min_events": 1})
    said = run(hours(rng, 400, 30), reference_of(hours(rng, 100, 30)), strict, level=math.log(20))
    alarms = sum(v.alarmed for v in said)
    assert alarms <= stats.poisson.ppf(0.99, 400 / 20)


# --- too little ---------------------------------------------------------------------------------------------------------


def test_a_short_reference_is_no_data_unless_the_tolerance_is_given():
    pane = month(days=1)[0]
    verdict, state = RULE.judge(case(pane, PAIR, reference_of(month(days=4))), {"kept": [1.0]}, LEVEL)
    assert verdict.status == "no data"
    assert "4 of 8 blocks of challenger 1 and champion" in verdict.reason
    assert state == {"kept": [1.0]}
    given = RULE.model_copy(update={"tolerance": 0.005, "floor": 0.01})
    rng = np.random.default_rng(14)
    said = run(hours(rng, 6, 400, challenger=1.0), None, given)
    assert {v.statistic for v in said} == {"mean"}
    assert first(said) is not None


def test_a_window_without_a_pair_is_no_data_and_forgets_nothing(week):
    asked = case(scores_pane({"champion": np.array([0.5])}), PAIR, week)
    verdict, state = RULE.judge(asked, {"kept": [1.0]}, LEVEL)
    assert (verdict.status, state) == ("no data", {"kept": [1.0]})


@pytest.mark.parametrize("n", [1, 5])
def test_hours_of_a_few_events_add_up(week, n):
    said = run(hours(np.random.default_rng(15), 70, n, challenger=1.5), week)
    assert np.isfinite([v.evidence for v in said]).all()
    assert said[first(said) - 1].n >= RULE.min_events


def test_identical_partners_stay_quiet_and_the_first_difference_is_not_forgiven():
    def pane(shift):
        champion = np.random.default_rng(16).random(500) * 0.5
        return scores_pane({"champion": champion, "challenger": champion + shift})

    reference = reference_of([pane(0.0)] * 10)
    assert {v.status for v in run([pane(0.0)] * 5, reference)} == {"ok"}
    assert first(run([pane(0.2)] * 2, reference)) == 1


def test_the_largest_disagreements_are_told(week):
    extremes = (Extreme("challenger", "1", "champion", "r7", 0.9, 0.1),)
    (verdict,) = run(hours(np.random.default_rng(17), 1), week, extremes=extremes)
    assert verdict.details["largest"] == [{"request_id": "r7", "score": 0.9, "partner_score": 0.1}]


def test_rules_choose_models_and_partners():
    pane = month(days=1)[0]
    of_canary = RULE.model_copy(update={"partner": "canary"})
    assert of_canary.subjects(pane, []) == [Subject("champion", "1", "canary")]
    assert len(RULE.subjects(pane, [])) == 2
