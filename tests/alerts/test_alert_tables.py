"""Alerts as tables, and the state of the fleet in a sentence."""

import pandas as pd
import pytest

from birdwatch.alerts.acknowledgements import acknowledge
from birdwatch.alerts.lifecycle import advance
from birdwatch.alerts.matchers import parse_matcher
from birdwatch.alerts.silences import add_silence, expire_silence
from birdwatch.alerts.tables import alert_in_words, alert_table, fleet_state, open_alerts
from birdwatch.detect.verdict import Finding, Subject
from birdwatch.windows.store import Store
from birdwatch.windows.tables import timestamp

DAY = 86_400


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "birdwatch.db", pane_seconds=3600)
    yield opened
    opened.close()


def tell(store, days, *, active, **more):
    said = {"rule": "pairs", "subject": Subject("m", "2", "c"), "severity": "page", "reason": "moved", **more}
    cause = {"attribution": "the model changed"} if active else {}
    advance(store, [Finding(ts=day * DAY, active=active, **cause, **said) for day in days])


@pytest.fixture
def resolved(store):
    """A store with a page that fired on day 1 and was over on day 4."""
    tell(store, [1], active=True)
    tell(store, [2, 3, 4], active=False)
    return store


def test_a_store_without_alerts_has_an_empty_table(store):
    table = alert_table(store, 0, DAY)
    assert table.empty
    assert isinstance(table["fired"].dtype, pd.DatetimeTZDtype)


def test_an_alert_is_a_row_from_firing_to_resolved(resolved):
    (row,) = alert_table(resolved, 0, 9 * DAY).to_dict("records")
    assert (row["fired"], row["resolved"], row["state"]) == (timestamp(DAY), timestamp(4 * DAY), "resolved")
    assert (row["model"], row["version"], row["attribution"], row["reason"]) == ("m", "2", "the model changed", "moved")


def test_the_past_looks_as_it_did(resolved):
    (row,) = alert_table(resolved, 0, 3 * DAY).to_dict("records")
    assert row["state"] == "firing"
    assert pd.isna(row["resolved"])


def test_what_fires_at_the_very_end_is_seen(store):
    tell(store, [1], active=True)
    assert alert_table(store, 0, DAY)["state"].tolist() == ["firing"]
    assert alert_table(store, 0, DAY - 1).empty


def test_the_newest_comes_first(store):
    tell(store, [1], active=True)
    tell(store, [2], active=True, rule="other")
    assert alert_table(store, 0, 3 * DAY)["rule"].tolist() == ["other", "pairs"]


@pytest.mark.parametrize(
    ("alert", "words"),
    [
        ({"model": "m", "version": "2", "attribution": "the model changed", "rule": "r"}, "m 2 – the model changed"),
        ({"model": "", "version": "", "attribution": "inputs changed", "rule": "r"}, "inputs changed"),
        ({"model": "m", "version": "", "attribution": "", "rule": "silence"}, "m – silence"),
    ],
)
def test_an_alert_says_about_whom_and_why(alert, words):
    assert alert_in_words(pd.Series(alert)) == words


def fleet(gone=(), **status):
    models = list(status)
    return pd.DataFrame(
        {"model": models, "version": "1", "status": list(status.values()), "gone": [m in gone for m in models]}
    )


def test_a_page_is_the_first_thing_said(store):
    tell(store, [1], active=True)
    tell(store, [1], active=True, severity="ticket", rule="scores", subject=Subject())
    state = fleet_state(alert_table(store, 0, DAY), fleet(m="drifting"))
    assert state == ("page", "1 page firing: m 2 – the model changed")


def test_tickets_are_told_when_nothing_pages(store):
    tell(store, [1], active=True, severity="ticket")
    tell(store, [1], active=True, severity="ticket", rule="scores", subject=Subject())
    state = fleet_state(alert_table(store, 0, DAY), fleet(m="ok"))
    assert state.level == "ticket"
    assert state.headline.startswith("2 tickets firing: ")


def test_a_resolved_alert_leaves_all_in_order(resolved):
    state = fleet_state(alert_table(resolved, 0, 9 * DAY), fleet(m="ok", c="ok"))
    assert state == ("ok", "All in order: no alert firing, 2 models judged")


