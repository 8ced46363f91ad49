"""An alert fires once and resolves once."""

import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birdwatch.alerts import lifecycle
from birdwatch.alerts.condition import Condition, decide, fingerprint
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.outbox import put
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.records import Alert, decode
from birdwatch.windows.store import Store

CHALLENGER = Subject("challenger", "2", "champion")


def finding(ts, *, active=True, **given):
    given = {"rule": "disagreement", "subject": CHALLENGER, "severity": "page", "reason": "they disagree"} | given
    if active:
        given.setdefault("attribution", "the model changed")
    return Finding(ts=ts, active=active, **given)


def told(store):
    """All that was ever written to the history: (state, ts)."""
    return [tuple(row) for row in store.connection.execute("SELECT state, ts FROM alerts ORDER BY id")]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "birdwatch.db", pane_seconds=60)
    yield store
    store.close()


def run(windows, needed, clean):
    """Give (window, state) of each change, by `decide`."""
    condition, changes = Condition(), []
    for ts, shown in enumerate(windows):
        after = decide(condition, ts, shown=shown, for_windows=needed, keep_firing_for=clean, flap_windows=0)
        if (after.state == "firing") != (condition.state == "firing"):
            changes.append((ts, "firing" if after.state == "firing" else "resolved"))
        condition = after
    return changes


def read_by_pattern(windows, needed, clean):
    """The same from regular expressions over the windows written as 0 and 1."""
    text, changes = "".join("01"[shown] for shown in windows), []
    steps = itertools.cycle([("firing", re.compile("1" * needed)), ("resolved", re.compile("0" * clean))])
    state, pattern = next(steps)
    found = pattern.search(text)
    while found:
        changes.append((found.end() - 1, state))
        state, pattern = next(steps)
        found = pattern.search(text, found.end())
    return changes


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_fires_at_the_nth_active_window_in_a_row_and_resolves_at_the_nth_clean_one(windows, needed, clean):
    assert run(windows, needed, clean) == read_by_pattern(windows, needed, clean)


def test_starts_with_the_first_window_of_the_row_that_fired():
    condition = Condition()
    for ts, shown in [(60, True), (120, False), (180, True), (240, True)]:
        condition = decide(condition, ts, shown=shown, for_windows=2)
    assert (condition.state, condition.started, condition.seen) == ("firing", 180, 240)


def test_fires_once_while_it_stays_active(store):
    first = advance(store, [finding(60)])
    assert advance(store, [finding(120), finding(180)]) == []
    assert [(alert.state, alert.ts, alert.started) for alert in first] == [("firing", 60, 60)]


def test_says_what_the_finding_said(store):
    said = {
        "statistic": "share",
        "value": 0.54,
        "tolerance": 0.23,
        "n": 300,
        "effect": 0.31,
        "since": 45,
        "evidence": 9.5,
        "cost": 0.001,
        "runbook": "Roll the version back.",
    }
    (alert,) = advance(store, [finding(60, **said)])
    assert alert == Alert(
        fingerprint=fingerprint("disagreement", CHALLENGER, "the model changed"),
        ts=60,
        started=60,
        state="firing",
        rule="disagreement",
        severity="page",
        attribution="the model changed",
        model="challenger",
        version="2",
        partner="champion",
        reason="they disagree",
        **said,
    )


def test_resolves_after_three_clean_windows_though_these_carry_no_cause(store):
    advance(store, [finding(60)])
    clean = [finding(ts, active=False, reason="within tolerance") for ts in (120, 180, 240)]
    assert [advance(store, [one]) for one in clean[:2]] == [[], []]
    (resolved,) = advance(store, clean[2:])
    assert (resolved.state, resolved.ts, resolved.started, resolved.attribution) == (
        "resolved",
        240,
        60,
        "the model changed",
    )
    assert resolved.reason == "3 clean windows in a row; within tolerance"


def test_a_window_with_another_cause_is_clean_for_the_first(store):
    changes = advance(store, [finding(60)])
    changes += advance(store, [finding(ts, attribution="inputs changed") for ts in (120, 180, 240)])
    assert [(alert.attribution, alert.state, alert.ts) for alert in changes] == [
        ("the model changed", "firing", 60),
        ("inputs changed", "firing", 120),
        ("the model changed", "resolved", 240),
    ]


def test_another_subject_or_rule_is_another_alert(store):
    others = [
        finding(60, subject=Subject("challenger", "3", "champion")),
        finding(60, subject=Subject("challenger", "2", "canary")),
        finding(60, rule="shift"),
    ]
    changes = advance(store, [finding(60), *others])
    assert len({alert.fingerprint for alert in changes}) == 4
    assert advance(store, [finding(ts, active=False, rule="shift") for ts in (120, 180, 240)])[0].rule == "shift"


def test_names_that_run_together_do_not_share_a_fingerprint():
    assert fingerprint("r", Subject("ab", "c"), "") != fingerprint("r", Subject("a", "bc"), "")


def test_resolves_as_urgently_as_it_fired_whatever_its_rule_may_raise(store):
    advance(store, [finding(60, severity="ticket", attribution="inputs changed")])
    (clean,) = advance(store, [finding(ts, active=False) for ts in (120, 180, 240)])
    advance(store, [finding(300, severity="ticket", attribution="inputs changed")])
    (over,) = advance(store, [finding(360, active=False, over=True)])
    assert (clean.severity, over.severity) == ("ticket", "ticket")


