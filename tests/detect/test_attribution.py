import pytest

from birdwatch.detect import attribution as a
from birdwatch.detect.attribution import Judged, attribute, explain
from birdwatch.detect.distribution import DistributionRule
from birdwatch.detect.paired import PairedRule
from birdwatch.detect.verdict import Subject

from .scenes import case

PAIRS, SCORES = PairedRule(name="pairs"), DistributionRule(name="scores")


def told(rule, subject, status, **more):
    return Judged(
        rule, rule.say(case({}, subject), status, "because", statistic="ks", value=0.4, tolerance=0.1, **more)
    )


def window(pairs, scores, canaries=("canary",), pair_rule=PAIRS, score_rule=SCORES):
    """Explain a window from {(model, partner): alarm} and {model: moved}."""
    statuses = {True: "drifting", False: "ok", None: "no data"}
    return explain(
        [told(pair_rule, (model, "1", partner), statuses[alarm]) for (model, partner), alarm in pairs.items()],
        [told(score_rule, (model, "1"), statuses[moved], effect=0.3) for model, moved in scores.items()],
        canaries,
    )


def active(found):
    return {(f.rule, f.subject.model, f.subject.partner, f.attribution, f.severity) for f in found.findings if f.active}


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


@pytest.mark.parametrize("seen", TABLE)
def test_the_table(seen):
    assert attribute(*seen) == TABLE[seen]


def test_where_nobody_judged_the_scores_it_does_not_say_who():
    assert attribute(alarm=True, model=None, partner=None) == a.PAIR_CHANGED
    assert attribute(alarm=True, model=True, partner=None) == a.MODEL_CHANGED
    assert attribute(alarm=True, model=None, partner=True, canary=True) == a.CANARY_CHANGED
    assert attribute(alarm=False, model=None, partner=None) == ""


def test_a_model_that_changed_is_a_page_that_names_it():
    found = window(
        {("challenger", "champion"): True, ("champion", "canary"): False},
        {"challenger": True, "champion": False, "canary": False},
    )
    assert active(found) == {("pairs", "challenger", "champion", a.MODEL_CHANGED, "page")}
    assert found.blamed == {"challenger"}
    page = next(f for f in found.findings if f.active)
    assert page.subject == Subject("challenger", "1", "champion")
    assert "champion stood still, so challenger 1 changed" in page.reason


def test_inputs_that_changed_are_one_ticket_and_silence_the_rest():
    found = window(
        {("challenger", "champion"): False, ("champion", "canary"): True},
        {"challenger": True, "champion": True, "canary": True},
    )
    assert active(found) == {("scores", "", "", a.INPUTS_CHANGED, "ticket")}
    assert found.blamed == set()
    ticket = next(f for f in found.findings if f.active)
    for said in ("challenger", "champion", "canary", "champion 1 and canary differ on them"):
        assert said in ticket.reason
    assert [f.subject for f in found.findings if not f.active] == [Subject("challenger", "1", "champion")]


def test_what_did_not_move_with_the_inputs_is_told():
    found = window(
        {("challenger", "champion"): False, ("champion", "canary"): False},
        {"challenger": True, "champion": True, "canary": False},
    )
    assert "those of canary did not" in next(f.reason for f in found.findings if f.active)


def test_a_canary_that_changed_is_a_page_to_look_at_it():
    found = window({("champion", "canary"): True}, {"champion": False, "canary": True})
    assert active(found) == {("pairs", "champion", "canary", a.CANARY_CHANGED, "page")}
    assert found.blamed == {"canary"}


def test_a_champion_that_changed_is_said_once_and_not_by_each_challenger():
    found = window(
        {("a", "champion"): True, ("b", "champion"): True, ("champion", "canary"): True},
        {"a": False, "b": False, "champion": True, "canary": False},
    )
    assert active(found) == {("pairs", "champion", "canary", a.MODEL_CHANGED, "page")}
    assert found.blamed == {"champion"}


def test_without_a_canary_the_challengers_say_that_the_champion_changed():
    found = window({("a", "champion"): True}, {"a": False, "champion": True})
    assert active(found) == {("pairs", "a", "champion", a.PARTNER_CHANGED, "page")}
    assert found.blamed == {"champion"}


def test_a_model_that_drifts_alone_is_a_ticket():
    found = window({("a", "champion"): False}, {"a": True, "champion": False})
    assert active(found) == {("scores", "a", "", a.DRIFTS_ALONE, "ticket")}
    assert found.blamed == set()


@pytest.mark.parametrize("pairs", [{}, {("a", "champion"): None}])
def test_drift_without_a_partner_has_no_known_cause(pairs):
    found = window(pairs, {"a": True})
    assert active(found) == {("scores", "a", "", a.UNKNOWN, "ticket")}


def test_a_quiet_window_is_told_as_clean_for_every_subject():
    found = window({("a", "champion"): False}, {"a": False, "champion": False})
    assert active(found) == set()
    assert {(f.rule, f.subject.model) for f in found.findings} == {
        ("pairs", "a"),
        ("scores", "a"),
        ("scores", "champion"),
        ("scores", ""),
    }


def test_what_could_not_be_judged_counts_neither_for_nor_against():
    found = window({("a", "champion"): None}, {"a": None, "champion": None})
    assert found.findings == []


def test_a_rule_that_fails_is_told_but_wakes_nobody():
    failed = told(PAIRS, ("a", "1", "champion"), "error")
    (finding,) = explain([failed], []).findings
    assert (finding.active, finding.severity, finding.attribution) == (True, "ticket", a.RULE_FAILED)


def test_severity_is_capped_by_the_rule():
    quiet = PAIRS.model_copy(update={"severity": "info"})
    found = window({("a", "champion"): True}, {"a": True, "champion": False}, pair_rule=quiet)
    assert {f.severity for f in found.findings if f.active} == {"info"}
    info = SCORES.model_copy(update={"severity": "info"})
    found = window({("a", "champion"): False}, {"a": True, "champion": True}, score_rule=info)
    assert {f.severity for f in found.findings if f.active} == {"info"}


def test_how_many_windows_a_rule_waits_is_told():
    patient = PAIRS.model_copy(update={"for_windows": 3})
    found = window({("a", "champion"): True}, {"a": True, "champion": False}, pair_rule=patient)
    assert [f.windows for f in found.findings if f.active] == [3]


def test_the_table_is_whole():
    assert len(TABLE) == 2**3
