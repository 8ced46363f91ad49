"""Pairs judged by the hour beside rules that judge days: bad versions are named within hours, and each cause once."""

import contextlib
import copy
import functools
import math
import random

import numpy as np
import pytest

from birdwatch.alerts.lifecycle import advance
from birdwatch.detect import attribution as a
from birdwatch.detect.frozen import from_document
from birdwatch.detect.judge import Judge
from birdwatch.detect.rules import KINDS, RuleSet
from birdwatch.detect.sourcing import freeze
from birdwatch.detect.spending import account
from birdwatch.detect.state import blamed_windows
from birdwatch.detect.verdict import read_verdicts
from birdwatch.windows.pane import merge
from birdwatch.windows.store import Source, Store

from .scenes import DAY, HOUR, answers_pane, control, draw, inputs_pane, scores_pane

PAIRS = {"name": "pairs", "kind": "paired", "window": "1h", "reference": {"trailing": "8d"}, "min_events": 50}
APART = {**PAIRS, "name": "apart", "kind": "disagreement"}
SCORES = {"name": "scores", "kind": "distribution", "reference": {"trailing": "8d"}}
INPUTS = {**SCORES, "name": "inputs", "of": "features", "window": "6h", "min_events": 50}
SLA = {"name": "sla", "kind": "rate", "of": "sla_misses", "tolerance": 0.01, "window": "1h", "severity": "page"}
ALL = (SCORES, PAIRS, APART, INPUTS)

CALM = 9 * 24
"""So many hours are in order in each scene; from the end of the eighth day on they are judged."""
FROM = 8 * DAY


def rules(*said):
    return RuleSet(tuple(KINDS[r["kind"]].model_validate(r) for r in said))


def hourly(seed, stories, n=40):
    """Give the panes of hours; what an hour says of itself is keyword arguments of `draw`, None is that nothing came."""
    calm = [{}] * CALM
    if stories[:CALM] == calm and len(stories) > CALM:
        first, rng = calm_hours(seed, n)[0], copy.deepcopy(calm_hours(seed, n)[1])
        return first + panes_of(rng, stories[CALM:], n)
    return panes_of(np.random.default_rng(seed), stories, n)


@functools.cache
def calm_hours(seed, n):
    """Give what most scenes begin with, and the source of chance as it is after that."""
    rng = np.random.default_rng(seed)
    return panes_of(rng, [{}] * CALM, n), rng


def panes_of(rng, stories, n):
    panes = []
    for story in stories:
        if story is None:
            panes.append({})
            continue
        told = dict(story)
        version, rain, left_out = told.pop("version", "1"), told.pop("rain", 0.0), told.pop("without", ())
        values = {name: v for name, v in draw(rng, n, **told).items() if name not in left_out}
        panes.append(
            merge([scores_pane(values, version), answers_pane(n), inputs_pane(rain=rng.normal(5 + rain, 1, n))])
        )
    return panes


def filled(path, panes):
    store = Store(path, pane_seconds=HOUR)
    with store.transaction():
        store.put_sources([Source("canary", 0, "canary", 0.0, idle=False)])
        for hour, pane in enumerate(panes):
            if pane:
                store.put(hour * HOUR, pane)
    return store


@pytest.fixture
def scene(tmp_path):
    stores = []

    def make(stories, **how):
        stores.append(filled(tmp_path / f"{len(stories)}-{len(stores)}.db", hourly(1, stories, **how)))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def judge(store, ruleset, until, *, since=FROM):
    """Judge hour by hour, as panes close."""
    judging, findings = Judge(store, ruleset, judge_from=since), []
    for end in range(since, until * HOUR + 1, HOUR):
        with store.transaction():
            findings += judging.step(end)
    return findings


def pages(findings):
    return [f for f in findings if f.active and f.severity == "page"]


def causes(findings):
    return {(f.severity, f.attribution, f.subject.model, f.subject.version) for f in findings if f.active}


BAD = {"permute": True, "version": "2"}


