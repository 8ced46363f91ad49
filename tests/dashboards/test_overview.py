"""The overview: the fleet in words, in figures and as a table, what fires, and the page budget."""

import pytest

from .synthetic import PAST


def test_a_healthy_fleet_is_told_to_be_in_order(full, view, words):
    app = view(full)
    assert not app.exception
    assert [box.value for box in app.success] == ["**All in order: no alert firing, 4 models judged**"]
    assert "Data as of **Sun 31 Mar 2024 00:00 UTC** (event time)" in words(app)
    assert [metric.label for metric in app.metric] == [
        "Requests",
        "Answered in time",
        "First choice answered",
        "Answer, p99",
        "Outcomes known",
        "Alerts",
    ]
    assert "None is firing." in words(app)


def test_the_fleet_has_a_row_for_each_version(full, view):
    table = view(full, range="month").dataframe[0].value
    assert table["Model"].tolist() == ["champion 1", "challenger 1", "challenger 2", "fallback 1", "canary 1"]
    assert table["Role"].tolist() == ["champion", "challenger", "(challenger)", "fallback", "canary"]
    assert table["Last verdicts"].tolist()[2] == ["▲ drifting"]
    assert table["Disagrees"].tolist()[2] == "54% > 24%"
    assert table["Answers"].sum() == pytest.approx(1.0)


def test_a_week_shows_less_than_a_month(full, view):
    week, month = (view(full, range=name).metric[0].value for name in ("week", "month"))
    assert int(week.replace(",", "")) < int(month.replace(",", "")) / 3


def test_the_past_is_shown_as_it_was(full, view, words):
    app = view(full, **PAST)
    assert not app.exception
    (page_box,) = app.error
    assert page_box.value.startswith("**1 page firing: challenger 2 – the model changed**")
    assert "54 % of requests differ" in page_box.value
    assert "Data as of **Tue 26 Mar 2024 06:00 UTC**" in words(app)
    (open_alert,) = app.table[0].value["Alert"]
    assert "page, firing" in open_alert
    assert "**challenger 2 – the model changed** (pairs)" in open_alert


def test_the_page_budget_is_told_with_what_each_rule_has_to_reach(full, view):
    app = view(full, range="month")
    (bar,) = app.get("progress")
    said = "Page budget: at most 1 false page to be expected in 30d; 0.97 spent, 0.033 left, 1 page fired"
    assert (bar.proto.text, bar.proto.value) == (said, 96)
    rules = app.dataframe[-1].value.set_index("Rule")
    assert rules["Evidence must reach"].to_dict() == {"pairs": 150, "sla-misses": 150, "new": 180}
    assert rules["Looked"].to_dict() == {"pairs": 87, "sla-misses": 58, "new": 0}
    assert rules["Fired"].to_dict() == {"pairs": 1, "sla-misses": 0, "new": 0}
    assert rules["Share of the promise"].isna().to_dict() == {"pairs": False, "sla-misses": False, "new": True}


def test_the_page_budget_of_the_past_is_shown_as_it_was(full, view):
    app = view(full, range="custom", **{"from": "2024-03-05T00:00", "to": "2024-03-11T00:00"})
    (bar,) = app.get("progress")
    assert bar.proto.text.endswith("0.33 spent, 0.67 left, 0 pages fired")


def test_models_can_be_chosen_and_come_with_the_address(full, view):
    app = view(full, range="month")
    app.multiselect(key="models").set_value(["canary", "champion"]).run()
    assert app.dataframe[0].value["Model"].tolist() == ["champion 1", "canary 1"]
    shared = view(full, range="month", models=["canary", "champion"])
    assert shared.dataframe[0].value["Model"].tolist() == ["champion 1", "canary 1"]
