from math import log

import numpy as np
import pytest

from birdwatch.detect.budget import Budget, Watch

DAY = 86_400


def levels(spending):
    return {rule: share.level for rule, share in spending.rules.items()}


def test_without_weights_there_is_one_level_the_windows_looked_at_over_the_pages_allowed():
    spending = Budget(pages=2).spend([Watch("pairs", 3, DAY), Watch("sla", 1, DAY // 2)])
    assert levels(spending) == {"pairs": (3 * 30 + 60) / 2, "sla": (3 * 30 + 60) / 2}
    assert {rule: share.subjects for rule, share in spending.rules.items()} == {"pairs": 3, "sla": 1}


def test_minute_panes_of_one_model_for_a_year():
    budget = Budget.model_validate({"pages": 1, "per": "365d"})
    assert levels(budget.spend([Watch("scores", 1, 60)])) == {"scores": 525_600}


def test_a_rule_that_weighs_twice_as_much_alarms_at_half_the_evidence():
    spending = Budget().spend([Watch("a", 1, DAY, 2.0), Watch("b", 5, DAY, 1.0)])
    assert levels(spending)["b"] == 2 * levels(spending)["a"]
    assert spending.threshold("a") == pytest.approx(log((2 * 30 + 150) / 2))


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 5), (0.1, 1, 10)])
@pytest.mark.parametrize("pages", [0.5, 1, 3])
def test_what_the_rules_are_promised_adds_up_to_the_promise_and_is_shared_by_weight(weights, pages):
    watches = [
        Watch(f"rule-{n}", subjects, window, weight)
        for n, (subjects, window, weight) in enumerate(zip((3, 40, 7), (DAY, 3600, 600), weights, strict=True))
    ]
    rules = Budget(pages=pages).spend(watches).rules
    looks = {w.rule: w.subjects * 30 * DAY / w.window_seconds for w in watches}
    assert sum(looks[w.rule] / rules[w.rule].level for w in watches) == pytest.approx(pages)
    for w in watches:
        assert rules[w.rule].promised == pytest.approx(looks[w.rule] / rules[w.rule].level)
    by_look = [rules[w.rule].promised / looks[w.rule] / w.weight for w in watches]
    assert by_look == pytest.approx([by_look[0]] * 3)


def test_a_weight_that_all_have_changes_nothing():
    alone = Budget().spend([Watch("a", 3, DAY), Watch("b", 2, 3600)])
    heavy = Budget().spend([Watch("a", 3, DAY, 7), Watch("b", 2, 3600, 7)])
    assert levels(heavy) == pytest.approx(levels(alone))


def test_a_rule_that_is_tried_takes_nothing_and_is_held_to_the_level_it_would_have():
    spending = Budget().spend([Watch("pairs", 3, DAY), Watch("new", 1, DAY, tried=True)])
    joined = Budget().spend([Watch("pairs", 3, DAY), Watch("new", 1, DAY)])
    assert levels(spending) == {"pairs": 90, "new": levels(joined)["new"]}
    assert (spending.rules["new"].promised, spending.rules["pairs"].promised) == (0, 1)


def test_nothing_watched_is_promised_nothing():
    spending = Budget().spend([Watch("pairs", 0, DAY)])
    assert (spending.threshold("pairs"), spending.rules["pairs"].promised) == (0.0, 0.0)


def test_a_generous_budget_still_asks_for_some_evidence():
    assert levels(Budget(pages=1000).spend([Watch("pairs", 1, DAY)])) == {"pairs": 1.0}


def test_a_budget_of_no_pages_is_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        Budget(pages=0)


def test_a_healthy_fleet_spends_no_more_than_the_promise_and_each_rule_its_share():
    # One alternative by Shiryaev and Roberts, R = (1 + R)L: a rate of .06 against the .05 that is true. With 8 pages in
    # 60 windows the levels are so low that false alarms can be counted.
    periods, looks = 400, 60
    spending = Budget(pages=8, per=looks).spend([Watch("heavy", 6, 1, 4.0), Watch("light", 6, 1, 1.0)])
    hits = np.random.default_rng(4).binomial(200, 0.05, size=(periods * looks, 6))
    ratios = (0.06 / 0.05) ** hits * (0.94 / 0.95) ** (200 - hits)
    for share in spending.rules.values():
        evidence, fired = np.zeros(6), 0
        for ratio in ratios:
            evidence = (1 + evidence) * ratio
            fired += int((evidence >= share.level).sum())
            evidence[evidence >= share.level] = 0
        assert 0.3 * share.promised < fired / periods < share.promised
    assert spending.rules["heavy"].promised == pytest.approx(4 * spending.rules["light"].promised)
