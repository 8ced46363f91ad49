import functools
import math

import numpy as np
import pytest
from pydantic import ValidationError

from birdwatch.detect.kind import Case
from birdwatch.detect.reference import Block, Reference
from birdwatch.detect.traffic import Expected, TrafficRule, expected_requests, requests_of
from birdwatch.detect.verdict import Subject
from birdwatch.windows.pane import Series

from .scenes import DAY, HOUR, counted

RULE = TrafficRule(name="traffic")
LN_A = math.log(10_000)


@functools.cache
def pane(requests):
    return {Series("counts"): counted(requests=int(requests))} if requests else {}


def ordinary(rng, days, *, level=400.0, noise=0.05):
    """Hourly requests that rise by day, fall at night and rest on Sundays."""
    hours = np.arange(24 * days)
    rest = np.where(hours // 24 % 7 == 6, 0.5, 1.0)
    rate = level * rest * np.exp(1.2 * np.sin(2 * np.pi * (hours - 8) / 24) + rng.normal(0, noise, hours.size))
    return rng.poisson(rate)


def trailing(counts, end, *, hours=14 * 24):
    """What the rule is given at the hour ``end``: blocks where something came, and none where nothing did."""
    first = max(0, end - hours)
    blocks = tuple(Block(i * HOUR, pane(int(counts[i]))) for i in range(first, end) if counts[i])
    return Reference("the trailing 14d", first * HOUR, end * HOUR, HOUR, blocks)


def judge_hours(counts, since, *, rule=RULE, threshold=LN_A):
    """Judge the hours one after the other, those from ``since`` on as asked; the reference ends at midnight."""
    state, verdicts = {}, []
    for i in range(since // 24 * 24, len(counts)):
        asked = Case(Subject(), i * HOUR, (i + 1) * HOUR, pane(int(counts[i])), trailing(counts, i // 24 * 24))
        verdict, state = rule.judge(asked, state, threshold)
        assert len(state["windows"]) <= 48
        verdicts.append(verdict)
    return verdicts[since % 24 :]


def statuses(counts, since, **how):
    return [v.status for v in judge_hours(counts, since, **how)]


def test_weeks_of_ordinary_hours_are_in_order_sundays_and_nights_too():
    counts = ordinary(np.random.default_rng(1), 28)
    assert set(statuses(counts, 14 * 24)) == {"ok"}


def test_the_expectation_is_near_what_comes():
    counts = ordinary(np.random.default_rng(2), 28)
    found = [expected_requests(trailing(counts, i), i * HOUR) for i in range(21 * 24, 28 * 24)]
    errors = [max(f.least / c, c / f.most, 1) - 1 for c, f in zip(counts[21 * 24 :], found, strict=True)]
    assert np.median(errors) < 0.08
    assert found[0].basis == "1h, 2h, 1d, 25h, 26h, 7d before"


def test_an_hour_without_requests_is_seen_at_once_and_named():
    counts = ordinary(np.random.default_rng(3), 20)
    counts[-1] = 0
    verdict = judge_hours(counts, len(counts) - 1)[0]
    assert verdict.status == "drifting"
    assert RULE.alarms(verdict)
    assert verdict.reason.startswith("0 requests, where ")
    assert "fewer than by a factor of 2" in verdict.reason


@pytest.mark.parametrize(("times", "status"), [(0.3, "drifting"), (0.7, "ok"), (1.5, "ok"), (4, "drifting")])
def test_the_factor_says_how_far_is_too_far(times, status):
    counts = ordinary(np.random.default_rng(4), 20)
    counts[-1] = int(counts[-1] * times)
    assert statuses(counts, len(counts) - 1) == [status]


def test_far_from_what_is_expected_but_no_surprise_is_no_alarm():
    """Twelve requests where thirty are usual and hours vary as wildly: by a factor, and by chance."""
    rng = np.random.default_rng(5)
    counts = ordinary(rng, 20, level=30, noise=0.5)
    assert statuses(counts, len(counts) - 48).count("drifting") == 0


def test_an_outage_alarms_while_it_lasts_and_its_end_is_no_flood():
    counts = ordinary(np.random.default_rng(6), 21)
    at = 18 * 24 + 10
    counts[at : at + 5] = 0
    found = statuses(counts, at - 2)
    assert found[2:7] == ["drifting"] * 5
    assert [v.alarmed for v in judge_hours(counts, at)[:5]] == [True, False, False, False, False]
    assert set(found[:2] + found[7:]) == {"ok"}


def test_what_goes_on_for_a_day_is_taken_for_normal():
    counts = ordinary(np.random.default_rng(7), 21)
    at = 17 * 24
    counts[at:] = counts[at:] * 4
    found = statuses(counts, at)
    assert set(found[:20]) == {"drifting"}
    assert set(found[25:]) == {"ok"}


def test_an_hour_that_changes_for_good_is_told_twice_and_then_taken_for_normal():
    """From a day on, the shop opens an hour earlier: 3 requests used to come at six, and now 600."""
    rng = np.random.default_rng(13)
    hours = np.arange(24 * 28)
    rate = np.where(hours % 24 >= np.where(hours < 20 * 24, 7, 6), 600, 3)
    verdicts = judge_hours(rng.poisson(rate), 16 * 24)
    drifting = [v.start // HOUR for v in verdicts if v.status == "drifting"]
    assert drifting == [20 * 24 + 6, 21 * 24 + 6]


def test_a_short_past_expects_nothing_and_days_without_an_hour_of_their_own_neither():
    counts = ordinary(np.random.default_rng(8), 3)
    verdict = judge_hours(counts, 48)[0]
    assert verdict.status == "no data"
    assert "2 of 8 days are known at this hour" in verdict.reason


def test_before_a_week_is_known_hours_of_the_day_are_enough():
    counts = ordinary(np.random.default_rng(9), 6, noise=0.0)
    assert expected_requests(trailing(counts, 100), 100 * HOUR).basis == "1h, 2h, 1d, 25h, 26h before"


def test_hours_that_are_not_known_leave_the_hour_of_the_day():
    """A rule that begins in the middle of a day knows the hours until midnight, and none since."""
    counts = ordinary(np.random.default_rng(12), 20)
    at = 16 * 24 + 5
    past = trailing(counts, at // 24 * 24)
    assert expected_requests(past, at * HOUR).basis == "14 days at this hour"
    since = {i * HOUR: float(counts[i]) for i in range(at // 24 * 24, at)}
    assert expected_requests(past, at * HOUR, since).basis == "1h, 2h, 1d, 25h, 26h, 7d before"
    found, whole = expected_requests(past, at * HOUR, since), expected_requests(trailing(counts, at), at * HOUR)
    assert found[:2] == pytest.approx(whole[:2], rel=0.01)


def test_a_frozen_reference_tells_the_same_hour_of_the_day():
    counts = ordinary(np.random.default_rng(10), 28)
    frozen = trailing(counts, 28 * 24, hours=28 * 24)
    at = 40 * 24 + 14
    found = expected_requests(frozen, at * HOUR)
    assert isinstance(found, Expected)
    assert found.least == found.most == pytest.approx(counts[14::24].mean(), rel=0.01)
    assert found.basis == "28 days at this hour"
    assert found.excess > 0.01


def test_days_are_compared_with_days():
    rng = np.random.default_rng(11)
    rule = TrafficRule.model_validate({"name": "daily", "window": "1d", "reference": {"trailing": "28d"}})
    blocks = tuple(Block(i * DAY, pane(rng.poisson(9_000 if i % 7 else 4_000))) for i in range(28))
    reference = Reference("the trailing 28d", 0, 28 * DAY, DAY, blocks)
    for requests, status in ((4_000, "ok"), (900, "drifting")):
        asked = Case(Subject(), 28 * DAY, 29 * DAY, pane(requests), reference)
        assert rule.judge(asked, {}, LN_A)[0].status == status


def test_where_next_to_nothing_is_expected_and_comes_nothing_can_be_told():
    counts = np.full(20 * 24, 3)
    assert statuses(counts, len(counts) - 1) == ["no data"]
    counts[-1] = 500
    assert statuses(counts, len(counts) - 1) == ["drifting"]


def test_without_requests_the_busiest_model_stands_for_them():
    assert (
        requests_of({Series("counts", "a", "1"): counted(events=9), Series("counts", "b", "1"): counted(events=7)}) == 9
    )
    assert (
        requests_of({Series("counts", "a", "1"): counted(events=5), Series("counts", "a", "2"): counted(events=6)})
        == 11
    )
    assert requests_of({Series("counts", "a", "1", "", "x=1"): counted(events=5)}) == 0
    assert requests_of({}) == 0


def test_the_fleet_is_watched_also_where_nothing_came():
    assert RULE.subjects({}, []) == [Subject()]
    assert RULE.compares_with.trailing == 14 * DAY


def test_it_finds_the_hours_itself():
    with pytest.raises(ValidationError, match="leave out `by`"):
        TrafficRule.model_validate({"name": "traffic", "reference": {"trailing": "14d", "by": "hour of day"}})
