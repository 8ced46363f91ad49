"""Alerts: what fires and what fired, each with its evidence."""

import facts
import pandas as pd
import streamlit as st
from answers import silences
from below import below
from frame import Shown, chart, everything, page
from why import MOST_EXPANDED, alert_list, most_urgent, past_reasons, reasons

from birdwatch.charts import episodes_chart


def draw(shown: Shown) -> None:
    """Draw why each open alert fires, all of them on a line of time, and what lay behind those that are over."""
    raised = facts.alerts(shown.asked)
    everything(shown, "What alerts rest on")
    st.subheader("Open", anchor="open")
    firing = most_urgent(raised)
    if firing.empty:
        st.markdown("None is firing.")
    reasons(firing.head(1), shown.asked, live=_now(shown))
    # What lies behind a page fills a screen.
    if "page" in set(firing.head(1)["severity"]):
        below(lambda: _rest(shown, raised, firing))
    else:
        _rest(shown, raised, firing)


def _rest(shown: Shown, raised: pd.DataFrame, firing: pd.DataFrame) -> None:
    reasons(firing.iloc[1:], shown.asked, live=_now(shown), expanded=MOST_EXPANDED - 1)
    if _now(shown):
        silences(shown.view.store)
    st.subheader("In this time", anchor="time", help="From the alert to its end; a diamond marks when it fired")
    chart(raised, episodes_chart, "None fired in this time.", shown.marks)
    alert_list(raised, "")
    past = raised[raised["state"] == "resolved"]
    if len(past):
        st.subheader("What lay behind it", anchor="past", help="Open one that is over to see what it rested on")
        past_reasons(past, shown.asked)


def _now(shown: Shown) -> bool:
    return shown.view.range != "custom"


page(draw)
