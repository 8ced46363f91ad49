"""Streams: what comes and how fast, how far each source is, and whether all that came is accounted for."""

import facts
import pandas as pd
import streamlit as st
from frame import Shown, chart, everything, page
from words import length, share

from birdwatch.charts import pending_chart, traffic_chart


def draw(shown: Shown) -> None:
    """Draw rates, the account of requests, sources, and what came out of the ordinary."""
    counts = facts.counts(shown.asked)
    audit = shown.of_all(facts.audit(shown.asked))
    everything(shown, "What stands below beside the rates")
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Rates", anchor="rates", help="Grey: requests. Lines: scores of each version of a model.")
        chosen = counts[counts["model"].isin({*shown.models, ""})]
        chart(chosen, traffic_chart, "Nothing came in this time.", shown.marks, shown.colours)
    with right:
        st.subheader(
            "Without a score", anchor="pending", help="The share of requests to which a model has given no score"
        )
        chart(shown.of(audit), pending_chart, "No model gave scores in this time.", shown.marks, shown.colours)
    st.subheader(
        "Is all accounted for?",
        anchor="audit",
        help="Every request that came while a model was there: scored + failed + pending. Failed are errors and scores that are"
        " no number. Pending had no score when their pane closed: late, or lost. Orphans are scores whose request was"
        " never seen.",
    )
    _account(audit)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(
            "Sources",
            anchor="sources",
            help="Each partition of a stream, or one model in it, as of now, whatever time is shown",
        )
        _sources(facts.sources(shown.asked))
    with right:
        st.subheader("Out of the ordinary", anchor="arrivals")
        _unusual(shown, int(audit["orphans"].sum()))


def _account(audit: pd.DataFrame) -> None:
    if audit.empty:
        st.info("No model gave scores in this time.", icon=":material/question_mark:")
        return
    sums = audit.groupby("model", sort=False)[["requests", "scored", "failed", "pending", "orphans"]].sum()
    sums = sums.sort_values("pending", ascending=False).reset_index()
    config = st.column_config
    st.dataframe(
        pd.DataFrame(
            {
                "Model": sums["model"],
                "In": sums["requests"],
                "Scored": sums["scored"],
                "Failed": sums["failed"],
                "Pending": sums["pending"],
                "Without a score": [
                    share(pending + failed, of)
                    for pending, failed, of in zip(sums["pending"], sums["failed"], sums["requests"], strict=True)
                ],
                "Orphans": sums["orphans"],
            }
        ),
        hide_index=True,
        key="audit",
        column_config={
            "In": config.NumberColumn(format="localized", help="Requests while the model was there"),
            "Scored": config.NumberColumn(format="localized"),
            "Failed": config.NumberColumn(format="localized", help="Errors, and scores that are no number"),
            "Pending": config.NumberColumn(
                format="localized", help="No score by the time the pane closed; below zero: more scores than requests"
            ),
            "Orphans": config.NumberColumn(format="localized", help="Scores whose request was not seen"),
        },
    )


def _sources(table: pd.DataFrame) -> None:
    if table.empty:
        st.info("No source was noted yet.", icon=":material/question_mark:")
        return
    config = st.column_config
    st.dataframe(
        pd.DataFrame(
            {
                "Source": table["stream"] + "/" + table["partition"].astype(str),
                "Model": table["model"].where(table["model"] != "", "–"),
                "State": [["silent"] if idle else ["alive"] for idle in table["idle"]],
                "Behind": ["–" if behind < 1 else length(behind) for behind in table["behind"]],
                "Latest event": table["latest"],
            }
        ),
        hide_index=True,
        key="sources",
        column_config={
            "State": config.MultiselectColumn(options=["alive", "silent"], color=["green", "red"], width=80),
            "Behind": config.TextColumn(
                help="How much earlier its latest event is than the latest of all, in event time"
            ),
            "Latest event": config.DatetimeColumn(format="D MMM HH:mm:ss", timezone="UTC"),
        },
    )


def _unusual(shown: Shown, orphans: int) -> None:
    table = facts.arrivals(shown.asked)
    late, twice, damaged = int(table["late"].sum()), int(table["duplicates"].sum()), facts.damaged(shown.asked)
    row = st.container(horizontal=True)
    for label, value, about in (
        ("Late", late, "Rows that came after their pane was closed, and count in none"),
        ("Twice", twice, "Rows that came again, and count once"),
        ("Orphans", orphans, "Scores whose request was not seen"),
        ("Damaged", damaged, "Rows of panes that were damaged on the disk, and put aside"),
    ):
        row.metric(label, f"{value:,}", help=about, border=True, width=130)
    if len(table):
        st.dataframe(
            table.rename(columns={"stream": "Stream", "late": "Late", "duplicates": "Twice"}),
            hide_index=True,
            key="arrivals",
        )
    st.caption(
        "Messages that could not be read are on the stream `deadletters`: `birdwatch streams cat deadletters` shows each"
        " with its reason. Messages not yet read (lag) are on the tail's `/metrics`: the store knows only what was read."
    )


page(draw)
