"""Labels say which alert it is; annotations tell people of it."""

from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from birdwatch.alerts.condition import fingerprint
from birdwatch.alerts.wording import Links, annotations, labels, timestamp
from birdwatch.detect.verdict import Subject
from birdwatch.testing import an_alert

FIRING = an_alert(
    fingerprint="ab12",
    ts=180_000.0,
    started=172_800.0,
    reason="54 % disagree",
    statistic="rate",
    value=0.5403,
    tolerance=0.1,
    n=12_000,
)


def test_an_alert_bears_the_same_labels_when_it_is_over():
    over = msgspec.structs.replace(
        FIRING, ts=200_000.0, state="resolved", reason="retired", value=0.1, n=5, statistic=""
    )
    assert labels(over) == labels(FIRING)


@pytest.mark.parametrize(
    "change",
    [{"rule": "x"}, {"model": "x"}, {"version": "x"}, {"partner": "x"}, {"feature": "x"}, {"attribution": "x"}],
)
def test_alerts_of_different_fingerprints_bear_different_labels(change):
    def named(alert):
        subject = Subject(alert.model, alert.version, alert.partner, alert.feature)
        return fingerprint(alert.rule, subject, alert.attribution)

    other = msgspec.structs.replace(FIRING, **change)
    assert named(other) != named(FIRING)
    assert labels(other) != labels(FIRING)


def test_nothing_empty_is_said():
    fleet = an_alert(
        fingerprint="f",
        ts=0,
        started=0,
        rule="r",
        severity="info",
        attribution="",
        model="",
        version="",
        reason="",
        partner="",
    )
    assert labels(fleet) == {"alertname": "r", "severity": "info"}
    assert "" not in annotations(fleet, Links()).values()


def test_people_are_told_what_moved_since_when_how_far_and_where_to_look():
    told = annotations(FIRING, Links("https://watch.test/", "https://wiki.test/runbooks#{rule}"))
    assert told == {
        "summary": "challenger 2 against champion: the model changed",
        "description": "54 % disagree",
        "attribution": "the model changed",
        "since": "1970-01-03 00:00 UTC",
        "changed": "1970-01-03T02:00:00.000Z",
        "statistic": "rate",
        "value": "0.5403",
        "tolerance": "0.1",
        "n": "12000",
        "runbook_url": "https://wiki.test/runbooks#pairs",
        "dashboard": "https://watch.test/alerts?range=custom&from=1970-01-02T00%3A00&to=1970-01-03T03%3A00"
        "&models=challenger&models=champion",
    }


def test_what_the_rule_says_of_itself_goes_before_what_is_said_of_all():
    seen = msgspec.structs.replace(
        FIRING, since=86_400.0, effect=0.4403, cost=0.00023, runbook="https://wiki.test/pairs"
    )
    told = annotations(seen, Links(runbook="https://wiki.test/{rule}"))
    assert told["since"] == "1970-01-02 00:00 UTC"
    assert (told["effect"], told["cost"]) == ("0.4403", "0.00023")
    assert told["runbook_url"] == "https://wiki.test/pairs"
    told = annotations(msgspec.structs.replace(FIRING, runbook="Call the data team."), Links())
    assert told["runbook"] == "Call the data team."
    assert "runbook_url" not in told


def test_the_link_names_the_time_and_models_as_the_dashboards_address_does():
    asked = parse_qs(urlsplit(Links("https://watch.test/team").to_dashboard(FIRING)).query)
    assert asked == {
        "range": ["custom"],
        "from": ["1970-01-02T00:00"],
        "to": ["1970-01-03T03:00"],
        "models": ["challenger", "champion"],
    }


@pytest.mark.parametrize("moment", [-1e12, 0.0, 1e12, 1e300])
def test_any_time_can_be_written(moment):
    assert timestamp(moment).endswith("Z")


def test_a_picture_is_linked_where_there_is_one():
    assert "image" not in annotations(FIRING, Links())
    links = Links(to_picture=lambda alert: f"https://watch.test/{alert.fingerprint}.png")
    assert annotations(FIRING, links)["image"] == "https://watch.test/ab12.png"
