"""A fleet that is never quite the same, small: ten models over a week."""

import sys
from pathlib import Path

import numpy as np
import pytest

from birdwatch.detect.reference import DAY
from birdwatch.stats.grid import midpoints
from birdwatch.windows.pane import Series, counters, total

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.detection import fleet, lives

MODELS = 10
WEEK = 7
BAD_FROM = 2


@pytest.fixture(scope="module")
def models():
    return lives.Fleet(MODELS, fleet.REFERENCE + WEEK, fleet.REQUESTS, fleet.SEED, fleet.BOUNDS["bounded"])


@pytest.fixture(scope="module")
def rules():
    return fleet.starter_rules()


def test_a_healthy_fleet_pages_no_more_often_than_the_budget_says(models, rules):
    spending = fleet.spend(rules, MODELS)
    assert sum(share.promised for share in spending.rules.values()) == pytest.approx(1)
    pages = fleet.healthy(models, rules, spending, lambda: None)
    assert len(pages) <= WEEK / fleet.MONTH, pages


def test_each_model_that_breaks_is_named_within_three_days_and_not_before(models, rules):
    found = fleet.broken(models, rules, fleet.spend(rules, MODELS), BAD_FROM, lambda: None)
    assert set(found) == set(lives.FAULTS)
    assert [one["before"] for one in found.values()] == [0, 0, 0]
    assert found["permuted scores"]["hours"]["disagreement"] <= 2
    assert found["errors tripled"]["hours"]["score-errors"] <= 72
    assert found["latency tripled"]["hours"]["model-latency"] == 24
    # Nothing moved that a rule on scores could see, and nobody else speaks of it.
    assert [set(one["hours"]) for one in found.values()][1:] == [{"score-errors"}, {"model-latency"}]
    assert "scores" not in found["permuted scores"]["hours"]


def test_what_breaks_changes_nothing_before_and_only_what_it_is_about(models):
    day = fleet.REFERENCE + BAD_FROM
    name, partner = "challenger-1", lives.CHAMPION
    usual = models.life(name)
    for fault in lives.FAULTS:
        after = models.life(name, fault, day)
        assert _same(usual[DAY][:day], after[DAY][:day])
        assert _same(usual[lives.HOUR][: day * 24], after[lives.HOUR][: day * 24])
    broken = {fault: models.life(name, fault, day) for fault in lives.FAULTS}
    scores, seconds = Series("score", name, "1"), Series("latency.model", name, "1")
    apart = Series("apart", name, "1", partner)

    def days(life, series):
        return total(pane[series] for pane in life[DAY][day:])

    def errors(life):
        found = counters(days(life, Series("counts", name, "1")))
        return found["errors"] / found["events"]

    def median(counts):
        return midpoints(counts.bins)[np.searchsorted(np.cumsum(counts.counts), counts.counts.sum() / 2)]

    permuted, failing, slow = (broken[fault] for fault in lives.FAULTS)
    assert np.array_equal(days(permuted, scores).bins, days(usual, scores).bins)
    assert np.array_equal(days(permuted, scores).counts, days(usual, scores).counts)
    assert not _same([{apart: permuted[lives.HOUR][-1][apart]}], [{apart: usual[lives.HOUR][-1][apart]}])
    assert errors(failing) / errors(usual) == pytest.approx(3, rel=0.15)
    assert median(days(slow, seconds)) / median(days(usual, seconds)) == pytest.approx(3, rel=0.01)


def test_fleets_of_the_same_seed_live_alike_however_many_they_are(models):
    fewer = lives.Fleet(4, fleet.REFERENCE + WEEK, fleet.REQUESTS, fleet.SEED, fleet.BOUNDS["bounded"])
    assert _same(fewer.life("challenger-2")[lives.HOUR], models.life("challenger-2")[lives.HOUR])


def test_healthy_days_differ_by_more_than_chance(models):
    scores = Series("score", lives.CHAMPION, "1")
    days = [pane[scores] for pane in models.life(lives.CHAMPION)[DAY]]
    means = np.array([np.average(midpoints(d.bins, "probability"), weights=d.counts) for d in days])
    by_chance = np.sqrt(np.mean([_variance(d) / d.counts.sum() for d in days]))
    assert means.std() > 3 * by_chance


def _variance(counts):
    x = midpoints(counts.bins, "probability")
    return np.average(x**2, weights=counts.counts) - np.average(x, weights=counts.counts) ** 2


def _same(ours, others):
    return len(ours) == len(others) and all(
        a.keys() == b.keys()
        and all(np.array_equal(a[s].bins, b[s].bins) and np.array_equal(a[s].counts, b[s].counts) for s in a)
        for a, b in zip(ours, others, strict=True)
    )
