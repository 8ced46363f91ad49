"""Alerts: what fires and what fired, each with its evidence."""

import facts
import streamlit as st
from answers import silences
from frame import Shown, chart, page
from why import alert_list, past_reasons, reasons

from birdwatch.charts import episodes_chart


def draw(shown: Shown) -> None:
    """Draw why each open alert fires, all of them on a line of time, and what lay behind those that are over."""
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
        st.subheader("What lay behind it", anchor="past", help="Open one that is over to see what it rested on")
        past_reasons(past, shown.asked)


page(draw)
