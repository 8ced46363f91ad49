"""Each page over a full store: what it says, and what can be chosen on it."""

import json
import re
import shutil
from contextlib import closing

import pytest
import streamlit as st

from birdwatch.detect.frozen import save
from birdwatch.detect.sourcing import freeze
from birdwatch.records import Snapshot, encode
from birdwatch.streams import Message
from birdwatch.windows.posteriors import put_posteriors
from birdwatch.windows.store import Store

from .synthetic import DAY, PAST, START

STORM = {"range": "custom", "from": "2024-03-12T00:00", "to": "2024-03-19T01:00"}


def charts(app):
    return [json.dumps(json.loads(chart.proto.spec)) for chart in app.get("vega_lite_chart")]


def test_latency_shows_percentiles_their_distribution_and_objectives(full, view, words):
    app = view(full, "latency", **PAST)
    assert not app.exception
    assert len(charts(app)) == 4
    assert "furthest was challenger, at 2.3 times what is allowed, 26 Mar 00:00." in words(app)
    assert "spent more than they may in this time" in words(app)


def test_the_stage_of_latency_can_be_chosen_and_comes_with_the_address(full, view):
    percentiles, heat, *_ = charts(view(full, "latency", stage="queue"))
    assert '"domain": ["canary", "challenger", "champion", "fallback"]' in percentiles
    assert "share of a column" in heat


def test_scores_are_shown_over_time_against_their_reference_and_by_evidence(full, view, words):
    app = view(full, "scores", **STORM)
    assert not app.exception
    assert "4 of 28 looks found more than is tolerated" in words(app)
    assert "It alarmed 4 times" in words(app)
    _, _, _, distance, _, _, _ = charts(app)  # beside it: drift, evidence, heat, quantiles, shape, an input's values
    assert "distance (KS)" in distance
    assert "0.27" in distance  # what the rule tolerates
    shifted = view(full, "scores", distance="PSI", of="champion", **STORM)
    assert "population stability index" in charts(shifted)[3]


def test_a_day_is_judged_by_the_last_verdicts_even_when_none_falls_into_it(full, view, words):
    app = view(full, "scores", range="day")
    assert app.success[0].value == "**All in order: no alert firing, 4 models judged**"
    assert "No rule has compared scores with a reference in this time." in words(app)


def test_inputs_are_listed_with_the_furthest_beyond_first(full, view, words):
    app = view(full, "scores", **STORM)
    inputs = app.dataframe[0].value
    assert inputs["Input"].tolist() == ["visib", "carrier"]
    assert inputs["Last verdict"].tolist() == [["▲ drifting"], ["✓ ok"]]
    assert inputs["Value"].tolist() == ["0.60 > 0.50", "0.05 ≤ 0.50"]
    assert "**visib** from Mon 18 Mar 00:00" in words(app)


def test_a_pair_is_shown_in_detail_with_its_largest_disagreements(full, view, words):
    app = view(full, "canary", **PAST)
    assert not app.exception
    assert "challenger 2 – the model changed" in words(app)
    assert app.selectbox(key="pair").value == "challenger 2 against champion"
    requests = app.dataframe[0].value
    assert requests["version"].tolist()[0] == "2"
    assert requests["difference"].tolist() == sorted(requests["difference"], reverse=True)
    assert requests["difference"].iloc[0] == 0.7
    app.selectbox(key="pair").set_value("champion 1 against canary").run()
    assert not app.exception
    assert "None were kept in this time." in words(app)


def test_the_difference_so_far_has_a_band_that_holds_at_all_times(full, view, words):
    app = view(full, "canary", **PAST)
    said = words(app)
    assert "requests champion 1 scored 0.03" in said
    assert "lower than canary on average (between 0.0" in said
    app.selectbox(key="pair").set_value("champion 1 against canary").run()
    assert "which is in order (-0.05 to +0.05)." in words(app)
    part = view(full, "canary", segment="origin=EWR", models=["champion"], **PAST)
    assert not part.exception
    some, everything = (
        int(re.findall(r"Over ([\d,]+) requests champion", text)[0].replace(",", "")) for text in (words(part), said)
    )
    assert 0.4 * everything < some < 0.6 * everything


