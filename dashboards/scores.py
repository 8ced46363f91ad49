"""Scores: how each model's are distributed over time, how far they lie from what they were, and what the inputs did."""

from typing import Final

import facts
import streamlit as st
from below import below
from frame import Shown, chart, everything, page
from inputs import inputs

from birdwatch.charts import (
    distance_chart,
    drift_chart,
    evidence_chart,
    quantile_chart,
    score_heat_chart,
    values_chart,
)
from birdwatch.errors import ReferenceMissingError

_STATISTICS: Final = ("KS", "PSI", "W1")
_FROZEN: Final = "frozen reference"
_BEFORE: Final = "the four weeks before"


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
    model = _one(shown)
    below(lambda: _in_detail(shown, model))


def _one(shown: Shown) -> str | None:
    """Ask for the one model that is shown in detail."""
    known = [model for model in shown.colours.models if model in shown.view.models]
    title = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    title.subheader("A model in detail", anchor="model")
    return title.selectbox("Model", known, key="of", bind="query-params", label_visibility="collapsed", width=250)


def _in_detail(shown: Shown, model: str | None) -> None:
    if model is not None:
        _model(shown, model)
    inputs(shown)


def _model(shown: Shown, model: str) -> None:
    frozen = _compared_with(model)
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**Scores over time**")
        chart(facts.heat_of(shown.asked, "score", model), score_heat_chart, f"{model} gave no scores.", shown.marks)
    with right:
        _distance(shown, model, frozen=frozen)
    left, right = st.columns(2, gap="medium")
    with left:
        _quantiles(shown, model, frozen=frozen)
    with right:
        st.markdown("**Scores in this time, beside those of the four weeks before it**")
        shape = facts.shape(shown.asked, model)
        chart(shape, values_chart, "There are no scores in this time, or none before it.", key="shape")


def _compared_with(model: str) -> bool:
    """Ask what to compare with where there is a choice; by default with what the rule compares with."""
    rule = facts.frozen_rule(model)
    if not rule:
        return False
    chosen = st.segmented_control(
        "Compared with",
        [_FROZEN, _BEFORE],
        default=_FROZEN,
        required=True,
        key="against",
        bind="query-params",
        help=f"The frozen reference that the rule {rule!r} compares {model} with, or the four weeks before.",
    )
    return chosen == _FROZEN


def _quantiles(shown: Shown, model: str, *, frozen: bool) -> None:
    st.markdown(
        f"**Which scores moved, against {'the frozen reference' if frozen else 'the four weeks before'}**",
        help="A Q–Q plot. Each mark is a share of the scores, from the lowest (left) to the highest (right): below which score it"
        " lay before, and below which it lies now. On the dashed line nothing has moved; above it scores are higher"
        " than they were. In the grey, chance alone explains it, however often one looks. Towards both ends the grey widens:"
        " of few scores little can be told.",
    )
    try:
        table = facts.quantiles(shown.asked, model, frozen=frozen)
    except ReferenceMissingError as error:
        st.info(str(error), icon=":material/question_mark:")
        return
    chart(table, quantile_chart, f"There are no scores of {model} in this time, or none to compare with.", key="qq")


def _distance(shown: Shown, model: str, *, frozen: bool) -> None:
    title = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    title.markdown(
        f"**Distance from {'the frozen reference' if frozen else 'the four weeks before'}**",
        help="Grey: what chance alone explains of so few scores, nineteen times in twenty. Dashed: what the last rule tolerates"
        " that measures this distance. KS is the largest gap between the two distribution functions, PSI sums what"
        " ten buckets gained and lost, W1 is how far scores moved on average. The short upright strokes are what the"
        " grid on which scores are counted leaves open; PSI has none. For W1, grey is a bound: chance may reach it less"
        " often.",
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
    try:
        table = facts.frozen_distances(shown.asked, model) if frozen else facts.distances(shown.asked, model)
    except ReferenceMissingError as error:
        st.info(str(error), icon=":material/question_mark:")
        return
    table = table[table["statistic"] == statistic]
    judged = facts.verdicts(shown.asked)
    measuring = (judged["kind"] == "distribution") | judged["rule"].isin(facts.score_thresholds())
    measured = judged["statistic"].replace("wasserstein", "w1") == statistic
    tolerances = judged.loc[measuring & measured & (judged["model"] == model), "tolerance"].dropna()
    if frozen and table["tolerance"].notna().any():
        tolerances = table["tolerance"].dropna()
    chart(
        table,
        distance_chart,
        f"There are no scores of {model} in this time, or none before it to compare with.",
        shown.marks,
        float(tolerances.iloc[-1]) if len(tolerances) else None,
    )
    if frozen and len(table):
        st.caption(f"By the windows of its rule, against {table['against'].iloc[-1]}.")


page(draw)
