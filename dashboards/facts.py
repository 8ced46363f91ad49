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
from birdwatch.detect.tables import fleet_table, last_verdict_table, verdict_table
from birdwatch.windows.roles import models
from birdwatch.windows.tables import (
    Span,
    control_table,
    count_table,
    latency_table,
    pair_table,
    selection_table,
)


class Facts(NamedTuple):
    """What the store says of a span, as tables."""

    colours: Colours
    counts: pd.DataFrame
    selection: pd.DataFrame
    answer: pd.DataFrame
    answer_overall: pd.DataFrame
    pairs: pd.DataFrame
    verdicts: pd.DataFrame
    last_verdicts: pd.DataFrame
    fleet: pd.DataFrame
    alerts: pd.DataFrame
    budget: Standing | None
    marks: Marks


@st.cache_resource(ttl=60, max_entries=16, show_spinner=False)
def load(path: Path, span: Span, closed: tuple[int, int]) -> Facts:
    """Load the tables; closed panes seldom change, so the same question has the same answer for a minute; nobody changes it."""
    with opened(path) as store:
        raised = alert_table(store, span.since, span.until)
        return Facts(
            colours=Colours.of(models(store)),
            counts=count_table(store, span),
            selection=selection_table(store, span),
            answer=latency_table(store, span),
            answer_overall=latency_table(store, span.whole),
            pairs=pair_table(store, span, load_settings().unit),
            verdicts=verdict_table(store, span.since, span.until),
            last_verdicts=last_verdict_table(store, span.since, span.until),
            fleet=fleet_table(store, span),
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
