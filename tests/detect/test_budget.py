import pytest

from birdwatch.detect.budget import Budget, Watch

DAY = 86_400


def test_the_level_is_the_number_of_windows_looked_at_over_the_pages_allowed():
    spent = Budget(pages=2).spend([Watch("pairs", 3, DAY), Watch("sla", 1, DAY // 2)])
    assert spent.level == (3 * 30 + 60) / 2
    assert spent.subjects == {"pairs": 3, "sla": 1}


def test_minute_panes_of_one_model_for_a_year():
    budget = Budget.model_validate({"pages": 1, "per": "365d"})
    assert budget.spend([Watch("scores", 1, 60)]).level == 525_600


def test_nothing_watched_spends_nothing():
    spent = Budget().spend([Watch("pairs", 0, DAY)])
    assert (spent.level, spent.threshold, spent.subjects) == (1.0, 0.0, {})


def test_a_budget_of_no_pages_is_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        Budget(pages=0)
