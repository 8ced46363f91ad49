import itertools
import math

import msgspec
import pytest

from birdwatch.detect import attribution as a
from birdwatch.detect.attribution import (
    Company,
    Judged,
    Seen,
    attribute,
    because,
    explain_inputs,
    explain_pair,
    explain_scores,
)
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.detect.witness import Cause, Witness, cause_of, remembering, standing

from .scenes import case

PAIRS = PairedRule(name="pairs")
SCORES = DistributionRule(name="scores")
INPUTS = DistributionRule(name="inputs", of="features")
STATUSES = {True: "drifting", False: "ok", None: "no data"}

CHALLENGER, CHAMPION = Subject("challenger", "1", "champion"), Subject("champion", "1", "canary")
CHALLENGER_FIELDS = ("challenger", "1", "champion")


def told(rule, subject, moved=True, **more):
    more = {"effect": 0.3, **more}
    return rule.say(case({}, subject), STATUSES[moved], "because", statistic="ks", value=0.4, tolerance=0.1, **more)


def scores(moved, rule=SCORES):
    return [Judged(rule, told(rule, (model, "1"), it)) for model, it in moved.items()]


def inputs(moved, rule=INPUTS):
    return [
        Judged(rule, told(rule, ("", "", "", name), it, details={"told": f"{name} doubled"}))
        for name, it in moved.items()
    ]


def active(findings):
    return {(f.rule, f.subject.model, f.attribution, f.severity) for f in findings if f.active}


QUIET = {CHALLENGER: None, CHAMPION: None}


# --- the table ---------------------------------------------------------------------------------------------------------

TABLE = {
    # alarm, model moved, partner moved
    (False, False, False): "",
    (False, True, True): a.INPUTS_CHANGED,
    (False, True, False): a.DRIFTS_ALONE,
    (False, False, True): a.DRIFTS_ALONE,
    (True, True, False): a.MODEL_CHANGED,
    (True, False, False): a.MODEL_CHANGED,
    (True, False, True): a.PARTNER_CHANGED,
    (True, True, True): a.INPUTS_CHANGED_AND_DIFFER,
}


@pytest.mark.parametrize("seen", list(itertools.product([False, True], repeat=3)))
def test_the_table(seen):
    assert attribute(*seen) == TABLE[seen]


@pytest.mark.parametrize(("model", "partner"), list(itertools.product([False, True, None], repeat=2)))
def test_where_watched_inputs_moved_an_alarm_is_theirs_whatever_the_scores_show(model, partner):
    assert attribute(alarm=True, model=model, partner=partner, inputs=True) == a.INPUTS_CHANGED_AND_DIFFER
    quiet = attribute(alarm=False, model=model, partner=partner, inputs=True)
    assert quiet == attribute(alarm=False, model=model, partner=partner)


def test_where_nobody_judged_the_scores_it_does_not_say_who():
    assert attribute(alarm=True, model=None, partner=None) == a.PAIR_CHANGED
    assert attribute(alarm=True, model=False, partner=None) == a.PAIR_CHANGED
    assert attribute(alarm=True, model=True, partner=None) == a.MODEL_CHANGED
    assert attribute(alarm=False, model=None, partner=None) == ""


def test_a_canary_that_changed_is_to_be_looked_at():
    assert attribute(alarm=True, model=False, partner=True, canary=True) == a.CANARY_CHANGED
    assert attribute(alarm=True, model=None, partner=True, canary=True) == a.CANARY_CHANGED
    assert attribute(alarm=True, model=False, partner=False, canary=True) == a.MODEL_CHANGED


# --- what is told of a pair --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "severity", "says"),
    [
        (Seen(model=True, partner=False), "page", "champion stood still, so challenger 1 changed"),
        (Seen(model=False, partner=True), "page", "challenger 1 stood still, so champion changed"),
        (Seen(model=True, partner=True), "ticket", "inputs changed (the scores of both moved), and the two differ"),
        (Seen(model=False), "page", "nobody could judge whether the scores of champion moved"),
        (
            Seen(model=True, partner=False, inputs=(inputs({"rain": True})[0].verdict,)),
            "ticket",
            "inputs changed (rain: rain doubled)",
        ),
    ],
)
def test_an_alarm_of_a_pair_is_told_with_what_its_cause_was_read_off(seen, severity, says):
    cause = attribute(alarm=True, model=seen.model, partner=seen.partner, inputs=bool(seen.inputs))
    found = explain_pair(Judged(PAIRS, told(PAIRS, CHALLENGER_FIELDS)), cause, because(CHALLENGER, cause, seen))
    assert (found.active, found.severity, found.attribution, found.subject) == (True, severity, cause, CHALLENGER)
    assert found.reason.startswith("because: ")
    assert says in found.reason


def test_a_canary_that_changed_is_told_as_one():
    said = because(CHAMPION, a.CANARY_CHANGED, Seen(model=False, partner=True))
    assert said == "champion 1 stood still, so canary changed, look at it before you trust it"


