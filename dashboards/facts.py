"""What the store says of a stretch of event time, loaded once for all who look at the same."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import streamlit as st
from view import opened

from birdwatch.alerts.standing import Standing, standing
from birdwatch.alerts.tables import alert_table
from birdwatch.charts import Colours, Marks
from birdwatch.config import load_settings
from birdwatch.detect.tables import (
    fleet_table,
    input_table,
    last_verdict_table,
    value_table,
    verdict_behind,
    verdict_table,
    worst_by_step,
)
from birdwatch.detect.verdict import Subject, Verdict
from birdwatch.windows.roles import models
from birdwatch.windows.tables import (
    Span,
    control_table,
    count_table,
    latency_table,
    pair_table,
    selection_table,
)

_BEFORE = 28 * 86_400
_PAIRS = ("paired", "disagreement")


class Facts(NamedTuple):
    """What the store says of a span, as tables.

    Attributes
    ----------
    drift, judged_pairs, evidence
        Verdicts on scores and on pairs, one a step: those furthest beyond what is in order, and those with most evidence.
    """

    colours: Colours
    counts: pd.DataFrame
    selection: pd.DataFrame
    answer: pd.DataFrame
    answer_overall: pd.DataFrame
    pairs: pd.DataFrame
    drift: pd.DataFrame
    judged_pairs: pd.DataFrame
    evidence: pd.DataFrame
    inputs: pd.DataFrame
    last_verdicts: pd.DataFrame
    fleet: pd.DataFrame
    alerts: pd.DataFrame
    budget: Standing | None
    marks: Marks


@st.cache_resource(ttl=60, max_entries=16, show_spinner=False)
def load(path: Path, span: Span, closed: tuple[int, int]) -> Facts:
    """Load the tables; closed panes seldom change, so the same question has the same answer for a minute; nobody changes it."""
    with opened(path) as store:
        verdicts = verdict_table(store, span.since, span.until)
        on_pairs = verdicts[verdicts["kind"].isin(_PAIRS)]
        on_scores = verdicts[(verdicts["kind"] == "distribution") & (verdicts["model"] != "")]
        raised = alert_table(store, span.since, span.until)
        return Facts(
            colours=Colours.of(models(store)),
            counts=count_table(store, span),
            selection=selection_table(store, span),
            answer=latency_table(store, span),
            answer_overall=latency_table(store, span.whole),
            pairs=pair_table(store, span, load_settings().unit),
            drift=worst_by_step(on_scores, span.step),
            judged_pairs=worst_by_step(on_pairs, span.step),
            evidence=worst_by_step(on_pairs, span.step, "level"),
            inputs=input_table(verdicts),
            last_verdicts=last_verdict_table(store, span.since, span.until, verdicts),
            fleet=fleet_table(store, span, verdicts),
            alerts=raised,
            budget=standing(store, until=min(closed[1], span.until)),
            marks=Marks.of(span, control_table(store, span.since, span.until), raised),
        )


@st.cache_resource(ttl=60, max_entries=16, show_spinner=False)
def load_stage(path: Path, span: Span, closed: tuple[int, int], stage: str) -> pd.DataFrame:
    """Load the latency of one stage, by model where models differ in it."""
    del closed
    with opened(path) as store:
        if stage == "answer":
            return latency_table(store, span)
        return latency_table(store, span, f"latency.{stage}", (0.5, 0.99), by_model=True)


@st.cache_resource(ttl=600, max_entries=64, show_spinner=False)
def load_values(path: Path, feature: str, start: int, end: int) -> pd.DataFrame:
    """Load how a watched input was in a window, beside the four weeks before it."""
    with opened(path) as store:
        return value_table(store, feature, (start, end), (start - _BEFORE, start))


@st.cache_resource(ttl=60, max_entries=64, show_spinner=False)
def load_behind(path: Path, rule: str, subject: Subject, until: int) -> Verdict | None:
    """Load the verdict that an alert rests on."""
    with opened(path) as store:
        return verdict_behind(store, rule, subject, until)
