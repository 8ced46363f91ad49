"""Latency: how long answers and models take, how that is distributed, and how it stands to the objectives."""

from typing import Final

import facts
import streamlit as st
from below import below
from frame import Shown, chart, everything, page

from birdwatch.charts import burn_chart, latency_chart, latency_heat_chart, objective_chart
from birdwatch.windows.pane import LATENCIES
from birdwatch.windows.tables import PERCENTILES

_STAGES: Final = tuple(stage.removeprefix("latency.") for stage in reversed(LATENCIES))
_WHAT: Final = {
    "answer": "from the gateway's receipt to the answer",
    "model": "inside each model",
    "queue": "waiting for the model",
}


def draw(shown: Shown) -> None:
    """Draw percentiles; below, the distribution, objectives, and how fast these are used up."""
    everything(shown, "Latency")
    stage = st.segmented_control("Stage", _STAGES, default=_STAGES[0], required=True, key="stage", bind="query-params")
    by_model = stage != "answer"
    st.subheader(
        f"Percentiles, {_WHAT[stage]}",
        anchor="latency",
        help="p50, p99 and p99.9 of the answer, or p50 and p99 of each model. Where a step has too few events to tell"
        " p99.9 from p99, the thick line lies under the thin one.",
    )
    table = facts.latency(shown.asked, stage, (0.5, 0.99) if by_model else PERCENTILES, by_model=by_model)
    table = table[table["model"].isin({*shown.models, ""})]
    chart(table, latency_chart, "No latency has been measured in this time.", shown.marks, shown.colours)
    below(lambda: _more(shown, stage, by_model=by_model))


def _more(shown: Shown, stage: str, *, by_model: bool) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        _heat(shown, stage, by_model=by_model)
    with right:
        st.subheader(
            "Objectives",
            anchor="objectives",
            help="What each rule of the kind latency measured, over what its objective allows: above the line it is broken."
            " ▲: the rule says drifting.",
        )
        judged = facts.worst(shown.asked, ("latency",))
        chart(
            judged[judged["model"].isin({*shown.models, ""})],
            objective_chart,
            "No rule has held a latency against an objective in this time: see `detectors/latency.yaml`.",
            shown.marks,
            shown.colours,
        )
    st.subheader(
        "How fast objectives burn what they allow",
        anchor="burn",
        help="p99 under 200 ms allows one in a hundred to take longer. The burn rate is the share that did over the share that may:"
        " at 1 all that is allowed is spent, at 10 a month's allowance lasts three days.",
    )
    burns = facts.burns(shown.asked._replace(segment=""))
    chart(
        burns[burns["model"].isin({*shown.models, ""})],
        burn_chart,
        "No rule has held a latency against an objective in this time: see `detectors/latency.yaml`.",
        shown.marks,
        shown.colours,
    )


def _heat(shown: Shown, stage: str, *, by_model: bool) -> None:
    title = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
    title.subheader(
        "How it is distributed",
        anchor="heat",
        help="Each column is a step of time, each cell a range of latency: the lighter, the more of the step lie in it. Two"
        " bands are two kinds of requests, which percentiles would hide.",
    )
    model = None
    known = [model for model in shown.colours.models if model in shown.view.models]
    if by_model and known:
        model = title.selectbox("Model", known, key="of", bind="query-params", label_visibility="collapsed", width=200)
    table = facts.heat_of(shown.asked, f"latency.{stage}", model)
    chart(table, latency_heat_chart, "No latency has been measured in this time.", shown.marks)


page(draw)
