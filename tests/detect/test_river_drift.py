"""The detectors of river as plug-ins: what they read, what they find, and what they remember."""

import json
import shutil

import numpy as np
import pytest

from birdwatch.content import content
from birdwatch.detect.judge import Judge
from birdwatch.detect.rules import load_kinds, load_rules
from birdwatch.detect.verdict import Subject, read_verdicts
from birdwatch.stats.grid import bins_of, midpoints
from birdwatch.windows.pane import Counts, Series

from .scenes import DAY, case, counted, daily, fill

KINDS = load_kinds(content("detectors"))[0].loaded()
NAMES = ("adwin", "ddm", "kswin", "page_hinkley")


def rule(kind, **more):
    return KINDS[kind].model_validate({"name": "a", "kind": kind, **more})


def pane(rng, shift=0.0, errors=10, n=1_000):
    values = 1 / (1 + np.exp(-rng.normal(-1.5 + shift, 0.8, n)))
    return {
        Series("counts", "m", "1"): counted(events=n, errors=errors // 2, nulls=errors - errors // 2),
        Series("score", "m", "1"): Counts.of(bins_of(values, "probability")),
    }


def windows(asked, panes, state=None):
    verdicts, state = [], state or {}
    for number, one in enumerate(panes):
        verdict, state = asked.judge(case(one, ("m", "1"), start=number * DAY), state, 4.0)
        verdicts.append(verdict)
    return verdicts, state


def fed(asked, one, monkeypatch):
    """Give what a rule's detector is fed."""
    seen = []

    class Recorder:
        drift_detected = False

        def update(self, value):
            seen.append(value)

        def __reduce__(self):
            return (int, ())

    monkeypatch.setattr(type(asked), "detector", lambda self: Recorder())
    windows(asked, [one])
    return seen


@pytest.mark.parametrize("kind", NAMES)
def test_they_are_quiet_for_as_long_as_nothing_changes_and_then_are_not(kind):
    rng = np.random.default_rng(1)
    days = [pane(rng) for _ in range(10)] + [pane(rng, 1.5, errors=100) for _ in range(5)]
    verdicts, _ = windows(rule(kind), days)
    assert [v.status for v in verdicts[:10]] == ["ok"] * 10
    (first, *_) = [i for i, v in enumerate(verdicts) if v.status == "drifting"]
    assert 10 <= first <= 12
    assert verdicts[first].effect >= 1
    assert f"{kind} read 200 of 1000 values of m 1 and alarmed at " in verdicts[first].reason
    assert verdicts[0].reason.endswith("of m 1 and saw no change")


@pytest.mark.parametrize("kind", NAMES)
def test_they_page_nobody_and_spend_nothing_unless_a_rule_says_so(kind):
    assert (rule(kind).severity, rule(kind).spends) == ("info", False)
    assert rule(kind, severity="ticket").severity == "ticket"
    assert rule(kind).subjects(pane(np.random.default_rng(0)), []) == [Subject("m", "1")]


def test_a_window_that_is_no_larger_than_the_sample_is_read_whole(monkeypatch):
    one = pane(np.random.default_rng(2), n=200)
    bins, counts = one[Series("score", "m", "1")]
    seen = fed(rule("adwin"), one, monkeypatch)
    assert sorted(seen) == sorted(np.repeat(midpoints(bins, "probability"), counts))
    assert seen != sorted(seen)


def test_a_sample_of_a_larger_window_lies_as_the_window_does(monkeypatch):
    one = pane(np.random.default_rng(3), n=50_000)
    bins, counts = one[Series("score", "m", "1")]
    values = np.repeat(midpoints(bins, "probability"), counts)
    seen = fed(rule("kswin", sample=100), one, monkeypatch)
    assert len(seen) == 100
    assert [np.searchsorted(values, np.sort(seen), side).tolist() for side in ("left", "right")] == [
        pytest.approx(np.arange(100) * 500 + 250, abs=500) for _ in range(2)
    ]


def test_ddm_reads_errors_and_nulls_as_often_as_there_are(monkeypatch):
    one = pane(np.random.default_rng(4), errors=60, n=200)
    seen = fed(rule("ddm"), one, monkeypatch)
    assert (set(seen), sum(seen), len(seen)) == ({0.0, 1.0}, 60, 200)
    few = [
        sum(fed(rule("ddm", name=f"r{i}", sample=100), pane(np.random.default_rng(4), errors=5), monkeypatch))
        for i in range(200)
    ]
    assert np.mean(few) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("kind", NAMES)
def test_what_it_remembers_is_json_and_begins_anew_under_another_river_or_other_settings(kind):
    rng = np.random.default_rng(5)
    asked, day = rule(kind), pane(rng)
    _, state = windows(asked, [day])
    assert json.loads(json.dumps(state)) == state
    again, kept = windows(asked, [day], state)
    assert (again[0].details["began_anew"], kept == state) == (False, False)
    (older,), fresh = windows(asked, [day], state | {"river": "0.0.1"})
    assert older.details["began_anew"]
    assert "begins anew, since what it remembered was of river 0.0.1, and this is river " in older.reason
    assert fresh == state
    (other,), _ = windows(rule(kind, **OTHERWISE[kind]), [day], state)
    assert other.details["began_anew"]
    assert "was of other settings" in other.reason


OTHERWISE = {
    "adwin": {"delta": 0.01},
    "ddm": {"drift_threshold": 4},
    "kswin": {"alpha": 0.01},
    "page_hinkley": {"level": 20},
}


def test_a_window_of_few_is_no_data_and_leaves_what_it_remembers():
    state = {"anything": 1}
    (verdict,), after = windows(rule("adwin"), [pane(np.random.default_rng(6), n=99)], state)
    assert (verdict.status, after) == ("no data", state)


def test_a_window_must_hold_twice_what_is_compared():
    with pytest.raises(ValueError, match="window_size 50 must be at least twice stat_size 30"):
        rule("kswin", window_size=50, stat_size=30)


RULES = "rules:\n" + "".join(f"  - {{name: a{i}, kind: {kind}, severity: ticket}}\n" for i, kind in enumerate(NAMES))


def test_a_judge_that_is_started_anew_for_every_window_says_the_same(tmp_path):
    (tmp_path / "river.yaml").write_text(RULES)
    shutil.copy(content("detectors") / "river_drift.py", tmp_path)
    said = []
    for restarted in (False, True):
        store = daily(tmp_path / f"{restarted}.db")
        fill(store, [{}] * 4 + [{"inputs": 2.0}] * 3)
        judge = Judge(store, load_rules(tmp_path))
        for day in range(1, 8):
            with store.transaction():
                judge.step(day * DAY)
            if restarted:
                store.close()
                store = daily(tmp_path / f"{restarted}.db")
                judge = Judge(store, load_rules(tmp_path))
        said.append(read_verdicts(store, 0, 7 * DAY))
        store.close()
    assert said[0] == said[1]
    assert len(said[0]) == 4 * 3 * 7
    assert {v.kind for v in said[0] if v.status == "drifting" and v.end > 4 * DAY} >= {"adwin", "kswin", "page_hinkley"}
