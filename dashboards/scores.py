"""Scores: how each model's are distributed over time, how far they lie from what they were, and what the inputs did."""

from typing import Final

import facts
import streamlit as st
from frame import Shown, chart, everything, page
from inputs import inputs

from birdwatch.charts import distance_chart, drift_chart, evidence_chart, score_heat_chart, values_chart

_STATISTICS: Final = ("KS", "PSI", "W1")


def draw(shown: Shown) -> None:
    """Draw all models against their references, one in detail, and the inputs of all."""
    judged = shown.of(facts.worst(shown.asked, ("distribution",)))
    everything(shown, "What rules say of scores")
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(
            "Score drift", anchor="drift", help="Distance of each model's scores from its reference, by its rule"
        )
        chart(
            judged,
            drift_chart,
            "No rule has compared scores with a reference in this time.",
            shown.marks,
            shown.colours,
        )
    with right:
        st.subheader(
            "Evidence against the reference",
            anchor="evidence",
            help="How much each rule has gathered that scores have moved beyond what is tolerated, as a share of what raises an"
            " alarm (ln R over ln A). ▲: it alarmed, and the evidence starts again at nothing.",
        )
        evidence = shown.of(facts.worst(shown.asked, ("distribution",), "level"))
        chart(
            evidence[evidence["level"].notna()],
            evidence_chart,
            "No rule on scores has gathered evidence in this time.",
            shown.marks,
            shown.colours,
        )
    _one(shown)
    inputs(shown)


def _one(shown: Shown) -> None:
    known = [model for model in shown.colours.models if model in shown.view.models]
    title = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    title.subheader("A model in detail", anchor="model")
    model = title.selectbox("Model", known, key="of", bind="query-params", label_visibility="collapsed", width=250)
    if model is None:
        return
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Scores over time**")
        chart(facts.heat_of(shown.asked, "score", model), score_heat_chart, f"{model} gave no scores.", shown.marks)
    with right:
        _distance(shown, model)
    st.markdown("**Scores in this time, beside those of the four weeks before it**")
    shape = facts.shape(shown.asked, model)
    chart(shape, values_chart, "There are no scores in this time, or none before it.", key="shape")


def _distance(shown: Shown, model: str) -> None:
    title = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    title.markdown(
        "**Distance from the four weeks before**",
        help="Grey: what chance alone explains of so few scores, nineteen times in twenty. Dashed: what the last rule tolerates"
        " that measures this distance. KS is the largest gap between the two distribution functions, PSI sums what"
        " ten buckets gained and lost, W1 is how far scores moved on average.",
    )
    statistic = title.segmented_control(
        "Distance",
        _STATISTICS,
        default="KS",
        required=True,
        key="distance",
        bind="query-params",
        label_visibility="collapsed",
    )
    statistic = statistic.lower()
    table = facts.distances(shown.asked, model)
    judged = facts.verdicts(shown.asked)
    of_model = (judged["kind"] == "distribution") & (judged["model"] == model) & (judged["statistic"] == statistic)
    tolerances = judged.loc[of_model, "tolerance"].dropna()
    chart(
        table[table["statistic"] == statistic],
        distance_chart,
        f"There are no scores of {model} in this time, or none before it to compare with.",
        shown.marks,
        float(tolerances.iloc[-1]) if len(tolerances) else None,
    )


page(draw)
