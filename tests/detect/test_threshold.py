import re

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from scipy.spatial.distance import jensenshannon

from birdwatch.detect.threshold import ThresholdRule
from birdwatch.detect.verdict import Subject
from birdwatch.stats.grid import bins_of
from birdwatch.windows.pane import Counts, Series

from .scenes import case, counted, reference_of

RNG = np.random.default_rng(2)
WAS = [RNG.beta(2, 5, 1_000) for _ in range(4)]
NOW = RNG.beta(2.6, 5, 800)
ALL = np.concatenate(WAS)
DISTANCES = ["psi", "ks", "wasserstein", "jensen_shannon", "hellinger", "chi_square", "total_variation", "mean"]


def rule(**more):
    return ThresholdRule.model_validate({"name": "far", "statistic": "ks", "fail": 0.2, **more})


def scores(values):
    return {Series("score", "m", "1"): Counts.of(bins_of(values, "probability"))}


def seconds(values, stage):
    return {Series(f"latency.{stage}", "m", "1"): Counts.of(bins_of(values))}


def inputs(values=(), categories=None, missing=0, name="visib"):
    """A pane of a watched input: numbers, or how many requests had which category."""
    present = len(values) if categories is None else sum(categories.values())
    pane = {Series(f"missing.{name}"): Counts.of([0, 2], [missing, present])}
    if categories is None:
        return pane | {Series(f"feature.{name}"): Counts.of(bins_of(values))}
    return pane | {Series(f"category.{name}", segment=c): Counts.of([0], [n]) for c, n in categories.items()}


def nulls(events, k):
    return {Series("counts", "m", "1"): counted(events=events, nulls=k)}


def judge(asked, now, was):
    return asked.judge(case(now, ("m", "1"), reference_of(was) if was else None), {}, 4.0)[0]


def shares(values):
    cuts = np.quantile(ALL, np.arange(1, 10) / 10, method="inverted_cdf")
    return np.bincount(np.searchsorted(cuts, values), minlength=10) / values.size


ORACLES = {
    "ks": stats.ks_2samp(NOW, ALL).statistic,
    "wasserstein": stats.wasserstein_distance(NOW, ALL),
    "mean": abs(NOW.mean() - ALL.mean()),
    "jensen_shannon": jensenshannon(shares(NOW), shares(ALL), base=2),
    "hellinger": np.sqrt(1 - np.sqrt(shares(NOW) * shares(ALL)).sum()),
    "total_variation": 1 - np.minimum(shares(NOW), shares(ALL)).sum(),
    "psi": stats.entropy(shares(NOW), shares(ALL)) + stats.entropy(shares(ALL), shares(NOW)),
    "chi_square": 1 - 2 * (shares(NOW) * shares(ALL) / (shares(NOW) + shares(ALL))).sum(),
}


@pytest.mark.parametrize("statistic", DISTANCES)
def test_a_distance_is_what_others_compute_on_the_scores_themselves(statistic):
    verdict = judge(rule(statistic=statistic), scores(NOW), [scores(day) for day in WAS])
    assert verdict.statistic == statistic
    assert verdict.value == pytest.approx(ORACLES[statistic], rel=0.05)
    assert verdict.details["reference_events"] == ALL.size


def test_beyond_warn_is_information_and_beyond_fail_as_severe_as_the_rule():
    found = {}
    for warn, fail in ((0.05, 0.1), (0.05, 0.9), (0.8, 0.9)):
        asked = rule(warn=warn, fail=fail, severity="page")
        verdict = judge(asked, scores(NOW), [scores(ALL)])
        found[warn, fail] = (verdict.status, verdict.tolerance, asked.severity_of(verdict))
        assert verdict.effect == pytest.approx(max(0.0, verdict.value - verdict.tolerance))
    assert found == {
        (0.05, 0.1): ("drifting", 0.1, "page"),
        (0.05, 0.9): ("drifting", 0.05, "info"),
        (0.8, 0.9): ("ok", 0.8, "page"),
    }
    said = judge(rule(fail=0.1), scores(NOW), [scores(ALL)]).reason
    assert re.fullmatch(r"ks of m 1 \(scores\) is 0\.16\d from the reference, beyond `fail: 0\.1`", said)


def test_one_of_the_numbers_is_enough():
    alone = rule(warn=0.1, fail=None)
    verdict = judge(alone, scores(NOW), [scores(ALL)])
    assert (verdict.status, alone.severity_of(verdict)) == ("drifting", "info")
    assert judge(rule(fail=0.5), scores(NOW), [scores(ALL)]).status == "ok"


