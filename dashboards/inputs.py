"""The watched inputs: how far each lies from what it was, and which of its values moved."""

from typing import Final

import facts
import pandas as pd
import streamlit as st
from frame import Shown, everything
from words import STATUS, STATUS_COLOURS, against

from birdwatch.charts import values_chart
from birdwatch.detect.tables import input_table

_MEASURED: Final = {"ks": "distance (KS)", "missing": "share missing", "": "–"}


def inputs(shown: Shown) -> None:
    """Draw a table of the inputs, the furthest beyond first, and beside it the values of the one that is chosen."""
    st.subheader(
        "Inputs",
        anchor="inputs",
        help="What the models are given. Each watched input against its reference: what moves here moves the scores of"
        " all models. Choose one to see which of its values moved.",
    )
    everything(shown, "What models are given")
    table = input_table(facts.verdicts(shown.asked))
    if table.empty:
        st.info("No rule has compared inputs in this time: name some under `features` in the settings.")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        chosen = _table(table)
    row = table.iloc[chosen]
    start, end = (int(row[moment].timestamp()) for moment in ("start", "time"))
    with right:
        st.markdown(
            f"**{row['feature']}** from {row['start']:%a %d %b %H:%M} to {row['time']:%H:%M} UTC  \n{row['reason']}"
        )
        values = facts.values(shown.asked, row["feature"], start, end)
        if values.empty:
            st.info("There are no values in this window, or none before it.", icon=":material/question_mark:")
        else:
            drawing = values_chart(values)
            st.vega_lite_chart(spec={**drawing.spec, "datasets": drawing.data}, key="values")
            st.caption("now: that window; before: the four weeks before it")


def _table(table: pd.DataFrame) -> int:
    """Draw the table, and give the row that is chosen: the first by default."""
    config = st.column_config
    told = st.dataframe(
        pd.DataFrame(
            {
                "Input": table["feature"],
                "Last verdict": [[STATUS[status]] for status in table["status"]],
                "Measured": table["statistic"].map(lambda s: _MEASURED.get(s, s)),
                "Value": against(table["value"], table["tolerance"], "{:.2f}"),
                "÷ tolerance": table["multiple"],
                "Over time": table["drift"],
                "As of": table["time"],
            }
        ),
        hide_index=True,
        key="inputs",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Last verdict": config.MultiselectColumn(options=list(STATUS.values()), color=STATUS_COLOURS, width=95),
            "Value": config.TextColumn(help="And what is in order", width=95),
            "÷ tolerance": config.NumberColumn(format="%.2f", help="Above 1 it is beyond what is in order", width=80),
            "Over time": config.LineChartColumn(help="In multiples of what is in order", y_min=0, y_max=2, width=90),
            "As of": config.DatetimeColumn(format="D MMM HH:mm", timezone="UTC", width=95),
        },
    )
    rows = told["selection"]["rows"]
    return rows[0] if rows and rows[0] < len(table) else 0
