"""Where there are more models than a chart has room for, those that matter most are shown."""

import pandas as pd

from birdwatch.detect.leading import MOST_LINES, leading_models

NAMES = ("champion", *(f"m{i:02d}" for i in range(30)), "canary")
ROLES = {name: name if name in ("champion", "canary") else "challenger" for name in NAMES}


def health(**statuses):
    return pd.DataFrame(
        {
            "model": NAMES,
            "version": "1",
            "events": range(len(NAMES)),
            "gone": False,
            "status": [statuses.get(name, "ok") for name in NAMES],
        }
    )


def alerts(**severities):
    return pd.DataFrame(
        [(name, "firing", severity) for name, severity in severities.items()], columns=["model", "state", "severity"]
    )


def test_few_models_are_all_shown():
    few = {name: ROLES[name] for name in NAMES[:4]}
    assert set(leading_models(health().head(4), alerts(), few)) == set(few)


def test_of_many_those_with_alerts_the_standards_what_drifts_and_then_the_busiest_are_shown():
    found = leading_models(health(m01="drifting"), alerts(m00="ticket"), ROLES)
    assert len(found) == MOST_LINES
    assert found == ("m00", "canary", "champion", "m01", *(f"m{i}" for i in range(29, 23, -1)))


def test_the_most_urgent_alerts_come_first():
    found = leading_models(health(), alerts(m03="ticket", m04="page", m05="info"), ROLES, most=2)
    assert found == ("m04", "m03")


def test_an_alert_that_is_over_counts_for_nothing():
    over = alerts(m03="page").assign(state="resolved")
    assert "m03" not in leading_models(health(), over, ROLES)


def test_a_model_that_was_not_seen_is_shown_where_there_is_room():
    assert leading_models(health().head(0), alerts(), {"champion": "champion"}) == ("champion",)
