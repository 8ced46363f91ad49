import numpy as np
import pytest

from birdwatch.alerts.lifecycle import advance
from birdwatch.detect import attribution as a
from birdwatch.detect.frozen import from_document, load, save
from birdwatch.detect.judge import Judge
from birdwatch.detect.rules import KINDS, RuleSet
from birdwatch.detect.sourcing import freeze
from birdwatch.detect.spending import account
from birdwatch.detect.state import blamed_windows, read_states
from birdwatch.detect.verdict import Subject, read_verdicts
from birdwatch.errors import ReferenceMissingError, SettingsError
from birdwatch.windows.pane import merge
from birdwatch.windows.store import Store

from .scenes import DAY, HOUR, answers_pane, control, daily, draw, fill, scores_pane

MONTH = [{}] * 28


def rules(*said):
    return RuleSet(tuple(KINDS[r["kind"]].model_validate(r) for r in said))


SCORES = {"name": "scores", "kind": "distribution"}
PAIRS = {"name": "pairs", "kind": "paired"}
APART = {"name": "apart", "kind": "disagreement"}
ALL = rules(SCORES, PAIRS, APART)


@pytest.fixture
def store(tmp_path):
    store = daily(tmp_path / "store.db")
    yield store
    store.close()


def judge(store, ruleset=ALL, *, since=28 * DAY, **more):
    return Judge(store, ruleset, judge_from=since, **more)


def run(store, judging, until):
    with store.transaction():
        return judging.step(until)


