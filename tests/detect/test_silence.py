from birdwatch.detect.silence import SilenceRule
from birdwatch.detect.verdict import Subject
from birdwatch.windows.pane import Series

from .scenes import case, counted

RULE = SilenceRule(name="silence")
SEEN = {"seen": True}


def pane(requests=0, **events):
    found = {Series("counts", model, "1"): counted(events=n) for model, n in events.items() if n}
    return {**found, Series("counts"): counted(requests=requests)} if requests else found


def judge(window, model="", state=SEEN):
    verdict, _ = RULE.judge(case(window, (model,)), state, 0.0)
    return verdict.status, RULE.alarms(verdict)


def test_a_fleet_that_is_asked_nothing_any_more_is_silent():
    assert judge(pane()) == ("no data", True)
    assert judge(pane(requests=1)) == ("ok", False)


def test_a_fleet_that_was_never_asked_anything_is_not():
    assert judge(pane(), state={}) == ("ok", False)


def test_a_live_model_that_scores_too_few_is_silent():
    assert judge(pane(100, champion=100, canary=49), "canary") == ("no data", True)
    assert judge(pane(100, champion=100, canary=51), "canary") == ("ok", False)
    assert judge(pane(100, champion=100), "canary") == ("no data", True)


def test_a_model_that_is_new_in_the_window_is_not():
    assert judge(pane(100, champion=100, canary=20), "canary", {}) == ("ok", False)


def test_among_a_handful_of_requests_none_is_called_silent():
    assert judge(pane(10, champion=10), "canary") == ("no data", False)


def test_without_requests_the_busiest_model_stands_for_them():
    assert judge(pane(champion=100, canary=10), "canary") == ("no data", True)
    assert judge(pane(champion=100)) == ("ok", False)


def test_who_was_seen_is_expected_again():
    verdict, state = RULE.judge(case(pane(100, canary=90), ("canary",)), {}, 0.0)
    assert (verdict.status, state) == ("ok", SEEN)
    known = [Subject("canary")]
    assert RULE.subjects(pane(100, champion=100), known) == [Subject(), Subject("canary"), Subject("champion")]