def test_a_bad_version_is_named_within_hours_of_its_start(scene):
    store = scene([{}] * CALM + [BAD] * 8)
    control(store, 0, 0, "register", "challenger", "1")
    control(store, 1, CALM * HOUR, "register", "challenger", "2")
    findings = judge(store, rules(*ALL), CALM + 8)
    assert causes(findings) == {("page", a.MODEL_CHANGED, "challenger", "2")}
    first = pages(findings)[0]
    assert 1 <= first.ts / HOUR - CALM <= 3
    assert "challenger 2" in first.reason
    # Whose fault it is, third models tell at once.
    assert "champion agrees with canary as usual, so challenger 2 changed" in first.reason
    assert {v.start for v in read_verdicts(store, 0, 20 * DAY, "scores")} == {FROM}


def test_it_goes_on_until_it_is_rolled_back_and_the_day_after_is_calm(scene):
    store = scene([{}] * CALM + [BAD] * 6 + [{}] * 42)
    control(store, 0, 0, "register", "challenger", "1")
    control(store, 1, CALM * HOUR, "register", "challenger", "2")
    control(store, 2, (CALM + 6) * HOUR - 60, "rollback", "challenger", "2", to="1")
    findings = judge(store, rules(*ALL), CALM + 48)
    assert {f.subject.version for f in findings if f.active} == {"2"}
    assert max(f.ts for f in pages(findings)) <= (CALM + 6) * HOUR
    with store.transaction():
        alerts = advance(store, findings)
    assert [(x.state, x.severity, x.version) for x in alerts if x.severity == "page"] == [
        ("firing", "page", "2"),
        ("resolved", "page", "2"),
    ]


def test_hours_in_which_a_model_was_bad_are_no_reference_of_it(scene):
    store = scene([{}] * CALM + [{"permute": True}] * 6 + [{}] * 18)
    judge(store, rules(*ALL), CALM + 24)
    blamed = blamed_windows(store, 0, 20 * DAY)
    assert {model for model, _, _ in blamed} == {"challenger"}
    assert min(start for _, start, _ in blamed) <= (CALM + 2) * HOUR
    assert max(end for _, _, end in blamed) >= (CALM + 6) * HOUR


def test_a_day_is_judged_when_it_is_over_whatever_the_hours_say(scene):
    store = scene([{}] * (CALM + 30))
    alone, beside = (rules(SCORES), rules(*ALL))
    judge(store, beside, CALM + 30)
    told = read_verdicts(store, 0, 20 * DAY, "scores")
    assert {(v.start, v.end) for v in told} == {(8 * DAY, 9 * DAY), (9 * DAY, 10 * DAY)}
    again = scene([{}] * (CALM + 30))
    judge(again, alone, CALM + 30)
    by_themselves = read_verdicts(again, 0, 20 * DAY, "scores")
    assert [(v.subject, v.value, v.status) for v in told] == [(v.subject, v.value, v.status) for v in by_themselves]


def test_inputs_that_move_both_and_on_which_they_differ_wake_nobody(scene):
    store = scene([{}] * CALM + [{"inputs": 1.0, "rain": 3.0, "canary": 1.0}] * 24)
    findings = judge(store, rules(*ALL), CALM + 24)
    assert pages(findings) == []
    assert ("ticket", a.INPUTS_CHANGED_AND_DIFFER, "champion", "1") in causes(findings)
    assert ("ticket", a.INPUTS_CHANGED, "", "") in causes(findings)
    assert any("rain" in f.reason for f in findings if f.attribution == a.INPUTS_CHANGED_AND_DIFFER)


def test_an_input_that_moves_alone_is_told_as_just_that(scene):
    store = scene([{}] * CALM + [{"rain": 3.0}] * 24)
    findings = judge(store, rules(*ALL), CALM + 24)
    assert {(f.severity, f.attribution, f.subject.feature) for f in findings if f.active} == {
        ("ticket", a.INPUT_MOVED, "rain")
    }


def test_an_input_that_moves_with_all_models_is_told_with_them(scene):
    day = {**INPUTS, "window": "1d"}
    store = scene([{}] * CALM + [{"rain": 3.0, "inputs": 1.0}] * 24)
    findings = judge(store, rules(SCORES, PAIRS, day), CALM + 24)
    assert causes(findings) == {("ticket", a.INPUTS_CHANGED, "", "")}
    assert "of the inputs moved rain" in next(f.reason for f in findings if f.active)