def active(findings):
    return [(f.ts // DAY, f.severity, f.attribution, f.subject.model, f.subject.version) for f in findings if f.active]


def test_a_bad_version_is_a_page_that_names_it_and_is_over_with_its_rollback(store):
    fill(store, [*MONTH, {}, {"permute": True, "version": "2"}, {"permute": True, "version": "2"}, {}])
    control(store, 0, 0, "register", "challenger", "1")
    control(store, 1, 29 * DAY, "register", "challenger", "2")
    control(store, 2, 31 * DAY - 60, "rollback", "challenger", "2", to="1")
    findings = run(store, judge(store), 32 * DAY)
    page = ("page", a.MODEL_CHANGED, "challenger", "2")
    # Its last day is told as well, and then it is over.
    assert active(findings) == [(30, *page), (31, *page)]
    over = {(f.rule, f.subject.version, f.ts // DAY, f.reason) for f in findings if f.over}
    assert over == {
        ("pairs", "1", 30, "challenger 1 was succeeded by challenger 2"),
        ("apart", "1", 30, "challenger 1 was succeeded by challenger 2"),
        ("scores", "1", 30, "challenger 1 was succeeded by challenger 2"),
        ("pairs", "2", 31, "challenger 2 was rolled back"),
        ("apart", "2", 31, "challenger 2 was rolled back"),
        ("scores", "2", 31, "challenger 2 was rolled back"),
    }
    with store.transaction():
        alerts = advance(store, findings)
    assert [(x.state, x.severity, x.model, x.version) for x in alerts] == [
        ("firing", "page", "challenger", "2"),
        ("resolved", "page", "challenger", "2"),
    ]


def test_inputs_that_change_are_one_ticket_for_the_fleet(store):
    fill(store, [*MONTH, {"inputs": 0.7}, {}])
    assert active(run(store, judge(store), 30 * DAY)) == [(29, "ticket", a.INPUTS_CHANGED, "", "")]


def test_a_canary_that_changes_is_named(store):
    fill(store, [*MONTH, {"canary": 1.0}])
    assert active(run(store, judge(store), 29 * DAY)) == [(29, "page", a.CANARY_CHANGED, "champion", "1")]
    assert blamed_windows(store, 28 * DAY, 29 * DAY) == [("canary", 28 * DAY, 29 * DAY)]


def test_a_bad_window_does_not_enter_the_reference_and_a_disrupted_one_does(store):
    fill(store, [*MONTH, {"permute": True}, {"inputs": 0.7}, {}])
    run(store, judge(store), 31 * DAY)
    last = {v.subject.model: v for v in read_verdicts(store, 30 * DAY, 31 * DAY, "scores")}
    assert last["challenger"].details["reference_blocks"] == 27
    assert last["champion"].details["reference_blocks"] == 28
    # Learned with the bad day, ninety per cent of requests would lie as near to each other as none do otherwise.
    apart = {v.subject.model: v for v in read_verdicts(store, 28 * DAY, 31 * DAY, "apart")}
    assert apart["challenger"].details["usual"] < 40


def test_what_a_rolled_back_version_did_is_no_reference(store):
    fill(store, [*MONTH[:20], *[{"version": "2"}] * 4, *MONTH[:5]])
    control(store, 0, 24 * DAY, "rollback", "challenger", "2", to="1")
    run(store, judge(store), 29 * DAY)
    found = {v.subject.model: v for v in read_verdicts(store, 0, 29 * DAY, "scores")}
    assert found["challenger"].details["reference_blocks"] == 24
    assert found["canary"].details["reference_blocks"] == 28


def test_a_new_version_inherits_its_predecessors_reference(store):
    fill(store, [*MONTH, {"version": "2"}])
    control(store, 0, 28 * DAY, "register", "challenger", "2")
    run(store, judge(store), 29 * DAY)
    verdict = next(v for v in read_verdicts(store, 0, 29 * DAY, "scores") if v.subject.version == "2")
    assert (verdict.status, verdict.details["reference_blocks"]) == ("ok", 28)


def test_each_window_is_judged_once_however_often_it_is_asked(store):
    fill(store, [*MONTH, {"inputs": 0.7}])
    first = judge(store)
    assert run(store, first, 29 * DAY - 1) == []
    assert active(run(store, first, 29 * DAY)) != []
    assert run(store, first, 29 * DAY) == []
    assert run(store, judge(store), 29 * DAY) == []


def test_window_by_window_or_all_at_once_or_restarted_gives_the_same(tmp_path):
    story = [*MONTH, {"permute": True}, {"inputs": 0.7}, {}, {}]
    told, kept = [], []
    for way in ("at once", "window by window", "restarted"):
        store = daily(tmp_path / f"{way}.db")
        fill(store, story)
        judging, findings = judge(store), []
        for until in (32 * DAY,) if way == "at once" else range(0, 32 * DAY + 1, DAY):
            judging = judge(store) if way == "restarted" else judging
            findings += run(store, judging, until)
        told.append(findings)
        kept.append((read_verdicts(store, 0, 40 * DAY), [read_states(store, name) for name in ("pairs", "scores")]))
        store.close()
    assert told[0] == told[1] == told[2]
    assert kept[0] == kept[1] == kept[2]


def test_a_transaction_that_fails_leaves_nothing_judged(store):
    fill(store, [*MONTH, {"inputs": 0.7}])
    judging = judge(store)

    def crash():
        with store.transaction():
            judging.step(29 * DAY)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        crash()
    assert read_verdicts(store, 0, 40 * DAY) == []
    assert active(run(store, judging, 29 * DAY)) == [(29, "ticket", a.INPUTS_CHANGED, "", "")]


def test_panes_before_the_start_are_only_reference(store):
    fill(store, [*MONTH, {}])
    run(store, judge(store, since=27.5 * DAY), 29 * DAY)
    assert {v.start for v in read_verdicts(store, 0, 40 * DAY)} == {28 * DAY}


def test_windows_begin_when_the_day_is_set_to_begin(tmp_path):
    store = Store(tmp_path / "hours.db", pane_seconds=HOUR)
    fill(store, [{}], first=9 * HOUR)
    run(store, judge(store, since=None, windows_start_seconds=8 * HOUR), 40 * HOUR)
    assert {(v.start, v.end) for v in read_verdicts(store, 0, 3 * DAY)} == {(8 * HOUR, 32 * HOUR)}
    store.close()


def test_rules_of_different_windows_begin_together_and_a_later_rule_begins_later(tmp_path):
    store = Store(tmp_path / "hours.db", pane_seconds=HOUR)
    fill(store, [{}] * 2)
    short = {"name": "sla", "kind": "rate", "of": "sla_misses", "tolerance": 0.01, "window": "6h"}
    run(store, judge(store, rules(SCORES, short), since=0), 12 * HOUR)
    run(store, judge(store, rules(SCORES, short, {**SCORES, "name": "later"}), since=0), 2 * DAY)
    starts = {name: [v.start for v in read_verdicts(store, 0, 3 * DAY, name)] for name in ("scores", "sla", "later")}
    assert sorted(set(starts["scores"])) == [0, DAY]
    assert sorted(set(starts["later"])) == [DAY]
    assert starts["sla"][0] == 0
    store.close()


def test_a_version_that_was_there_for_a_part_of_the_window_is_compared_with_that_part(tmp_path):
    store = Store(tmp_path / "hours.db", pane_seconds=HOUR)
    rng = np.random.default_rng(3)
    with store.transaction():
        for day in range(11):
            for hour, inputs in ((9, -1.0), (21, 1.0)):  # scores rise from morning to evening
                version = "2" if day == 10 and hour == 21 else "1"
                store.put(day * DAY + hour * HOUR, scores_pane(draw(rng, 400, inputs=inputs), version))
    findings = run(store, judge(store, since=10 * DAY), 11 * DAY)
    verdicts = {v.subject: v for v in read_verdicts(store, 0, 12 * DAY, "scores")}
    assert verdicts[Subject("challenger", "2")].status == "ok"
    assert verdicts[Subject("challenger", "1")].n == 400
    assert active(findings) == []
    store.close()


def test_a_frozen_reference_is_used_in_place_of_the_trailing_one(store, tmp_path):
    fill(store, [*MONTH, {"inputs": 0.7}])
    save(freeze(store, 0, 20 * DAY, DAY, name="calm"), tmp_path / "calm.json")
    run(store, judge(store, references=[tmp_path / "calm.json"]), 29 * DAY)
    verdicts = read_verdicts(store, 28 * DAY, 29 * DAY, "scores")
    assert {v.details["reference_blocks"] for v in verdicts} == {20}
    assert all("(KS) from calm" in v.reason for v in verdicts)


def test_a_rule_may_name_a_frozen_reference_by_name_or_file(store, tmp_path):
    fill(store, [*MONTH, {}])
    save(freeze(store, 0, 20 * DAY, DAY, name="calm"), tmp_path / "calm.json")
    for frozen, given in (("calm", [load(tmp_path / "calm.json")]), ("calm.json", [])):
        ruleset = rules({**SCORES, "name": frozen.replace(".", "-"), "reference": {"frozen": frozen}})
        run(store, judge(store, ruleset._replace(folder=tmp_path), references=given), 29 * DAY)
        verdicts = read_verdicts(store, 0, 29 * DAY, ruleset.rules[0].name)
        assert len(verdicts) == 3
        assert all("(KS) from calm" in v.reason for v in verdicts)
        store.note("judged_until", {})


def test_a_frozen_reference_that_is_missing_is_an_error_of_its_rule_until_it_is_there(store, tmp_path):
    fill(store, [*MONTH, {}, {}])
    missing = {**SCORES, "name": "missing", "reference": {"frozen": "calm.json"}}
    judging = judge(store, rules(SCORES, missing)._replace(folder=tmp_path))
    run(store, judging, 29 * DAY)
    found = read_verdicts(store, 0, 29 * DAY)
    assert {(v.rule, v.status) for v in found} == {("scores", "ok"), ("missing", "error")}
    assert all("make it with `birdwatch reference freeze" in v.reason for v in found if v.rule == "missing")
    save(freeze(store, 0, 20 * DAY, DAY, name="calm"), tmp_path / "calm.json")
    run(store, judging, 30 * DAY)
    assert {v.status for v in read_verdicts(store, 29 * DAY, 30 * DAY)} == {"ok"}


def test_a_reference_that_overlaps_or_has_other_blocks_is_an_error_and_stops_nothing(store):
    fill(store, [*MONTH, {}])
    with store.transaction():
        overlapping = freeze(store, 0, 29 * DAY, DAY, name="all")
        weekly = freeze(store, 0, 28 * DAY, 7 * DAY, name="weekly")

    for document, said in ((overlapping, "all overlaps the window"), (weekly, "weekly has blocks of 7d")):
        ruleset = rules({**SCORES, "name": document["name"]})
        findings = run(store, judge(store, ruleset, references=[from_document(document, "it")]), 29 * DAY)
        verdicts = read_verdicts(store, 0, 29 * DAY, document["name"])
        assert {v.status for v in verdicts} == {"error"}
        assert said in verdicts[0].reason
        assert {(f.attribution, f.severity) for f in findings if f.active} == {(a.RULE_FAILED, "ticket")}
        store.note("judged_until", {})


def test_a_frozen_reference_has_left_out_what_was_bad(store):
    fill(store, [*MONTH, {"permute": True}, {}])
    run(store, judge(store), 30 * DAY)
    frozen = freeze(store, 0, 30 * DAY, DAY)
    assert frozen["events"] == {"canary": 24_000, "challenger": 23_200, "champion": 24_000}
    with pytest.raises(ReferenceMissingError, match="cannot be cut"):
        freeze(store, 0, 30 * DAY + 5, DAY)


def test_a_stream_that_never_comes_is_said_once_and_alerts_nobody(store):
    answers = {"name": "answers", "kind": "latency", "stage": "answer", "objective": "1s"}
    fill(store, [{}] * 4, answered=False)
    findings = run(store, judge(store, rules(answers), since=0), 4 * DAY)
    verdicts = read_verdicts(store, 0, 4 * DAY)
    assert findings == []
    assert [(v.status, v.start) for v in verdicts] == [("no data", 0)]
    assert "stream metrics" in verdicts[0].reason


def test_scores_alone_are_judged_without_requests_or_answers(store):
    fill(store, [*MONTH, {"inputs": 0.7}], answered=False)
    ruleset = rules(SCORES, PAIRS, {"name": "silence", "kind": "silence"})
    assert active(run(store, judge(store, ruleset), 29 * DAY)) == [(29, "ticket", a.INPUTS_CHANGED, "", "")]


def test_a_model_that_falls_silent_is_told_until_it_is_retired(store):
    gone = {"without": ("canary",)}
    fill(store, [{}, {}, gone, gone, gone])
    control(store, 0, 0, "register", "canary", "1")
    control(store, 1, 4 * DAY + 60, "retire", "canary", "1")
    findings = run(store, judge(store, rules({"name": "silence", "kind": "silence"}), since=0), 5 * DAY)
    assert [(f.ts // DAY, f.subject.model) for f in findings if f.active] == [(3, "canary"), (4, "canary")]
    assert [(f.ts // DAY, f.subject.model, f.reason) for f in findings if f.over] == [
        (5, "canary", "canary was retired")
    ]


def test_a_fleet_that_falls_silent_is_told_and_a_long_silence_is_passed_over(store):
    fill(store, [{}, {}, *[None] * 400, {}])
    findings = run(store, judge(store, rules({"name": "silence", "kind": "silence"}), since=0), 403 * DAY)
    silent = [f.ts // DAY for f in findings if f.active and not f.subject.model]
    assert silent[:3] == [3, 4, 5]
    assert len(silent) < 8
    assert findings[-1].ts == 403 * DAY


def test_a_muted_rule_judges_and_tells_nobody(store):
    fill(store, [*MONTH, {"inputs": 0.7}])
    assert run(store, judge(store, rules({**SCORES, "muted": True})), 29 * DAY) == []
    assert {v.status for v in read_verdicts(store, 0, 29 * DAY)} == {"drifting"}


def test_the_budget_is_reported_and_follows_who_is_watched(store):
    gone = {"without": ("challenger",)}
    fill(store, [*MONTH, {}, gone, gone])
    control(store, 0, 0, "register", "challenger", "1")
    control(store, 1, 29.5 * DAY, "retire", "challenger", "1")
    sla = {"name": "sla", "kind": "rate", "of": "sla_misses", "tolerance": 0.01, "severity": "page"}
    judging = judge(store, rules(PAIRS, sla))
    run(store, judging, 29 * DAY)
    page = judging.budget()["page"]
    assert {name: share.subjects for name, share in page.rules.items()} == {"pairs": 2, "sla": 1}
    assert {share.level for share in page.rules.values()} == {90}
    assert account(store).expected == pytest.approx(3 / 90)
    assert {v.threshold for v in read_verdicts(store, 0, 29 * DAY)} == {page.threshold("pairs")}
    # Whom it does not see it still watches, until it is told that there is nobody to watch.
    run(store, judging, 30 * DAY)
    assert judging.budget()["page"].rules["sla"].level == 90
    assert account(store).expected == pytest.approx(3 / 90 + 2 / 90)
    run(store, judging, 31 * DAY)
    assert judging.budget()["page"].rules["sla"].level == 60
    assert account(store).expected == pytest.approx(3 / 90 + 2 / 90 + 2 / 60)


def test_a_rule_that_weighs_more_is_held_to_less_evidence(store):
    fill(store, [*MONTH, {}])
    sla = {"name": "sla", "kind": "rate", "of": "sla_misses", "tolerance": 0.01, "severity": "page", "weight": 4}
    judging = judge(store, rules(PAIRS, sla))
    run(store, judging, 29 * DAY)
    levels = {v.rule: v.threshold for v in read_verdicts(store, 0, 29 * DAY)}
    assert levels == pytest.approx({"pairs": np.log(6 * 30), "sla": np.log(6 * 30 / 4)})


@pytest.mark.parametrize("field", ["muted", "dry_run"])
def test_a_rule_that_wakes_nobody_spends_nothing(store, field):
    fill(store, [*MONTH, {}])
    sla = {"name": "sla", "kind": "rate", "of": "sla_misses", "tolerance": 0.01, "severity": "page", field: True}
    judging = judge(store, rules(PAIRS, sla))
    run(store, judging, 29 * DAY)
    assert {name: share.level for name, share in judging.budget()["page"].rules.items()} == {"pairs": 60, "sla": 90}
    assert {rule: spent.looks for rule, spent in account(store).spent.items()} == {"pairs": 2}


def test_windows_that_panes_cannot_make_up_are_refused(store):
    with pytest.raises(SettingsError, match="'scores' judges windows of 1h"):
        judge(store, rules({**SCORES, "window": "1h"}))


def test_an_empty_store_and_no_rules_have_nothing_to_say(store):
    assert run(store, judge(store), 5 * DAY) == []
    fill(store, [{}])
    assert run(store, judge(store, RuleSet(())), 5 * DAY) == []


def test_panes_add_up_to_the_same_verdict_however_they_are_cut(tmp_path):
    told = []
    for cut in (DAY, HOUR):
        store = Store(tmp_path / f"{cut}.db", pane_seconds=cut)
        rng = np.random.default_rng(1)
        with store.transaction():
            for day in range(12):
                hours = [merge([scores_pane(draw(rng, 50)), answers_pane(50)]) for _ in range(24)]
                if cut == DAY:
                    store.put(day * DAY, merge(hours))
                else:
                    for hour, pane in enumerate(hours):
                        store.put(day * DAY + hour * HOUR, pane)
        run(store, judge(store, since=10 * DAY), 12 * DAY)
        told.append(read_verdicts(store, 0, 12 * DAY))
        store.close()
    assert told[0] == told[1]
    assert len(told[0]) == 14
