"""Selection: who answered, from which tier and why, which came too late, and whether arms are drawn as they should be."""

import facts
import pandas as pd
import streamlit as st
from below import below
from frame import Shown, chart, everything, page
from words import share

from birdwatch.charts import belief_chart, misses_chart, other_choices_chart, posterior_chart, selection_chart


def draw(shown: Shown) -> None:
    """Draw answers by model and what was not the first choice; below, what came too late, arms, and what the bandit believes."""
    everything(shown, "Who answered")
    table = facts.selection(shown.asked)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Who answers", anchor="selection", help="The share of answers by model, its tiers upon each other")
        chart(table, selection_chart, "No decision was seen in this time.", shown.marks, shown.colours)
    with right:
        st.subheader(
            "Not the first choice",
            anchor="others",
            help="Timed out: a faster tier answered in the end. Explored: drawn by the policy. Override: asked for. All failed:"
            " no model of the tier had a score. Default: nothing else was there at the deadline.",
        )
        others = table[(table["reason"] != "first choice") & (table["n"] > 0)]
        chart(table if len(others) else others, other_choices_chart, "Every answer was the first choice.", shown.marks)
    below(lambda: _more(shown, table))


def _more(shown: Shown, table: pd.DataFrame) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Too late", anchor="misses", help="Answers that came after their deadline: missed service levels")
        counts = facts.counts(shown.asked._replace(segment=""))
        counts = counts[counts["decisions"] > 0]
        chart(counts, misses_chart, "No decision was seen in this time.", shown.marks)
    with right:
        st.subheader("By model and tier", anchor="tiers")
        _tiers(table)
    _arms(shown)
    _beliefs(shown)


def _tiers(table: pd.DataFrame) -> None:
    sums = table.groupby(["model", "version", "tier", "reason"], as_index=False)["n"].sum()
    sums = sums[sums["n"] > 0].sort_values("n", ascending=False)
    if sums.empty:
        st.info("No decision was seen in this time.", icon=":material/question_mark:")
        return
    st.dataframe(
        pd.DataFrame(
            {
                "Model": sums["model"] + " " + sums["version"],
                "Tier": sums["tier"].map(lambda tier: "default" if tier < 0 else f"{tier + 1:.0f}"),
                "Why": sums["reason"],
                "Answers": sums["n"].astype(int),
                "Share": [share(n, sums["n"].sum()) for n in sums["n"]],
            }
        ),
        hide_index=True,
        key="tiers",
        column_config={"Answers": st.column_config.NumberColumn(format="localized")},
    )


def _arms(shown: Shown) -> None:
    """Draw whether arms are drawn as often as the policy says; nothing where no policy draws."""
    arms = facts.arms(shown.asked)
    drawn = arms[(arms["expected"] > 0) & (arms["expected"] < 1)]
    if drawn.empty:
        return
    st.subheader(
        "Drawn as it should be",
        anchor="arms",
        help="The mean probability with which the policy would draw an arm, beside the share of decisions in which it did."
        " The two differ by chance alone; the rule on propensities says when it is more.",
    )
    config = st.column_config
    st.dataframe(
        pd.DataFrame(
            {
                "Arm": drawn["model"] + " " + drawn["version"],
                "Decisions": drawn["n"],
                "Should be drawn": drawn["expected"],
                "Was drawn": drawn["drawn"],
            }
        ),
        hide_index=True,
        key="arms",
        column_config={
            "Decisions": config.NumberColumn(format="localized"),
            "Should be drawn": config.NumberColumn(format="percent"),
            "Was drawn": config.NumberColumn(format="percent"),
        },
    )


def _beliefs(shown: Shown) -> None:
    """Draw what the bandit believes of its arms; nothing where none learns."""
    table = facts.posteriors(shown.asked)
    if table.empty:
        return
    st.subheader(
        "What the bandit believes",
        anchor="beliefs",
        help="The learner counts the reward of each request, older ones less, and believes an arm to earn what it has earned: the"
        " fewer rewards, the wider. It draws arms as often as they are likely to be the best.",
    )
    left, right = st.columns(2, gap="medium")
    with left:
        chart(table, belief_chart, "", shown.colours)
    with right:
        chart(table, posterior_chart, "", shown.marks, shown.colours)


page(draw)