def test_severity_is_capped_by_the_rule_and_how_many_windows_it_waits_is_told():
    rule = PAIRS.model_copy(update={"severity": "info", "for_windows": 3})
    found = explain_pair(Judged(rule, told(rule, CHALLENGER_FIELDS)), a.MODEL_CHANGED, "")
    assert (found.severity, found.for_windows) == ("info", 3)


def test_how_far_it_moved_since_when_and_what_it_cost_is_told_with_the_runbook():
    rule = PAIRS.model_copy(update={"runbook": "https://wiki/pairs", "keep_firing_for": 5, "flap_windows": 0})
    verdict = told(rule, CHALLENGER_FIELDS, evidence=9.0, threshold=math.log(4380), details={"since": 42})
    found = explain_pair(Judged(rule, verdict), a.MODEL_CHANGED, "")
    assert (found.effect, found.since, found.evidence, found.cost) == (0.3, 42, 9.0, pytest.approx(1 / 4380))
    assert (found.runbook, found.keep_firing_for, found.flap_windows) == ("https://wiki/pairs", 5, 0)
    calm = a.plain(Judged(rule, told(rule, CHALLENGER_FIELDS, moved=False, details={"since": 42})))
    assert (calm.since, calm.cost) == (None, None)


def test_a_rule_that_fails_is_told_but_wakes_nobody():
    failed = PAIRS.say(case({}, CHALLENGER_FIELDS), "error", "it broke")
    found = a.plain(Judged(PAIRS, failed))
    assert (found.active, found.severity, found.attribution) == (True, "ticket", a.RULE_FAILED)


# --- what is told of scores and inputs ---------------------------------------------------------------------------------


def test_inputs_that_changed_are_one_ticket_and_silence_the_rest():
    found = explain_scores(scores({"challenger": True, "champion": True, "canary": True}), QUIET)
    assert active(found) == {("scores", "", a.INPUTS_CHANGED, "ticket")}
    (ticket,) = [f for f in found if f.active]
    for said in ("challenger", "champion", "canary"):
        assert f"{said} (KS 0.40)" in ticket.reason
    assert [f.subject for f in found] == [Subject()]


def test_what_did_not_move_with_the_inputs_and_which_inputs_moved_is_told():
    rain = inputs({"rain": True})[0].verdict
    (ticket,) = explain_scores(
        scores({"challenger": True, "champion": True}) + scores({"canary": False}), QUIET, [rain]
    )[-1:]
    assert "those of canary did not" in ticket.reason
    assert "of the inputs moved rain: rain doubled" in ticket.reason


def test_models_that_moved_together_and_differ_are_named():
    alarms = {CHALLENGER: a.INPUTS_CHANGED_AND_DIFFER, CHAMPION: None}
    found = explain_scores(scores({"challenger": True, "champion": True}), alarms)
    assert "challenger 1 and champion differ on them" in found[-1].reason


def test_a_model_that_drifts_alone_is_a_ticket_of_its_own():
    found = explain_scores(scores({"challenger": True, "champion": False}), QUIET)
    assert active(found) == {("scores", "challenger", a.DRIFTS_ALONE, "ticket")}
    assert "requests show no difference to champion" in next(f.reason for f in found if f.active)


@pytest.mark.parametrize("cause", [a.MODEL_CHANGED, a.INPUTS_CHANGED_AND_DIFFER, a.PAIR_CHANGED])
def test_what_an_alarm_of_its_pair_says_already_is_not_said_of_the_scores_too(cause):
    assert active(explain_scores(scores({"challenger": True}), {CHALLENGER: cause})) == set()


def test_an_alarm_that_is_another_models_fault_does_not_silence_what_drifts():
    found = explain_scores(scores({"challenger": True}), {CHALLENGER: a.PARTNER_CHANGED})
    assert active(found) == {("scores", "challenger", a.DRIFTS_ALONE, "ticket")}


def test_drift_without_a_partner_has_no_known_cause():
    found = explain_scores(scores({"other": True}), QUIET)
    assert active(found) == {("scores", "other", a.UNKNOWN, "ticket")}
    assert active(explain_scores(scores({"other": True}), {})) == {("scores", "other", a.UNKNOWN, "ticket")}


def test_a_quiet_window_is_told_as_clean_for_every_subject_and_for_the_fleet():
    found = explain_scores(scores({"challenger": False, "champion": False}), QUIET)
    assert active(found) == set()
    assert {f.subject.model for f in found} == {"challenger", "champion", ""}


def test_what_could_not_be_judged_counts_neither_for_nor_against():
    found = explain_scores(scores({"challenger": None}), QUIET)
    assert [f for f in found if f.subject.model] == []


def test_scores_of_a_rule_of_little_severity_say_little():
    info = SCORES.model_copy(update={"severity": "info"})
    for moved in ({"challenger": True, "champion": True}, {"challenger": True}, {"other": True}):
        assert {f.severity for f in explain_scores(scores(moved, info), QUIET) if f.active} == {"info"}


