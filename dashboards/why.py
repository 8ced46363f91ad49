"""Why an alert fires: since when, which values moved, which segment most, on which requests."""

from typing import Any, Final

import pandas as pd
import streamlit as st
from facts import load_behind
from view import View

from birdwatch.alerts.tables import alert_in_words
from birdwatch.charts import values_chart
from birdwatch.detect.verdict import Subject
from birdwatch.windows.tables import timestamp

_MOST: Final = 5
_CLOCK: Final = "%a %d %b %Y %H:%M UTC"


def reasons(alerts: pd.DataFrame, view: View, until: int) -> None:
    """Draw what lies behind each alert that fires, pages first and open."""
    firing = alerts[(alerts["state"] == "firing") & (alerts["severity"] != "info")]
    urgent = firing.sort_values("severity", key=lambda s: s != "page", kind="stable").head(_MOST)
    for _, alert in urgent.iterrows():
        with st.expander(f"Why: {alert_in_words(alert)}", expanded=alert["severity"] == "page"):
            _reason(alert, view, until)


def _reason(alert: "pd.Series[Any]", view: View, until: int) -> None:
    st.markdown(alert["reason"])
    subject = Subject(alert["model"], alert["version"], alert["partner"], alert["feature"])
    verdict = load_behind(view.store, alert["rule"], subject, until)
    since = alert["started"]
    if verdict is not None and "since" in verdict.details:
        since = min(since, timestamp(verdict.details["since"]))
    st.markdown(f"Since **{since:{_CLOCK}}**, told {alert['fired']:{_CLOCK}}.")
    details = {} if verdict is None else verdict.details
    segments = sorted(details.get("segments", ()), key=lambda s: -abs(s["value"] - s["usual"]))
    if segments:
        most = segments[0]
        st.markdown(
            f"Most of all in **{most['segment']}**: {most['value']:.3g}, usually {most['usual']:.3g}"
            f" ({most['n']:,} requests)."
        )
    parts = [part for part in ("moved", "segments", "largest") if details.get(part)]
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
