"""Alerts: what fires and what fired, each with its evidence."""

import facts
import pandas as pd
import streamlit as st
from answers import silences
from frame import CLOCK, Shown, chart, page
from why import alert_list, reason, reasons

from birdwatch.alerts.tables import alert_in_words
from birdwatch.charts import episodes_chart


def draw(shown: Shown) -> None:
    """Draw why each open alert fires, all of them on a line of time, and one of the past that is chosen."""
    raised = facts.alerts(shown.asked)
    st.subheader("Open", anchor="open")
    firing = raised[raised["state"] == "firing"]
    if firing.empty:
        st.markdown("None is firing.")
    now = shown.view.range != "custom"
    reasons(raised, shown.asked, live=now)
    if now:
        silences(shown.view.store)
    st.subheader("In this time", anchor="time", help="From the alert to its end; a diamond marks when it fired")
    chart(raised, episodes_chart, "None fired in this time.", shown.marks)
    alert_list(raised, "")
    past = raised[raised["state"] == "resolved"]
    if len(past):
        _past(past, shown)


def _past(past: pd.DataFrame, shown: Shown) -> None:
    """Draw what lay behind one that is over."""
    st.subheader("What lay behind it", anchor="past")
    names = [f"{alert['fired']:{CLOCK}}: {alert_in_words(alert)} ({alert['rule']})" for _, alert in past.iterrows()]
    chosen = st.selectbox("One that is over", range(len(names)), format_func=names.__getitem__, key="past")
    reason(past.iloc[chosen], shown.asked)


page(draw)
