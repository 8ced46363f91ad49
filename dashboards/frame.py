"""What stands on every page: how the fleet is, up to when that is known, and charts with a sentence each."""

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import facts
import pandas as pd
import streamlit as st
from asked import Asked
from view import REFRESH, View, chosen, opened
from words import ago, length

from birdwatch.alerts.tables import fleet_state, open_alerts
from birdwatch.charts import Colours, Drawing, Marks
from birdwatch.errors import BirdwatchError
from birdwatch.windows.store import Source
from birdwatch.windows.tables import timestamp, written

CLOCK: Final = "%a %d %b %Y %H:%M UTC"

_LEVELS: Final = {
    "page": (st.error, ":material/notifications_active:"),
    "ticket": (st.warning, ":material/confirmation_number:"),
    "no data": (st.info, ":material/question_mark:"),
    "ok": (st.success, ":material/check_circle:"),
}
_MOST_TOLD: Final = 5
_STALE_SECONDS: Final = 600
_STALE_PANES: Final = 3


class Shown(NamedTuple):
    """What a page is drawn with: what its reader wants, and what is asked of the store for it."""

    view: View
    asked: Asked

    @property
    def marks(self) -> Marks:
        """What every axis of time shows."""
        return facts.marks(self.asked)

    @property
    def colours(self) -> Colours:
        """The colour of each model."""
        return facts.colours(self.asked)

    @property
    def models(self) -> frozenset[str]:
        """The models that charts show: those that are picked, or of many those that matter most."""
        return self.view.models if self.view.picked else frozenset(facts.leading(self.asked))

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Keep the models that charts show."""
        return table[table["model"].isin(self.models)]

    def of_all(self, table: pd.DataFrame) -> pd.DataFrame:
        """Keep the models that are chosen, however many."""
        return table[table["model"].isin(self.view.models)]


def page(draw: Callable[[Shown], None], *, in_full: bool = False) -> None:
    """Draw a page below the choices, and again every few seconds while it is live.

    Parameters
    ----------
    draw
        Draws what the page is about.
    in_full
        Say of each alert that fires why, instead of the headline alone.
    """
    view = chosen()
    st.fragment(_draw, run_every=REFRESH if view.live else None)(view, draw, in_full=in_full)


def chart(table: pd.DataFrame, of: Callable[..., Drawing], otherwise: str, *arguments: Any, key: str = "") -> None:
    """Draw a chart and say what it shows, or say why there is none."""
    if table.empty:
        st.info(otherwise, icon=":material/question_mark:")
        return
    drawing = of(table, *arguments)
    st.vega_lite_chart(spec={**drawing.spec, "datasets": drawing.data}, key=key or of.__name__)
    if drawing.says:
        st.caption(drawing.says)


def everything(shown: Shown, what: str) -> None:
    """Say of what is not kept by segment that it is shown of all traffic."""
    if shown.view.segment:
        st.caption(
            f":material/info: {what} is not kept by segment: this is all traffic, not {shown.view.segment} alone."
        )


def _draw(view: View, draw: Callable[[Shown], None], *, in_full: bool) -> None:
    try:
        with opened(view.store) as store:
            span, closed, sources = view.span(store), store.closed_range(), store.sources()
            age, pane_seconds = time.time() - written(store), store.pane_seconds
        if span is None or closed is None:
            st.info("The store has been emptied; waiting for its first closed pane.", icon=":material/hourglass_top:")
            return
        shown = Shown(view, Asked(view.store, span, closed, view.segment))
        _strip(shown, age, sources, pane_seconds, in_full=in_full)
        draw(shown)
    except BirdwatchError as error:
        st.info(str(error), icon=":material/info:")


def _strip(shown: Shown, age: float, sources: list[Source], pane_seconds: int, *, in_full: bool) -> None:
    """Say in words how the fleet is, and how fresh that is."""
    raised = facts.alerts(shown.asked)
    state = fleet_state(raised, facts.health(shown.asked))
    box, icon = _LEVELS[state.level]
    lines = [f"**{state.headline}**"]
    firing = open_alerts(raised)
    told = firing[~(firing["silenced"].astype(bool) | firing["inhibited"].astype(bool))].head(_MOST_TOLD)
    if in_full:
        lines += [f"- {alert['reason']} *(since {alert['started']:{CLOCK}})*" for _, alert in told.iterrows()]
    box("\n".join(lines), icon=icon)
    if in_full and len(firing):
        # On a large fleet the list lies below the first screen.
        which = "The open alert" if len(firing) == 1 else f"All {len(firing)} open alerts"
        st.page_link("alerts.py", label=f"{which}, and what lies behind", icon=":material/notifications_active:")
    _silence(sources)
    if shown.view.live and age > max(_STALE_SECONDS, _STALE_PANES * pane_seconds):
        st.warning(
            f"**Stale.** Nothing was written to the store for {length(age)}: what is below ends there. Does `birdwatch tail` run?",
            icon=":material/schedule:",
        )
    st.caption(
        f"Data as of **{timestamp(shown.asked.until):{CLOCK}}** (event time) · store written {ago(age)} ·"
        f" a point on a chart is {length(shown.asked.span.step)} · :grey[┆] deployment · bar along the top: alert firing"
        " (vermillion: page, orange: ticket)"
    )
    shown_of, of = len(shown.models), len(shown.view.models)
    if shown_of < of:
        st.caption(
            f":material/filter_list: Charts show **{shown_of} of {of} models**: those with open alerts, champion and canary, then"
            " what drifts, then the busiest. Choose models above to see others; tables have all."
        )


def _silence(sources: list[Source]) -> None:
    silent = sorted({source.model or source.stream for source in sources if source.idle})
    if silent and len(silent) == len({source.model or source.stream for source in sources}):
        st.warning(
            "All streams have fallen silent: what is below ends where they did.", icon=":material/signal_disconnected:"
        )
    elif silent:
        st.warning(f"Fallen silent: {', '.join(silent)}.", icon=":material/signal_disconnected:")