def test_an_input_that_moved_alone_is_told_and_not_where_it_was_said_that_inputs_changed():
    moved = inputs({"rain": True, "wind": False, "visib": None})
    found = explain_inputs(moved, silent=False)
    assert [(f.subject.feature, f.active, f.attribution) for f in found] == [
        ("rain", True, a.INPUT_MOVED),
        ("wind", False, ""),
    ]
    assert [f.subject.feature for f in explain_inputs(moved, silent=True)] == ["wind"]


@pytest.mark.parametrize("severity", ["page", "ticket", "info"])
def test_an_input_wakes_nobody(severity):
    rule = INPUTS.model_copy(update={"severity": severity})
    (found,) = explain_inputs(inputs({"rain": True}, rule), silent=False)
    assert found.severity == min(severity, "ticket", key=["info", "ticket", "page"].index)


def test_a_rule_that_must_have_data_says_when_it_has_none():
    asked = SCORES.model_copy(update={"must_have_data": True, "severity": "page"})
    found = explain_scores(scores({"challenger": None}, asked), QUIET)
    assert active(found) == {("scores", "challenger", a.NO_DATA, "page")}


# --- witnesses, and causes that stand ----------------------------------------------------------------------------------


def witness(moved=None, moved_inputs=None, asked=None):
    answers = {"scores": scores(moved or {}), "inputs": inputs(moved_inputs or {})}

    def ask(rule):
        if asked is not None:
            asked.append(rule.name)
        return [judged.verdict for judged in answers[rule.name]]

    return Witness([PAIRS, SCORES, INPUTS], ask)


def alarm(*, alarmed=True, moved=True, end=7):
    return msgspec.structs.replace(told(PAIRS, CHALLENGER_FIELDS, moved, alarmed=alarmed), end=end)


def test_a_witness_is_asked_once_and_only_when_somebody_wants_to_know():
    asked = []
    known = witness({"challenger": True, "champion": False}, {"rain": True}, asked)
    assert cause_of(alarm(moved=False), {}, known, canary=False) is None
    assert asked == []
    for _ in range(3):
        seen = known.seen(CHALLENGER)
    assert (seen.model, seen.partner, [v.subject.feature for v in seen.inputs]) == (True, False, ["rain"])
    assert sorted(asked) == ["inputs", "scores"]


def test_a_witness_knows_only_what_could_be_judged_and_only_of_the_version_in_question():
    known = witness({"challenger": None, "champion": True})
    assert known.seen(CHALLENGER) == Seen(model=None, partner=True)
    assert witness({"challenger": True}).seen(Subject("challenger", "2", "champion")).model is None


def test_a_cause_is_read_when_the_evidence_is_enough_and_stands_while_the_alarm_does():
    guilty = cause_of(alarm(), {}, witness({"challenger": True, "champion": False}), canary=False)
    assert (guilty.what, guilty.told) == (a.MODEL_CHANGED, 7)
    before = remembering({}, guilty)
    calm = witness({"challenger": False, "champion": True})
    assert cause_of(alarm(alarmed=False, end=8), before, calm, canary=False) == guilty
    assert cause_of(alarm(alarmed=False, moved=False, end=8), before, calm, canary=False) is None


def test_a_cause_is_read_again_with_new_evidence_and_is_told_since_it_changed():
    inputs_moved = cause_of(alarm(), {}, witness(moved_inputs={"rain": True}), canary=False)
    assert inputs_moved.what == a.INPUTS_CHANGED_AND_DIFFER
    again = cause_of(alarm(end=8), remembering({}, inputs_moved), witness(moved_inputs={"wind": True}), canary=False)
    assert (again.what, again.told) == (a.INPUTS_CHANGED_AND_DIFFER, 7)
    assert "wind" in again.why
    calm = cause_of(alarm(end=9), remembering({}, again), witness({"champion": False}), canary=False)
    assert (calm.what, calm.told) == (a.MODEL_CHANGED, 9)


def test_causes_that_stand_are_given_by_pair_and_rule():
    first, second = Cause("x", "", 5), Cause("y", "", 3)
    states = {
        "pairs": {CHALLENGER: remembering({"kept": []}, first), CHAMPION: {"kept": []}},
        "disagreement": {CHALLENGER: remembering({}, second)},
    }
    assert standing(states) == {CHALLENGER: {"disagreement": second, "pairs": first}}
    assert "cause" not in remembering({"kept": []}, None)


def test_of_many_third_models_the_first_few_are_named():
    def said(model, status):
        return Verdict(
            rule="pairs",
            kind="paired",
            start=0,
            end=60,
            subject=Subject(model, "1", "champion"),
            status=status,
            reason="",
        )

    pairs = [said(f"m{number}", "ok") for number in range(9)]
    seen = Witness([], lambda _: [], pairs).seen(Subject("m3", "1", "champion"))
    assert seen.with_partner == Company(("m0", "m1", "m2", "m4", "m5"), ())
    assert seen.with_model == Company()