def test_scores_are_told_quantile_by_quantile(full, view, words):
    app = view(full, "scores", of="champion", range="custom", **{"from": "2024-03-18T00:00", "to": "2024-03-19T00:00"})
    assert not app.exception
    assert "lie higher: half are now below 0.3" in words(app)
    calm = view(full, "scores", of="champion", range="custom", **{"from": "2024-03-08T00:00", "to": "2024-03-10T00:00"})
    assert "there is no more difference than chance makes" in words(calm)
    assert "Compared with" not in words(calm)


@pytest.fixture
def frozen(full, tmp_path, monkeypatch):
    """Have the settings give a reference of the first twelve days."""
    store = Store(full, readonly=True)
    save(freeze(store, START, START + 12 * DAY, DAY, name="early March"), tmp_path / "march.json")
    store.close()
    monkeypatch.setenv("BIRDWATCH_REFERENCES", json.dumps([str(tmp_path / "march.json")]))
    st.cache_data.clear()
    st.cache_resource.clear()
    yield tmp_path / "march.json"
    st.cache_data.clear()
    st.cache_resource.clear()


def test_scores_are_compared_with_the_frozen_reference_of_their_rule(full, frozen, view, words):
    app = view(full, "scores", of="champion", **STORM | {"from": "2024-03-14T00:00"})
    assert not app.exception
    assert "**Distance from the frozen reference**" in words(app)
    assert "By the windows of its rule, against early March." in words(app)
    assert "**Which scores moved, against the frozen reference**" in words(app)
    before = view(full, "scores", of="champion", against="the four weeks before", **STORM)
    assert "**Distance from the four weeks before**" in words(before)


def test_a_range_that_the_reference_covers_says_so(full, frozen, view, words):
    app = view(full, "scores", of="champion", range="custom", **{"from": "2024-03-05T00:00", "to": "2024-03-09T00:00"})
    assert not app.exception
    assert "early March overlaps the window it should judge" in words(app)


def test_a_reference_that_is_gone_says_so_and_the_rest_is_shown(full, frozen, view, words):
    frozen.unlink()
    app = view(full, "scores", of="champion", **STORM)
    assert not app.exception
    assert f"{frozen} cannot be read as a reference" in words(app)
    assert len(charts(app)) == 5


def test_selection_shows_who_answered_and_why(full, view, words):
    app = view(full, "selection", range="month")
    assert not app.exception
    assert len(charts(app)) == 3
    tiers = app.dataframe[0].value
    assert tiers[["Model", "Tier", "Why"]].to_numpy().tolist() == [
        ["champion 1", "1", "first choice"],
        ["fallback 1", "2", "timed out"],
    ]
    assert f"{tiers['Answers'].iloc[1]} of {tiers['Answers'].sum():,} answers: timed out" in words(app)


def test_selection_shows_what_a_bandit_believes_where_one_learns(full, view, words, tmp_path):
    assert "What the bandit believes" not in words(view(full, "selection", range="month"))
    learnt = shutil.copy(full, tmp_path / "learnt.db")
    with closing(Store(learnt)) as store, store.transaction():
        state = {"latest": START + 3 * DAY, "arms": {"champion": [30.0, 70.0], "challenger": [60.0, 40.0]}}
        snapshot = Snapshot(component="bandit", by="learner", ts=0.0, state=state)
        put_posteriors(store, [Message("snapshots", 0, 0, b"", encode(snapshot))])
    app = view(learnt, "selection", range="month")
    assert not app.exception
    assert "What the bandit believes" in words(app)
    assert "It believes that challenger earns most with a probability of 100%: 0.6 a request" in words(app)
    assert len(charts(app)) == 5


