"""The page "Fleet at a glance": full, empty, broken and past, as Streamlit runs it."""

import json
import shutil

import pytest
from streamlit.testing.v1 import AppTest

from birdwatch.windows.store import Store

from .synthetic import write_store


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    made = tmp_path_factory.mktemp("dashboards") / "birdwatch.db"
    write_store(made).close()
    return made


@pytest.fixture
def view(root, monkeypatch):
    """Open the dashboard over a store, as a link with these parameters would."""
    monkeypatch.syspath_prepend(str(root / "dashboards"))

    def open_page(store, **query):
        monkeypatch.setenv("BIRDWATCH_STORE", str(store))
        app = AppTest.from_file(str(root / "dashboards" / "app.py"), default_timeout=120)
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return open_page


def words(app):
    """Give all that the page says, as one text."""
    said = [*app.title, *app.subheader, *app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.success]
    return "\n".join(element.value for element in said)


def charts(app):
    return app.get("vega_lite_chart")


def test_a_healthy_fleet_is_told_to_be_in_order(full, view):
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
    assert len(charts(app)) == 8


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


def test_a_day_is_judged_by_the_last_verdicts_even_when_none_falls_into_it(full, view):
    app = view(full, range="day")
    assert app.success[0].value == "**All in order: no alert firing, 4 models judged**"
    assert "No rule has compared scores with a reference in this time." in words(app)


def test_the_past_is_shown_as_it_was(full, view):
    app = view(full, range="custom", **{"from": "2024-03-18T00:00", "to": "2024-03-26T06:00"})
    assert not app.exception
    (page_box,) = app.error
    assert page_box.value.startswith("**1 page firing: challenger 2 – the model changed**")
    assert "54 % of requests differ" in page_box.value
    assert "Data as of **Tue 26 Mar 2024 06:00 UTC**" in words(app)
    newest, older = app.table[0].value["Alert"]
    assert "page, firing" in newest
    assert "**challenger 2 – the model changed** (pairs)" in newest
    assert "ticket, resolved" in older
    assert "**inputs changed** (scores)" in older


def test_an_alert_that_fires_says_why(full, view):
    app = view(full, range="custom", **{"from": "2024-03-18T00:00", "to": "2024-03-26T06:00"})
    (why,) = app.expander
    assert why.label == "Why: challenger 2 – the model changed"
    assert why.proto.expanded
    said = "\n".join(element.value for element in why.markdown)
    assert "54 % of requests differ" in said
    assert "Since **Mon 25 Mar 2024 00:00 UTC**, told Tue 26 Mar 2024 00:00 UTC." in said
    assert "Most of all in **origin=EWR**: 0.8, usually 0.1 (300 requests)." in said
    segments, requests = (frame.value for frame in why.dataframe)
    assert segments["segment"].tolist() == ["origin=EWR"]
    assert requests["request_id"].tolist() == ["r1"]


def test_an_alert_on_the_inputs_shows_which_values_of_the_scores_moved(full, view):
    app = view(full, range="custom", **{"from": "2024-03-12T00:00", "to": "2024-03-19T01:00"})
    (why,) = app.expander
    assert why.label == "Why: inputs changed"
    assert not why.proto.expanded
    assert len(why.get("vega_lite_chart")) == 1


def test_inputs_are_listed_with_the_furthest_beyond_first_and_no_model_is_empty(full, view):
    app = view(full, range="custom", **{"from": "2024-03-12T00:00", "to": "2024-03-19T01:00"})
    fleet, inputs = app.dataframe[0].value, app.dataframe[1].value
    assert fleet["Model"].str.strip().ne("").all()
    assert inputs["Input"].tolist() == ["visib", "carrier"]
    assert inputs["Last verdict"].tolist() == [["▲ drifting"], ["✓ ok"]]
    assert inputs["Value"].tolist() == ["0.60 > 0.50", "0.05 ≤ 0.50"]
    assert "**visib** from Mon 18 Mar 00:00" in words(app)


def test_a_pair_and_what_was_measured_of_it_can_be_chosen(full, view):
    app = view(full, range="month")
    assert app.selectbox(key="pair").options[0] == "challenger 2 against champion"
    app.selectbox(key="pair").set_value("champion 1 against canary").run()
    assert not app.exception
    assert app.get("button_group")


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


def test_the_stage_of_latency_can_be_chosen(full, view):
    app = view(full, stage="queue")
    spec = json.loads(charts(app)[0].proto.spec)
    assert '"domain": ["canary", "challenger", "champion", "fallback"]' in json.dumps(spec)


def test_no_chart_has_more_than_two_thousand_points(full, view, monkeypatch):
    import streamlit as st

    sent = []
    monkeypatch.setattr(st, "vega_lite_chart", lambda spec, **_: sent.append(spec["datasets"]["main"]))
    for stage in ("answer", "model"):
        view(full, range="all", stage=stage)
    assert len(sent) == 16
    assert max(map(len, sent)) <= 2000


def test_without_a_store_the_page_says_what_to_start(tmp_path, view):
    app = view(tmp_path / "none.db")
    assert not app.exception
    assert f"there is no store at {tmp_path / 'none.db'}: start `birdwatch tail" in app.info[0].value
    assert not app.dataframe


def test_before_the_first_pane_the_page_says_that_it_is_starting(tmp_path, view):
    Store(tmp_path / "new.db", pane_seconds=60).close()
    app = view(tmp_path / "new.db")
    assert not app.exception
    assert app.info[0].value.startswith("**Starting.**")


def test_a_file_that_is_no_store_is_named(tmp_path, view):
    (tmp_path / "broken.db").write_text("this is no store" * 100)
    app = view(tmp_path / "broken.db")
    assert not app.exception
    assert f"{tmp_path / 'broken.db'} is damaged (file is not a database)" in app.error[0].value


def test_a_store_of_another_grid_says_so(full, tmp_path, view):
    other = tmp_path / "other.db"
    shutil.copy(full, other)
    store = Store(other)
    store.connection.execute("UPDATE meta SET (value, sum) = ('0', NULL) WHERE key = 'grid'")
    store.close()
    assert "was written with grid 0, not 1" in view(other).error[0].value


def test_a_store_without_verdicts_shows_what_it_has(full, tmp_path, view):
    unjudged = tmp_path / "unjudged.db"
    shutil.copy(full, unjudged)
    store = Store(unjudged)
    for table in ("verdicts", "outbox", "alerts", "spending"):
        store.connection.execute(f"DROP TABLE {table}")
    store.close()
    app = view(unjudged)
    assert not app.exception
    said = words(app)
    assert not app.get("progress")
    assert "Nothing can be judged yet" in said
    assert "No rule has compared scores with a reference in this time." in said
    assert "None fired in this time." in said


def test_silent_streams_are_told(full, tmp_path, view):
    silent = tmp_path / "silent.db"
    shutil.copy(full, silent)
    store = Store(silent)
    store.put_sources([source._replace(idle=source.model == "challenger") for source in store.sources()])
    store.close()
    assert [box.value for box in view(silent).warning] == ["Fallen silent: challenger."]
    store = Store(silent)
    store.put_sources([source._replace(idle=True) for source in store.sources()])
    store.close()
    assert "All streams have fallen silent" in view(silent).warning[0].value


def test_a_page_leaves_no_store_open(full, view, monkeypatch):
    opened = []
    original = Store.__init__

    def remember(self, *args, **kwargs):
        opened.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Store, "__init__", remember)
    view(full, range="day")
    assert opened
    for store in opened:
        with pytest.raises(Exception, match="closed"):
            store.connection.execute("SELECT 1")
