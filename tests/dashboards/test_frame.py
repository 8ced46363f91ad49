"""What all pages have in common: choices that travel, states said in words, and a store that is left closed."""

import os
import re
import shutil
import time

import pytest

from birdwatch.windows.store import Store

from .synthetic import PAST

PAGES = ("", "latency", "scores", "canary", "selection", "deployments", "alerts", "streams")


@pytest.fixture(scope="module")
def unjudged(full, tmp_path_factory):
    """A store that a tail without rules wrote."""
    path = tmp_path_factory.mktemp("unjudged") / "birdwatch.db"
    shutil.copy(full, path)
    store = Store(path)
    for table in ("verdicts", "outbox", "alerts", "spending"):
        store.connection.execute(f"DROP TABLE {table}")
    store.close()
    return path


@pytest.mark.parametrize("name", ["", "scores", "canary", "alerts"])
def test_a_store_without_verdicts_shows_what_it_has(unjudged, view, words, name):
    app = view(unjudged, name)
    assert not app.exception
    assert "Nothing can be judged yet" in words(app)
    assert not app.get("progress")


@pytest.mark.parametrize("name", PAGES)
def test_a_stretch_without_anything_is_said_to_be_empty(full, view, words, name):
    app = view(full, name, range="custom", **{"from": "2023-01-01T00:00", "to": "2023-01-02T00:00"})
    assert not app.exception
    assert not app.get("vega_lite_chart")
    assert "Nothing can be judged yet" in words(app)


def test_choices_travel_from_page_to_page(full, view):
    app = view(full, range="month", models=["canary", "champion"])
    app.switch_page("scores.py").run()
    assert app.title[0].value == "Scores"
    assert app.multiselect(key="models").value == ["canary", "champion"]
    assert app.selectbox(key="of").options == ["canary", "champion"]


def test_a_segment_is_kept_in_the_address_and_what_is_not_kept_by_it_says_so(full, view, words):
    part = view(full, "streams", range="month", segment="origin=EWR")
    assert "What has no score is not kept by segment: this is all traffic, not origin=EWR alone" in words(part)
    part.selectbox(key="segment").set_value(None).run()
    assert "all traffic" not in words(part)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("canary", ["Evidence", "What rules measured", "Which requests they are", "How both scored a request"]),
        ("scores", ["What rules say of scores", "What models are given"]),
        ("streams", ["What has no score", "The account of requests", "How streams are read"]),
        ("deployments", ["What was changed"]),
        ("alerts", ["What alerts rest on"]),
    ],
)
def test_each_chart_that_is_not_kept_by_segment_says_so_where_it_stands(full, view, words, name, told):
    said = words(view(full, name, range="month", segment="origin=EWR"))
    assert re.findall(r"info: (.+) is not kept by segment", said) == told


def test_without_a_store_the_page_says_what_to_start(tmp_path, view):
    app = view(tmp_path / "none.db")
    assert not app.exception
    assert f"there is no store at {tmp_path / 'none.db'}: start `birdwatch tail" in app.info[0].value
    assert not app.dataframe


def test_before_the_first_pane_the_page_says_that_it_is_starting(tmp_path, view):
    Store(tmp_path / "new.db", pane_seconds=60).close()
    app = view(tmp_path / "new.db", "streams")
    assert not app.exception
    assert app.title[0].value == "Streams"
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


def test_a_store_that_nobody_writes_any_more_is_stale_but_the_past_is_not(full, tmp_path, view, words):
    stale = tmp_path / "stale.db"
    shutil.copy(full, stale)
    before = time.time() - 6 * 3600
    os.utime(stale, (before, before))
    assert "**Stale.** Nothing was written to the store for 6 hours" in words(view(stale, "streams"))
    assert "Stale" not in words(view(stale, "streams", range="custom"))


def test_silent_streams_are_told(full, tmp_path, view):
    silent = tmp_path / "silent.db"
    shutil.copy(full, silent)
    store = Store(silent)
    store.put_sources([source._replace(idle=source.model == "challenger") for source in store.sources()])
    store.close()
    assert [box.value for box in view(silent, "alerts").warning] == ["Fallen silent: challenger."]
    store = Store(silent)
    store.put_sources([source._replace(idle=True) for source in store.sources()])
    store.close()
    assert "All streams have fallen silent" in view(silent, "alerts").warning[0].value


@pytest.mark.parametrize(
    ("name", "above", "in_all"),
    [("scores", 2, 7), ("canary", 2, 5), ("alerts", 1, 2), ("deployments", 1, 2), ("streams", 2, 4)],
)
def test_what_lies_below_the_first_screen_is_not_drawn_before_somebody_comes_near(full, view, name, above, in_all):
    app = view(full, name, scrolled=False, **PAST)
    assert not app.exception
    assert len(app.get("vega_lite_chart")) == above
    assert len(view(full, name, **PAST).get("vega_lite_chart")) == in_all


def test_what_lies_below_stays_drawn_once_somebody_was_there(full, view, words):
    app = view(full, scrolled=False)
    assert "Page budget" not in words(app)
    app.session_state["below"] = {"reached": True}
    assert "Page budget" in words(app.run())
    assert "Page budget" in words(app.run())


def test_no_chart_has_more_than_two_thousand_points(full, view, monkeypatch):
    import streamlit as st

    sent = []
    monkeypatch.setattr(st, "vega_lite_chart", lambda spec, **_: sent.append(len(spec["datasets"]["main"])))
    for name in ("latency", "scores", "canary", "selection", "streams"):
        view(full, name, range="all", stage="model")
    assert len(sent) > 12
    assert max(sent) <= 2000


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
