"""Streams: what comes and how fast, how far each source is, and whether all that came is accounted for."""

import facts
import pandas as pd
import streamlit as st
from below import below
from frame import Shown, chart, everything, page
from words import length, share

from birdwatch.charts import lag_chart, pending_chart, traffic_chart, unreadable_chart


def draw(shown: Shown) -> None:
    """Draw rates, the account of requests, sources, and what came out of the ordinary."""
    counts = facts.counts(shown.asked)
    audit = shown.of_all(facts.audit(shown.asked))
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Rates", anchor="rates", help="Grey: requests. Lines: scores of each version of a model.")
        chosen = counts[counts["model"].isin({*shown.models, ""})]
        chart(chosen, traffic_chart, "Nothing came in this time.", shown.marks, shown.colours)
    with right:
        st.subheader(
            "Without a score", anchor="pending", help="The share of requests to which a model has given no score"
        )
        everything(shown, "What has no score")
        chart(shown.of(audit), pending_chart, "No model gave scores in this time.", shown.marks, shown.colours)
    st.subheader(
        "Is all accounted for?",
        anchor="audit",
        help="Every request that came while a model was there: scored + failed + pending. Failed are errors and scores that are"
        " no number. Pending had no score when their pane closed: late, or lost. Orphans are scores whose request was"
        " never seen.",
    )
    everything(shown, "The account of requests")
    _account(audit)
    below(lambda: _reading(shown, int(audit["orphans"].sum())))


def _reading(shown: Shown, orphans: int) -> None:
    """Draw what was not read, what could not be, how far each source is, and what came out of the ordinary."""
    everything(shown, "How streams are read")
    left, right = st.columns(2, gap="medium")
    with left:
        _lag(shown)
    with right:
        _unreadable(shown)
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
        _unusual(shown, orphans)


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


def _lag(shown: Shown) -> None:
    """Draw what was not yet read over time, and say how it stands now, the partition furthest behind first."""
    st.subheader(
        "Not yet read",
        anchor="lag",
        help="Lag: messages that were written and not yet read, the most there was while event time stood in each step. Asked"
        " about every five seconds. Where a stream of Kafka is written in transactions, their marks count too: a few then remain.",
    )
    table = facts.lag(shown.asked)
    chart(
        table,
        lag_chart,
        "No lag was noted in this time: by whom the store was counted did not ask, as with `--until-end`, or was older.",
        shown.marks,
    )
    now = sorted(facts.lag_now(shown.asked).items(), key=lambda item: (-item[1], item[0]))
    if now:
        told = pd.DataFrame([(f"{stream}/{number}", behind) for (stream, number), behind in now])
        told.columns = pd.Index(["Source", "Not yet read, now"])
        st.dataframe(
            told,
            hide_index=True,
            key="lag",
            column_config={told.columns[1]: st.column_config.NumberColumn(format="localized")},
        )


def _unreadable(shown: Shown) -> None:
    """Draw dead letters over time, and say why the first of each stream is one and how to look at them."""
    st.subheader(
        "Dead letters",
        anchor="dead-letters",
        help="Messages, or rows of them, that could not be read, or whose time cannot be; where data stood when they were.",
    )
    table = facts.unreadable(shown.asked)
    chart(table, unreadable_chart, "No dead letter was counted in this time.", shown.marks)
    if len(table):
        sums = table.groupby(["stream", "kind"], as_index=False).agg(
            n=("n", "sum"), reason=("reason", "first"), at=("first", "first")
        )
        sums = sums.sort_values("n", ascending=False)
        sums.columns = pd.Index(["Stream", "What", "Letters", "Why, of the first", "Where it lies"])
        st.dataframe(sums, hide_index=True, key="unreadable")
        st.caption(
            "To look at them: `birdwatch streams cat deadletters --stream "
            f"{sums['Stream'].iloc[0]}`; once mended, `--requeue` puts them back."
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


page(draw)
