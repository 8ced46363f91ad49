import pytest

from birdwatch.detect.kind import Case
from birdwatch.detect.reference import Block, Reference
from birdwatch.detect.silence import SilenceRule
from birdwatch.detect.verdict import Subject
from birdwatch.windows.pane import Series

from .scenes import DAY, HOUR, case, counted

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


@pytest.mark.parametrize(("at", "silent"), [(3, False), (15, True)])
def test_an_empty_night_is_no_silence_where_nights_are_known_to_be_empty(at, silent):
    """A shop that is open from six to midnight; the window is 3 in the morning, or 3 in the afternoon."""
    rule = SilenceRule.model_validate({"name": "silence", "window": "1h", "reference": {"trailing": "14d"}})
    start = 20 * DAY + at * HOUR
    hours = range(start - 14 * DAY, start, HOUR)
    blocks = tuple(Block(i, pane(requests=300)) for i in hours if i % DAY // HOUR >= 6)
    reference = Reference("the trailing 14d", hours[0], start, HOUR, blocks)
    verdict, _ = rule.judge(Case(Subject(), start, start + HOUR, {}, reference), SEEN, 0.0)
    assert rule.alarms(verdict) == silent
    assert "no request came in the whole window, where" in verdict.reason
    assert rule.compares_with == rule.reference


def test_parts_of_a_model_are_not_added_to_the_whole():
    window = pane(100, champion=100, canary=40) | {Series("counts", "canary", "1", "", "x=1"): counted(events=40)}
    assert judge(window, "canary") == ("no data", True)
