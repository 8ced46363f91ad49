import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from birdwatch.check.warmth import Bar, Seen, Trial, gather, judge, mean_bound, ratio_bound, share_bound
from birdwatch.records import encode
from birdwatch.testing import FakeClock, MemoryStreams, a_score

BAR = Bar(max_seconds=0.4)


def some(n=300, *, differs=0.02, canary_differs=0.02, errors=0, seconds=0.01, seed=1, canary=True):
    """What n requests show of a version that differs so much from the champion."""
    rng = np.random.default_rng(seed)
    champion = rng.uniform(0.2, 0.8, n)
    ours = champion + rng.normal(0, differs, n)
    old = champion + rng.normal(0, canary_differs, n)
    return [Seen(None if i < errors else ours[i], champion[i], old[i] if canary else None, seconds) for i in range(n)]


def test_a_version_as_near_to_the_champion_as_the_canary_is_fit_to_answer():
    warmth = judge(some(), BAR)
    assert warmth.warm
    assert warmth.failed == []
    assert warmth.evidence.ratio == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("seen", "bar", "said"),
    [
        (some(differs=0.06), BAR, "times as much as the canary does"),
        (some(errors=4), BAR, "4 of 300 requests were errors"),
        (some(seconds=0.5), BAR, "it has 0.4 s to answer"),
        (some(seconds=None), BAR, "nobody measured"),
        (some(canary_differs=0), BAR, "set a largest one"),
        (some(canary=False), Bar(0.4, max_difference=0.01), "0.01 is allowed"),
        (some(), Bar(0.4, max_difference=0.01), "0.01 is allowed"),
        (some(errors=300), BAR, "no score that could be compared"),
        (some(2), BAR, "is allowed"),
        (some(), Bar(0.4, tolerance=float("nan")), "is allowed"),
        (some(), Bar(float("nan")), "to answer"),
        (some(errors=1), Bar(0.4, errors=float("nan")), "were errors"),
    ],
)
def test_what_speaks_against_it_is_said_with_the_numbers(seen, bar, said):
    warmth = judge(seen, bar)
    assert not warmth.warm
    assert said in " ".join(warmth.failed)


def test_a_difference_may_be_measured_without_a_canary():
    assert judge(some(canary=False), Bar(0.4, max_difference=0.03)).warm
    with pytest.raises(ValueError, match="without a canary"):
        judge(some(canary=False), BAR)
    with pytest.raises(ValueError, match="no request"):
        judge([], BAR)


def test_where_the_canary_scores_as_the_champion_does_the_largest_difference_decides():
    seen = some(canary_differs=0)
    assert judge(seen, Bar(0.4, max_difference=0.03)).warm
    (said,) = judge(seen, Bar(0.4, max_difference=0.01)).failed
    assert "0.01 is allowed" in said


def test_as_many_errors_as_are_allowed_pass():
    assert judge(some(errors=3), BAR).warm
    assert judge(some(errors=0), Bar(0.4, errors=0.0)).warm


def test_one_slow_score_in_a_hundred_passes_and_two_do_not():
    seen = some(200)
    slow = [each._replace(seconds=2.0) if i < 2 else each for i, each in enumerate(seen)]
    assert judge(slow, BAR).warm
    slower = [each._replace(seconds=2.0) if i < 3 else each for i, each in enumerate(seen)]
    assert not judge(slower, BAR).warm


def test_a_version_whose_scores_are_the_champions_passes_even_if_the_canarys_are_too():
    assert judge(some(differs=0, canary_differs=0), BAR).warm


@given(k=st.integers(0, 50), more=st.integers(0, 500))
def test_the_bound_of_a_share_is_wilsons(k, more):
    n = k + more
    if n:
        assert share_bound(k, n) == pytest.approx(proportion_confint(k, n, alpha=0.1, method="wilson")[1])


@given(seed=st.integers(0, 1000), n=st.integers(2, 60))
def test_the_bound_of_a_mean_is_that_of_the_t_test(seed, n):
    values = np.random.default_rng(seed).exponential(1.0, n)
    expected = stats.ttest_1samp(values, 0, alternative="less").confidence_interval(0.95).high
    assert mean_bound(values) == pytest.approx(expected)