def test_is_over_at_once_when_the_version_is_retired(store):
    advance(store, [finding(60)])
    (resolved,) = advance(store, [finding(90, active=False, over=True, reason="version 2 was retired")])
    assert (resolved.state, resolved.ts, resolved.reason) == ("resolved", 90, "version 2 was retired")


def test_what_is_over_in_the_window_that_shows_it_fires_and_resolves(store):
    over = finding(60, active=False, over=True, reason="version 2 was retired")
    changes = advance(store, [over, finding(60)])
    assert [alert.state for alert in changes] == ["firing", "resolved"]
    assert advance(store, [over, finding(60)]) == []


def test_what_never_fired_does_not_resolve(store):
    pending = finding(60, for_windows=2)
    over = finding(120, active=False, over=True)
    assert advance(store, [pending, over]) == []


def test_may_fire_again_after_it_has_resolved(store):
    story = [(60, True), (120, False), (180, False), (240, False), (300, True)]
    advance(store, [finding(ts, active=active) for ts, active in story])
    assert told(store) == [("firing", 60), ("resolved", 240), ("firing", 300)]


def test_what_flaps_says_so_and_goes_on_firing(store):
    settings = {"keep_firing_for": 1, "flap_windows": 8}
    changes = advance(store, [finding(60 * i, active=i % 2 == 1, **settings) for i in range(1, 9)])
    assert [alert.state for alert in changes] == ["firing", "resolved"] * 3 + ["firing"]
    assert changes[-1].reason == (
        "they disagree; flapping: it has fired more than 3 times in 8 windows, and goes on firing until 8 in a row are clean"
    )
    calm = [finding(60 * i, active=False, reason="calm", **settings) for i in range(9, 17)]
    (resolved,) = advance(store, calm)
    assert (resolved.ts, resolved.reason) == (900, "8 clean windows in a row; calm")


def test_a_store_of_before_alerts_could_flap_is_taken_up(store):
    store.connection.execute(BEFORE_FLAPPING)
    changes = advance(store, [finding(ts, active=False, reason="calm") for ts in (120, 180, 240)])
    assert [(alert.state, alert.ts) for alert in changes] == [("resolved", 240)]


BEFORE_FLAPPING = """
CREATE TABLE conditions (
    rule TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, partner TEXT NOT NULL, feature TEXT NOT NULL,
    attribution TEXT NOT NULL, state TEXT NOT NULL, started INTEGER NOT NULL, streak INTEGER NOT NULL, seen INTEGER,
    severity TEXT NOT NULL, PRIMARY KEY (rule, model, version, partner, feature, attribution)) WITHOUT ROWID;
INSERT INTO conditions VALUES
    ('disagreement', 'challenger', '2', 'champion', '', 'the model changed', 'firing', 60, 0, 60, 'page');
"""


def story(seed):
    rng = random.Random(seed)
    causes = ["the model changed", "inputs changed"]
    return [
        finding(60 * window, active=active, subject=Subject(model, "1"), for_windows=2)
        if not active
        else finding(60 * window, subject=Subject(model, "1"), for_windows=2, attribution=rng.choice(causes))
        for window in range(1, 60)
        for model in "ab"
        for active in [rng.random() < 0.6]
    ]


@pytest.mark.parametrize("seed", range(5))
def test_windows_told_again_and_restarts_change_nothing(tmp_path, seed):
    findings = story(seed)
    once = Store(tmp_path / "once.db", pane_seconds=60)
    advance(once, findings)
    assert len(told(once)) > 4
    again = tmp_path / "again.db"
    rng = random.Random(seed)
    for end in range(0, len(findings) + 1, 7):
        store = Store(again, pane_seconds=60)  # as after a restart: some windows come again, in another order
        part = findings[max(0, end - rng.randrange(7, 30)) : end]
        rng.shuffle(part)
        advance(store, part)
        store.close()
    store = Store(again, pane_seconds=60)
    advance(store, findings)
    changes = [sorted(s.connection.execute("SELECT fingerprint, state, ts, record FROM alerts")) for s in (once, store)]
    assert changes[0] == changes[1]
    once.close()
    store.close()


def test_nothing_is_kept_when_the_transaction_fails(store):
    def step():
        with store.transaction():
            advance(store, [finding(60)], sinks=["log"])
            raise RuntimeError("the tail fails later in the same step")

    advance(store, [])
    with pytest.raises(RuntimeError):
        step()
    assert told(store) == []
    assert [alert.state for alert in advance(store, [finding(60)])] == ["firing"]


def test_a_step_of_its_own_is_kept_whole_or_not_at_all(store, monkeypatch):
    def put_one(store, alert):
        if told(store):
            raise OSError("the disk is full")
        put(store, alert)

    monkeypatch.setattr(lifecycle, "put", put_one)
    with pytest.raises(OSError, match="full"):
        advance(store, [finding(60), finding(60, rule="shift")])
    monkeypatch.undo()
    advance(store, [])
    assert told(store) == []
    assert len(advance(store, [finding(60), finding(60, rule="shift")])) == 2


def test_the_history_keeps_the_record_that_travels(store):
    (alert,) = advance(store, [finding(60)])
    (record,) = store.connection.execute("SELECT record FROM alerts").fetchone()
    assert decode(record, Alert) == alert