def test_a_champion_that_changed_is_said_once_and_not_by_each_challenger(scene):
    store = scene([{}] * CALM + [{"champion": 1.2}] * 8)
    findings = judge(store, rules(SCORES, PAIRS, APART), CALM + 8)
    later = [f for f in findings if f.active and f.ts > (CALM + 4) * HOUR]
    assert {(f.subject.model, f.subject.partner, f.attribution) for f in later} == {
        ("champion", "canary", a.MODEL_CHANGED)
    }


@pytest.mark.parametrize("changed", ["champion", "canary"])
def test_nobody_is_blamed_for_what_another_model_did_not_even_in_the_first_hours(scene, changed):
    store = scene([{}] * CALM + [{changed: 1.2}] * 8)
    judge(store, rules(SCORES, PAIRS, APART), CALM + 8)
    assert {model for model, _, _ in blamed_windows(store, 0, 20 * DAY)} == {changed}


def test_a_canary_that_changed_is_a_page_to_look_at_it(scene):
    store = scene([{}] * CALM + [{"canary": 1.2}] * 8)
    findings = judge(store, rules(SCORES, PAIRS, APART), CALM + 8)
    later = [f for f in findings if f.ts > (CALM + 6) * HOUR]
    assert causes(later) == {("page", a.CANARY_CHANGED, "champion", "1")}
    assert "champion 1 agrees with challenger as usual, so canary changed" in pages(later)[0].reason


def test_two_rules_on_one_pair_tell_a_cause_once(scene):
    store = scene([{}] * CALM + [{"challenger": 1.2}] * 8)
    findings = judge(store, rules(SCORES, PAIRS, APART), CALM + 8)
    drifting = {v.rule for v in read_verdicts(store, CALM * HOUR, 20 * DAY) if v.status == "drifting"}
    assert drifting == {"pairs", "apart"}
    assert len({f.rule for f in pages(findings)}) == 1
    assert len({f.ts for f in pages(findings)}) == len(pages(findings)) >= 6


def test_a_version_that_was_bad_in_its_last_hour_is_told_and_blamed_all_the_same(scene):
    store = scene([{}] * CALM)
    with store.transaction():
        store.put(CALM * HOUR, *hourly(5, [BAD], n=400))
    control(store, 0, 0, "register", "challenger", "1")
    control(store, 1, CALM * HOUR, "register", "challenger", "2")
    control(store, 2, (CALM + 1) * HOUR - 60, "register", "challenger", "3")
    control(store, 3, (CALM + 1) * HOUR - 60, "retire", "challenger", "2")
    findings = judge(store, rules(SCORES, APART), CALM + 1)
    assert [v.alarmed for v in read_verdicts(store, CALM * HOUR, 20 * DAY, "apart") if v.subject.version == "2"] == [
        True
    ]
    assert pages(findings) != []
    assert blamed_windows(store, 0, 20 * DAY) == [("challenger", CALM * HOUR, (CALM + 1) * HOUR)]


def test_tolerances_that_were_frozen_for_other_settings_of_a_rule_stop_nothing(scene):
    store = scene([{}] * (CALM + 2))
    document = freeze(store, 0, FROM, HOUR, name="calm", rules=rules({**PAIRS, "tolerance": 0.005}).rules)
    judging = Judge(store, rules(PAIRS), judge_from=FROM, references=[from_document(document, "calm")])
    with store.transaction():
        judging.step((CALM + 2) * HOUR)
    assert {v.status for v in read_verdicts(store, FROM, 20 * DAY)} <= {"ok", "error", "no data"}


# --- what rules may be told ---------------------------------------------------------------------------------------------


def test_a_rule_that_only_tries_says_what_it_would_have_raised(scene):
    store = scene([{}] * CALM + [{"permute": True}] * 4)
    findings = judge(store, rules({**APART, "dry_run": True}), CALM + 4)
    found = [f for f in findings if f.active]
    assert {f.severity for f in found} == {"info"}
    assert all(f.reason.startswith("dry run, this would have been a page: ") for f in found)