def test_no_data_is_never_all_in_order(store):
    nothing = alert_table(store, 0, DAY)
    assert fleet_state(nothing, fleet()).level == "no data"
    assert fleet_state(nothing, fleet(m="no data")).level == "no data"
    mixed = fleet_state(nothing, fleet(m="ok", c="error"))
    assert mixed == ("no data", "No alert firing, but not every model can be judged: c 1 (error)")


def test_what_is_gone_need_not_be_judged(store):
    state = fleet_state(alert_table(store, 0, DAY), fleet(m="ok", c="no data", gone=("c",)))
    assert state == ("ok", "All in order: no alert firing, 1 model judged")


def test_what_is_silenced_is_counted_and_not_named(store):
    tell(store, [2], active=True, rule="quiet")
    silence = [parse_matcher("rule=quiet")]
    made = add_silence(store, silence, until=2e9, author="ann", reason="retraining", now=1e9)
    found = fleet_state(alert_table(store, 0, 3 * DAY), fleet(m="ok"))
    assert found == ("ok", "All in order: no alert firing (1 silenced), 1 model judged")
    expire_silence(store, made.id, now=1.5e9)
    assert fleet_state(alert_table(store, 0, 3 * DAY), fleet(m="ok")).level == "page"


def test_who_looks_after_an_alert_is_in_the_table_by_name(store):
    tell(store, [2], active=True)
    assert list(alert_table(store, 0, 3 * DAY)["acknowledged"]) == [""]
    acknowledge(store, "", author="ann", now=1e9)
    assert list(alert_table(store, 0, 3 * DAY)["acknowledged"]) == ["ann"]


def test_the_past_is_marked_as_it_stood_then(store):
    tell(store, [2], active=True)
    silence = [parse_matcher("rule=pairs")]
    for day, change in (
        (4, lambda: add_silence(store, silence, until=2e9, author="ann", reason="retraining", now=1e9)),
        (6, lambda: expire_silence(store, 1, now=1.1e9)),
        (8, lambda: acknowledge(store, "", author="ann", now=1.2e9)),
        (10, lambda: acknowledge(store, "", author="bob", now=1.3e9)),
    ):
        store.put(day * DAY - store.pane_seconds, {})
        change()
    found = {day: alert_table(store, 0, day * DAY).iloc[0] for day in range(2, 12)}
    assert [day for day, alert in found.items() if alert["silenced"]] == [4, 5]
    assert [day for day, alert in found.items() if alert["silenced_by"] == "1"] == list(range(4, 12))
    assert [alert["acknowledged"] for alert in found.values()] == [""] * 6 + ["ann"] * 2 + ["bob"] * 2


def test_marks_of_a_store_from_before_their_history_was_kept_are_shown_as_they_stand(store):
    tell(store, [2], active=True)
    add_silence(store, [parse_matcher("rule=pairs")], until=2e9, author="ann", reason="retraining", now=1e9)
    acknowledge(store, "", author="ann", now=1e9)
    store.connection.execute("DROP TABLE marked")
    (alert,) = alert_table(store, 0, 2 * DAY).to_dict("records")
    assert (alert["silenced"], alert["acknowledged"]) == (True, "ann")


def test_of_a_storm_the_headline_names_a_few_and_counts_the_rest(store):
    for place in range(40):
        tell(store, [2], active=True, subject=Subject(f"m{place}"))
    state = fleet_state(alert_table(store, 0, 2 * DAY), fleet(m="drifting"))
    assert state.headline.startswith("40 pages firing: m")
    assert state.headline.endswith(" and 37 more")
    assert state.headline.count("the model changed") == 3


def test_open_alerts_begin_with_the_most_urgent_and_end_with_what_is_kept_back(store):
    for rule, severity in (("quiet", "page"), ("old", "page"), ("slow", "ticket")):
        tell(store, [2], active=True, rule=rule, severity=severity)
    tell(store, [3], active=True, rule="new", severity="page")
    tell(store, [3], active=True, rule="note", severity="info")
    add_silence(store, [parse_matcher("rule=quiet")], until=2e9, author="ann", reason="retraining", now=1e9)
    assert open_alerts(alert_table(store, 0, 3 * DAY))["rule"].tolist() == ["new", "old", "slow", "note", "quiet"]