def test_deployments_are_listed_the_newest_first_with_who_and_why(full, view, words):
    app = view(full, "deployments", **PAST)
    assert not app.exception
    changes = app.dataframe[0].value
    assert changes["Change"].tolist() == ["rollback challenger 2", "register challenger 2"]
    assert changes["Because"].tolist() == ["disagrees with the champion", "new features"]
    assert "2 changes; the last: rollback challenger 2, by ana, 26 Mar 00:00." in words(app)


def test_an_alert_that_fires_says_why(full, view):
    app = view(full, "alerts", **PAST)
    why, *_ = app.expander
    assert why.label == "Why: challenger 2 – the model changed"
    assert why.proto.expanded
    said = "\n".join(element.value for element in why.markdown)
    assert "54 % of requests differ" in said
    assert "Since **Mon 25 Mar 2024 00:00 UTC**, told Tue 26 Mar 2024 00:00 UTC." in said
    assert "Most of all in **origin=EWR**: 0.8, usually 0.1 (300 requests)." in said
    segments, requests = (frame.value for frame in why.dataframe)
    assert segments["segment"].tolist() == ["origin=EWR"]
    assert requests["request_id"].tolist() == ["r1"]


def opened(app, box):
    """Open what is closed, as a click would."""
    app.session_state[box.proto.id.split("-", 2)[2]] = True
    return app.run()


def test_an_alert_that_is_over_still_says_what_lay_behind_it(full, view, words):
    app = view(full, "alerts", **PAST)
    newest, older = app.table[0].value["Alert"]
    assert "page, firing" in newest
    assert "ticket, resolved" in older
    assert "**inputs changed** (scores)" in older
    _, past = app.expander
    assert past.label == "Tue 19 Mar 2024 00:00 UTC: inputs changed (scores)"
    assert "told Tue 19 Mar 2024 00:00 UTC." not in words(app)  # nothing is loaded before it is opened
    drawn = len(charts(app))
    app = opened(app, past)
    assert "told Tue 19 Mar 2024 00:00 UTC." in words(app)
    assert "4 of 72 looks found more than is tolerated, the most of champion up to 19 Mar 00:00." in words(app)
    assert len(charts(app)) == drawn + 2  # how far the models lay, and the values that moved


def test_an_alert_on_the_inputs_is_not_opened_by_itself(full, view):
    app = view(full, "alerts", **STORM)
    (why,) = app.expander
    assert why.label == "Why: inputs changed"
    assert not why.proto.expanded
    assert len(why.get("vega_lite_chart")) == 0
    (why,) = opened(app, why).expander
    assert len(why.get("vega_lite_chart")) == 2


def test_streams_say_what_was_not_read_yet_and_what_could_not_be(full, view, words):
    app = view(full, "streams", range="month")
    assert "At most 660 messages of scores were not yet read, 18 Mar 0" in words(app)
    assert "52 dead letters: scores 52; the last 25 Mar 1" in words(app)
    assert "`birdwatch streams cat deadletters --stream scores`" in words(app)
    calm = words(view(full, "streams", range="day"))
    assert "No dead letter was counted in this time." in calm


def test_streams_account_for_every_request(full, view):
    app = view(full, "streams", range="month")
    assert not app.exception
    audit, lag, letters, sources, arrivals = (frame.value for frame in app.dataframe)
    assert lag.to_numpy().tolist() == [["requests/0", 0], ["scores/0", 0]]
    assert letters.to_numpy().tolist() == [
        ["scores", "unreadable", 52, "JSON is malformed: invalid character (byte 80)", "scores/0@57600"]
    ]
    assert sorted(audit["Model"]) == ["canary", "challenger", "champion", "fallback"]
    assert (audit["In"] == audit["Scored"] + audit["Failed"] + audit["Pending"]).all()
    assert sources["Source"].iloc[0] == "scores/0"
    assert {metric.label: metric.value for metric in app.metric} == {
        "Late": "2",
        "Twice": "3",
        "Orphans": "0",
        "Damaged": "0",
    }
    assert arrivals["Stream"].tolist() == ["outcomes", "scores"]