def test_a_muted_rule_judges_and_tells_nobody(scene):
    store = scene([{}] * CALM + [{"permute": True}] * 4)
    assert judge(store, rules({**APART, "muted": True}), CALM + 4) == []
    assert "drifting" in {v.status for v in read_verdicts(store, 0, 20 * DAY)}
    assert blamed_windows(store, 0, 20 * DAY) == []


@pytest.mark.parametrize(
    "quiet",
    [
        {"dry_run": True},
        {"muted": True},
        {"severity": "ticket"},
    ],
)
def test_a_rule_that_says_less_does_not_silence_one_that_may_page(scene, quiet):
    store = scene([{}] * CALM + [{"permute": True}] * 8)
    # It would be the first of the two to speak: by name, and for a lower floor.
    first = {**APART, "name": "a-first", "floor": 0.0, "tolerance": 0.12, **quiet}
    assert pages(judge(store, rules(first, APART), CALM + 8)) != []


def test_a_rule_that_only_tries_blames_nobody(scene):
    store = scene([{}] * CALM + [{"permute": True}] * 4)
    judge(store, rules(SCORES, {**APART, "dry_run": True}), CALM + 4)
    assert blamed_windows(store, 0, 20 * DAY) == []


def test_an_alarm_that_has_to_last_is_told_with_its_patience(scene):
    store = scene([{}] * CALM + [{"permute": True}] * 6)
    findings = judge(store, rules({**APART, "for": 3}), CALM + 6)
    assert {f.for_windows for f in findings if f.active} == {3}
    with store.transaction():
        (alert,) = advance(store, findings)
    started = pages(findings)[0].ts
    assert alert.ts == started + 2 * HOUR


