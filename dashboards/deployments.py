"""Deployments: what operators and guards changed, when and why, beside what each model scored."""

import facts
import pandas as pd
import streamlit as st
from below import below
from frame import Shown, chart, everything, page

from birdwatch.charts import changes_chart, traffic_chart


def draw(shown: Shown) -> None:
    """Draw the changes on a line of time, the traffic of each model below it, and all changes in words."""
    table = facts.controls(shown.asked)
    table = table[table["model"].isin({*shown.view.models, ""})]
    everything(shown, "What was changed")
    st.subheader("Changes", anchor="changes", help="Point at a mark to read what was changed, by whom, and why")
    chart(table, changes_chart, "Nothing was changed in this time: no control record lies in it.", shown.marks)
    below(lambda: _rest(shown, table))


def _rest(shown: Shown, table: pd.DataFrame) -> None:
    st.subheader("Scores of each version", anchor="traffic")
    counts = facts.counts(shown.asked)
    chart(
        shown.of(counts),
        traffic_chart,
        "No scores were seen in this time.",
        shown.marks,
        shown.colours,
    )
    if len(table):
        newest = table[::-1]
        st.dataframe(
            pd.DataFrame(
                {
                    "UTC": newest["time"],
                    "Change": newest["what"],
                    "By": newest["author"],
                    "Because": newest["reason"],
                }
            ),
            hide_index=True,
            key="changes",
            column_config={
                "UTC": st.column_config.DatetimeColumn(format="D MMM YYYY HH:mm:ss", timezone="UTC", width=150)
            },
        )


page(draw)