@given(seed=st.integers(0, 1000), n=st.integers(20, 300), times=st.floats(0.1, 5))
def test_at_the_bound_of_a_ratio_the_paired_test_is_just_significant(seed, n, times):
    rng = np.random.default_rng(seed)
    base = rng.exponential(1.0, n)
    values = times * (base * 0.5 + rng.exponential(0.5, n))
    bound = ratio_bound(values, base)
    if math.isfinite(bound):
        assert bound >= values.mean() / base.mean()
        assert stats.ttest_rel(values, bound * base, alternative="less").pvalue == pytest.approx(0.05, abs=1e-6)
        above = stats.ttest_rel(values, 2 * bound * base, alternative="less").pvalue
        assert above < 0.05


def test_a_base_that_may_be_nothing_bounds_no_ratio():
    base = np.zeros(100)
    base[0] = 1.0
    assert ratio_bound(np.ones(100), base) == math.inf
    assert ratio_bound([1.0], [1.0]) == math.inf


def test_a_version_too_far_off_passes_in_one_of_twenty_trials():
    # Just at the tolerance: the chance to pass must be what the bound promises.
    passed = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        champion = rng.uniform(0.2, 0.8, 200)
        ours, old = champion + rng.normal(0, 0.04, 200), champion + rng.normal(0, 0.02, 200)
        passed += judge([Seen(a, c, b, 0.01) for a, c, b in zip(ours, champion, old, strict=True)], BAR).warm
    assert 7 <= passed <= 36  # 20 expected; each end has a chance below 0.001


def score(request_id, model="new", version="2", **fields):
    return a_score(request_id=request_id, model=model, version=version, **fields)


def test_a_request_counts_when_all_three_have_scored_it_in_whatever_order():
    trial = Trial("new", "2", "champion")
    trial.take(score("a", "old", "0", score=0.3), canary=True)
    trial.take(score("a", score=0.5))
    trial.take(score("a", version="1", score=0.9))
    trial.take(score("a", "other", score=0.9))
    assert trial.seen == []
    trial.take(score("a", "champion", "7", score=0.4))
    trial.take(score("a", "champion", "7", score=0.9))
    trial.take(score("a", score=0.9))
    assert trial.seen == [Seen(0.5, 0.4, 0.3, pytest.approx(0.003))]


def test_its_own_errors_count_and_those_of_the_others_do_not():
    trial = Trial("new", "2", "champion")
    for request_id, ours, theirs in (("a", None, 0.4), ("b", 0.5, None)):
        trial.take(score(request_id, score=ours, error=None if ours else "oh"))
        trial.take(score(request_id, "champion", score=theirs, error=None if theirs else "oh"))
        trial.take(score(request_id, "old", score=0.3), canary=True)
    assert [each.score for each in trial.seen] == [None]


@pytest.fixture
def streams():
    clock = FakeClock()
    made = MemoryStreams(clock=clock, sleep=clock.sleep)
    made.clock = clock
    return made


def put(streams, first, last):
    for n in range(first, last):
        streams.append("scores", [(b"", encode(score(str(n), who, v))) for who, v in (("new", "2"), ("champion", "1"))])
        streams.append("canary", [(b"", encode(score(str(n), "old", "0")))])


def test_all_that_is_there_is_used_though_less_would_do(streams):
    put(streams, 0, 2500)
    streams.append("scores", [(b"", b"no score")])
    trial = Trial("new", "2", "champion")
    assert gather(streams, trial, 100, clock=streams.clock)
    assert len(trial.seen) == 2500


def test_what_comes_later_is_waited_for(streams):
    put(streams, 0, 50)
    trial = Trial("new", "2", "champion")
    told = []

    def progress(seen):
        told.append(seen)
        if seen == 50:
            put(streams, 50, 120)

    assert gather(streams, trial, 100, timeout_seconds=600, progress=progress, clock=streams.clock)
    assert told[-1] >= 100


def test_too_little_within_the_time_is_said(streams):
    put(streams, 0, 50)
    trial = Trial("new", "2", "champion")
    began = streams.clock()
    assert not gather(streams, trial, 100, timeout_seconds=30, clock=streams.clock)
    assert streams.clock() - began == pytest.approx(30, abs=1)
    assert not gather(MemoryStreams(clock=streams.clock, sleep=streams.clock.sleep), trial, 100, clock=streams.clock)