def test_a_rule_that_must_have_data_tells_of_none_each_time_and_of_data_that_come_again(scene):
    store = scene([{}] * CALM + [None] * 3 + [{}] * 4)
    findings = judge(store, rules({**SLA, "must_have_data": True}), CALM + 7)
    silent = [f for f in findings if f.active]
    assert [f.ts // HOUR - CALM for f in silent] == [1, 2, 3]
    assert {(f.severity, f.attribution) for f in silent} == {("page", a.NO_DATA)}
    with store.transaction():
        alerts = advance(store, findings)
    assert [x.state for x in alerts] == ["firing", "resolved"]


def test_it_tells_of_none_where_nothing_came_from_any_model_and_that_they_are_back(scene):
    store = scene([{}] * CALM + [None] * 3 + [{}] * 4)
    findings = judge(store, rules({**PAIRS, "must_have_data": True}), CALM + 7)
    assert [f.ts // HOUR - CALM for f in findings if f.active] == [1, 2, 3]
    with store.transaction():
        alerts = advance(store, findings)
    assert [x.state for x in alerts] == ["firing", "resolved"]


# --- the budget ---------------------------------------------------------------------------------------------------------


def test_the_level_does_not_fall_at_night_when_fewer_are_seen(scene):
    store = scene([{}] * (CALM + 6) + [{"without": ("challenger",)}] * 6 + [{}] * 6)
    judge(store, rules(PAIRS), CALM + 18)
    levels = {v.threshold for v in read_verdicts(store, FROM, 20 * DAY) if v.threshold is not None}
    assert sorted(levels) == pytest.approx([math.log(2 * 720)])


def test_an_alarm_and_its_evidence_outlast_an_hour_in_which_nothing_came(scene):
    store = scene([{}] * (CALM - 1) + [None])
    with store.transaction():
        for hour, missed in ((CALM, 2), (CALM + 1, 2), (CALM + 3, 2)):  # of 40 each, and 1 % is in order
            store.put(hour * HOUR, answers_pane(40, missed=missed))
    judge(store, rules(SLA), CALM + 4)
    evidence = [v.evidence for v in read_verdicts(store, CALM * HOUR, 20 * DAY) if v.evidence is not None]
    assert evidence[-1] > evidence[-2] > evidence[-3]


def test_the_first_looks_are_not_cheap(scene):
    # The day's rule has not looked yet when the hour's does for the first time, and shares the budget all the same.
    store = scene([{}] * (CALM + 24))
    page = {**SCORES, "severity": "page"}
    judge(store, rules(page, PAIRS), CALM + 24)
    levels = [v.threshold for v in read_verdicts(store, 0, 20 * DAY, "pairs") if v.threshold is not None]
    assert levels == pytest.approx([math.log(2 * 720 + 3 * 30)] * len(levels))


def test_what_was_looked_at_is_entered_at_the_level_it_was_held_to(scene):
    store = scene([{}] * (CALM + 24))
    judge(store, rules(PAIRS), CALM + 24)
    assert account(store).spent["pairs"].looks == 2 * 48
    assert account(store).expected == pytest.approx(2 * 48 / (2 * 720))


# --- killed, merged, replayed -------------------------------------------------------------------------------------------

EVENTFUL = (
    [{}] * CALM
    + [{"permute": True}] * 4
    + [None] * 3
    + [{"rain": 3.0, "inputs": 1.0}] * 8
    + [{"canary": 1.2}] * 8
    + [BAD] * 6
    + [{}] * 6
)


def everything(store):
    """Give all that the judge keeps, as bytes."""
    rows = [
        tuple(row)
        for table in ("verdicts", "states", "blamed", "spending")
        for row in store.connection.execute(f"SELECT * FROM {table}")  # noqa: S608
    ]
    return rows, store.noted("judged_until", {}), store.noted("watched", {})


@pytest.fixture(scope="module")
def eventful():
    return hourly(2, EVENTFUL)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, eventful):
    store = filled(tmp_path_factory.mktemp("unbroken") / "store.db", eventful)
    controls(store)
    findings = judge(store, rules(*ALL, SLA), len(eventful))
    yield findings, everything(store)
    store.close()


def controls(store):
    control(store, 0, 0, "register", "challenger", "1")
    control(store, 1, (len(EVENTFUL) - 12) * HOUR, "register", "challenger", "2")
    control(store, 2, (len(EVENTFUL) - 6) * HOUR - 1, "rollback", "challenger", "2", to="1")


def test_the_scene_has_something_of_everything(unbroken):
    findings, (rows, _, _) = unbroken
    assert {f.attribution for f in findings if f.active} >= {a.MODEL_CHANGED, a.INPUT_MOVED}
    assert any(f.over for f in findings)
    assert len(rows) > 300


def attempt_in_vain(store, judging, end):
    with contextlib.suppress(InterruptedError), store.transaction():
        judging.step(end)
        raise InterruptedError


@pytest.mark.parametrize("way", ["a new process", "rolled back first", "all at once"])
def test_however_it_is_interrupted_it_says_and_keeps_the_same(tmp_path, eventful, unbroken, way):
    store = filled(tmp_path / "store.db", eventful)
    controls(store)
    judging, findings = Judge(store, rules(*ALL, SLA), judge_from=FROM), []
    ends = [len(eventful) * HOUR] if way == "all at once" else range(FROM, len(eventful) * HOUR + 1, HOUR)
    for end in ends:
        if way == "a new process" and end > (CALM - 2) * HOUR:
            judging = Judge(store, rules(*ALL, SLA), judge_from=FROM)
        if way == "rolled back first" and end > (CALM - 2) * HOUR:
            attempt_in_vain(store, judging, end)
        with store.transaction():
            findings += judging.step(end)
    assert findings == unbroken[0]
    assert everything(store) == unbroken[1]
    store.close()


def test_panes_merged_of_parts_in_any_order_or_stored_anew_say_the_same(tmp_path, eventful, unbroken):
    rng = random.Random(3)
    store = Store(tmp_path / "merged.db", pane_seconds=HOUR)
    hours = list(range(len(eventful)))
    rng.shuffle(hours)
    with store.transaction():
        store.put_sources([Source("canary", 0, "canary", 0.0, idle=False)])
        for hour in hours:
            pieces = list(eventful[hour].items())
            rng.shuffle(pieces)
            if pieces:
                # What several processes count of one pane are parts of it, added as they come.
                half = len(pieces) // 2
                store.put(hour * HOUR, merge([dict(pieces[half:]), dict(pieces[:half])]))
    controls(store)
    assert judge(store, rules(*ALL, SLA), len(eventful)) == unbroken[0]
    assert everything(store) == unbroken[1]
    store.close()