def test_it_spends_nothing_and_gathers_no_evidence():
    verdict = judge(rule(), scores(NOW), [scores(ALL)])
    assert not rule().spends
    assert (verdict.evidence, verdict.threshold) == (None, None)


def test_latencies_are_compared_in_seconds():
    fast, slow = RNG.exponential(1.0, 500), RNG.exponential(3.0, 500)
    asked = rule(statistic="mean", of="queue", fail=1)
    verdict = judge(asked, seconds(slow, "queue"), [seconds(fast, "queue")])
    assert verdict.value == pytest.approx(slow.mean() - fast.mean(), rel=0.01)
    assert verdict.status == "drifting"
    assert asked.subjects(seconds(slow, "queue"), []) == [Subject("m", "1")]
    assert asked.subjects(seconds(slow, "model"), []) == []
    assert [rule(of=of).stream for of in ("scores", "model", "answer")] == ["scores", "scores", "metrics"]


def test_nulls_are_compared_by_how_much_their_share_has_grown():
    asked = rule(statistic="null_rate", fail=0.05)
    assert judge(asked, nulls(1_000, 80), [nulls(4_000, 40)]).value == pytest.approx(0.07)
    assert judge(asked, nulls(1_000, 0), [nulls(4_000, 40)]).value == 0.0
    assert asked.subjects(nulls(10, 0), []) == [Subject("m", "1")]


def feature(asked, now, was, name="visib"):
    return asked.judge(case(now, ("", "", "", name), reference_of(was)), {}, 4.0)[0]


def test_watched_inputs_are_compared_like_scores():
    was, now = RNG.normal(10, 2, 3_000), RNG.normal(11, 2, 500)
    verdict = feature(rule(of="features", feature="vis*"), inputs(now), [inputs(was)])
    assert verdict.value == pytest.approx(stats.ks_2samp(now, was).statistic, abs=0.02)
    assert verdict.reason.startswith("ks of visib is 0.2")
    assert rule(of="features", feature="vis*").subjects(inputs(now) | inputs(now, name="wind"), []) == [
        Subject(feature="visib")
    ]
    assert rule(of="features").stream.startswith("requests")


def test_categories_have_distances_but_no_mean():
    was, now = (
        inputs(categories={"UA": 500, "B6": 300, "DL": 200}),
        inputs(categories={"UA": 250, "B6": 150, "XX": 100}),
    )
    shares = feature(rule(of="features", statistic="total_variation"), now, [was])
    assert shares.value == pytest.approx(0.2)
    mean = feature(rule(of="features", statistic="mean"), now, [was])
    assert (mean.status, mean.reason) == ("no data", "visib is a category: it has no mean")


def test_the_share_of_missing_inputs_is_a_null_rate():
    was, now = inputs(np.ones(900), missing=100), inputs(np.ones(800), missing=200)
    verdict = feature(rule(of="features", statistic="null_rate"), now, [was])
    assert (verdict.value, verdict.n) == (pytest.approx(0.1), 1_000)


@pytest.mark.parametrize(
    ("now", "was", "said"),
    [
        (NOW[:199], [ALL], "199 events of m 1 (scores), fewer than 200"),
        (NOW, [], "the reference has nothing of m 1 (scores)"),
        (NOW, [ALL[:0]], "the reference has nothing of m 1 (scores)"),
    ],
)
def test_what_cannot_be_compared_is_no_data(now, was, said):
    verdict = judge(rule(), scores(now), [scores(day) for day in was])
    assert (verdict.status, verdict.reason) == ("no data", said)


def test_a_part_of_a_window_is_not_compared_with_whole_ones():
    verdict, _ = rule().judge(case(scores(NOW), ("m", "1"), reference_of([scores(ALL)], whole=False)), {}, 4.0)
    assert verdict.status == "no data"
    assert "was there for a part of the window" in verdict.reason


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"fail": None}, "write `warn`, `fail`, or both"),
        ({"warn": 0.3}, "`warn: 0.3` lies beyond `fail: 0.2`"),
        ({"statistic": "null_rate", "of": "model"}, "`null_rate` is of scores or features"),
        ({"fail": -1}, "greater than or equal to 0"),
        ({"fail": float("nan")}, "finite number"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(said, why):
    with pytest.raises(ValidationError, match=why):
        rule(**said)
