"""Alerts in a list, and why one fires: since when, which values moved, which segment most, on which requests."""

from typing import Any, Final

import facts
import pandas as pd
import streamlit as st
from answers import answers
from asked import Asked
from frame import CLOCK

from birdwatch.alerts.tables import alert_in_words, open_alerts
from birdwatch.charts import Fired, values_chart
from birdwatch.detect.verdict import Subject
from birdwatch.windows.tables import timestamp

MOST_EXPANDED: Final = 5
_MOST: Final = 5
_MOST_ALERTS: Final = 20


def alert_list(alerts: pd.DataFrame, otherwise: str) -> None:
    """Draw alerts as a list, or say that there are none."""
    if alerts.empty:
        st.markdown(otherwise)
        return
    told = alerts.head(_MOST_ALERTS)
    until = told["resolved"].dt.strftime("%d %b %H:%M").fillna("now")
    st.table(
        pd.DataFrame(
            {
                "Alert": [
                    f"{_state(alert)} **{alert_in_words(alert)}**{_by_rule(alert)}{_kept_back(alert)}  \n{alert['reason']}"
                    for _, alert in told.iterrows()
                ],
                "UTC": told["fired"].dt.strftime("%d %b %H:%M") + "  \nto " + until,
            }
        ),
        hide_index=True,
        border="horizontal",
    )
    if len(alerts) > len(told):
        st.caption(f"and {len(alerts) - len(told)} earlier ones: choose a shorter time")


def most_urgent(alerts: pd.DataFrame) -> pd.DataFrame:
    """Give the alerts that fire, pages first, as many as a page shows."""
    return open_alerts(alerts).head(_MOST_ALERTS)


def reasons(firing: pd.DataFrame, asked: Asked, *, live: bool, expanded: int = MOST_EXPANDED) -> None:
    """Let people open each alert that fires, the first few open where they are pages; of what fires now they may say something."""
    for place, (_, alert) in enumerate(firing.iterrows()):
        is_open = alert["severity"] == "page" and place < expanded
        if _opened(f"Why: {alert_in_words(alert)}", alert, asked, expanded=is_open) and live:
            answers(alert, asked.path)


def past_reasons(alerts: pd.DataFrame, asked: Asked) -> None:
    """Let people open each alert that is over."""
    for _, alert in alerts.head(_MOST_ALERTS).iterrows():
        _opened(f"{alert['fired']:{CLOCK}}: {alert_in_words(alert)} ({alert['rule']})", alert, asked, expanded=False)


def _opened(label: str, alert: "pd.Series[Any]", asked: Asked, *, expanded: bool) -> bool:
    """Draw what lies behind an alert when it is opened, not before: there may be many."""
    key = f"why-{alert['fingerprint']}-{alert['fired']:%s}"
    box = st.expander(label, expanded=expanded, key=key, on_change="rerun")
    with box:
        if box.open:
            reason(alert, asked)
    return bool(box.open)


def reason(alert: "pd.Series[Any]", asked: Asked) -> None:
    """Draw what lies behind one alert, as it was known when it fired last."""
    st.markdown(alert["reason"])
    subject = Subject(alert["model"], alert["version"], alert["partner"], alert["feature"])
    known = _known_by(alert, asked)
    verdict = facts.behind(asked, alert["rule"], subject, known)
    since = alert["started"]
    if verdict is not None and "since" in verdict.details:
        since = min(since, timestamp(verdict.details["since"]))
    st.markdown(f"Since **{since:{CLOCK}}**, told {alert['fired']:{CLOCK}}.")
    fired = Fired(alert["fingerprint"], alert["rule"], subject, alert["started"].timestamp(), known)
    drawing = facts.drawn_behind(asked, fired)
    if drawing is not None:
        key = f"behind-{alert['fingerprint']}-{alert['fired']:%s}"
        st.vega_lite_chart(spec={**drawing.spec, "datasets": drawing.data}, key=key)
        st.caption(drawing.says)
    details = {} if verdict is None else verdict.details
    segments = sorted(details.get("segments", ()), key=lambda s: -abs(s["value"] - s["usual"]))
    if segments:
        most = segments[0]
        st.markdown(
            f"Most of all in **{most['segment']}**: {most['value']:.3g}, usually {most['usual']:.3g}"
            f" ({most['n']:,} requests)."
        )
    # Where the values themselves are drawn, those that moved most are seen.
    shown = (
        ("segments", "largest") if drawing is not None and subject != Subject() else ("moved", "segments", "largest")
    )
    parts = [part for part in shown if details.get(part)]
    for part, column in zip(parts, st.columns(len(parts)) if parts else (), strict=True):
        with column:
            _part(part, segments if part == "segments" else details[part], alert)


def _part(part: str, rows: list[dict[str, Any]], alert: "pd.Series[Any]") -> None:
    table = pd.DataFrame(rows)
    key = f"{part}-{alert['fingerprint']}-{alert['fired']:%s}"
    if part == "moved":
        st.caption("The values whose share changed most")
        drawing = values_chart(table.rename_axis("place").reset_index())
        st.vega_lite_chart(spec={**drawing.spec, "datasets": drawing.data}, key=key)
    elif part == "segments":
        st.caption("By segment, the furthest from usual first")
        st.dataframe(table.head(_MOST), hide_index=True, key=key)
    else:
        st.caption(f"The requests on which it and {alert['partner'] or 'its partner'} differ most")
        st.dataframe(table, hide_index=True, key=key)


def _known_by(alert: "pd.Series[Any]", asked: Asked) -> int:
    fired = int(alert["fired"].timestamp())
    return max(fired, facts.judged_until(asked)) if pd.isna(alert["resolved"]) else fired


def _by_rule(alert: "pd.Series[str]") -> str:
    return f" ({alert['rule']})" if alert["attribution"] else ""


def _kept_back(alert: "pd.Series[str]") -> str:
    """Say who looks after it, and why receivers were not told."""
    said = [f"{alert['acknowledged']} looks after it"] if alert["acknowledged"] else []
    for held, words in (("silenced", "silenced by"), ("inhibited", "explained by")):
        if by := alert[f"{held}_by"]:
            said.append(f"{'' if alert[held] else 'was '}{words} {by[:8]}")
    return f" · *{'; '.join(said)}*" if said else ""


def _state(alert: "pd.Series[str]") -> str:
    if alert["state"] == "resolved":
        return f":gray-badge[:material/check: {alert['severity']}, resolved]"
    colour = {"page": "red", "ticket": "orange"}.get(alert["severity"], "blue")
    return f":{colour}-badge[:material/notifications_active: {alert['severity']}, firing]"
