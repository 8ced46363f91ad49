"""What all pages share: which store, which stretch of event time, which models and segment; kept in the page's address.

A view that is sent to a colleague as a link shows what its sender saw.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import apsw
import streamlit as st

from birdwatch.config import load_settings
from birdwatch.errors import BirdwatchError, StoreError
from birdwatch.windows.memory import Memory, RememberingStore
from birdwatch.windows.roles import models
from birdwatch.windows.store import Store
from birdwatch.windows.tables import Span, span_of

REFRESH: Final = "5s"

_KEPT: Final = "birdwatch-view"
_DAY: Final = 86_400
_LAST: Final = {"day": _DAY, "week": 7 * _DAY, "month": 30 * _DAY}


class View(NamedTuple):
    """What the person at the page wants to see.

    Attributes
    ----------
    custom
        A fixed stretch of event time, in Unix seconds.
    segment
        A part of the traffic, or none: everything.
    picked
        The models are those that somebody picked; otherwise they are all there are.
    """

    store: Path
    range: str
    custom: tuple[float, float]
    models: frozenset[str]
    live: bool
    segment: str = ""
    picked: bool = False

    def span(self, store: Store) -> Span | None:
        """Give the stretch looked at, as of now; None while no pane has been closed."""
        closed = store.closed_range()
        if closed is None:
            return None
        first, last = closed
        if self.range == "custom":
            since, until = self.custom
            return span_of(store, since, max(until, since + store.pane_seconds))
        since = max(first, last - _LAST[self.range]) if self.range in _LAST else first
        return span_of(store, since, last)


@contextmanager
def opened(path: Path, memory: Memory | None = None) -> Iterator[Store]:
    """Open the store for reading, for as long as it takes to load what a page shows.

    With a memory, what others have read of it is not read again.

    Raises
    ------
    StoreError
        There is no store, or it cannot be read.
    """
    try:
        store = Store(path, readonly=True) if memory is None else RememberingStore(path, memory)
        try:
            yield store
        finally:
            store.close()
    except apsw.Error as error:
        raise StoreError(f"the store {path} cannot be read: {error}") from error


def choose() -> None:
    """Draw the choices that all pages share, and keep what is chosen; while there is nothing to show, say why."""
    path = load_settings().store
    try:
        with opened(path) as store:
            closed, known = store.closed_range(), models(store)
            segments = [segment for named in store.segments().values() for segment in named]
    except BirdwatchError as error:
        _wait(path, str(error))
    if closed is None:
        _wait(path, "")
    row = st.container(horizontal=True, vertical_alignment="bottom")
    stretch = row.segmented_control(
        "Time range (event time)",
        [*_LAST, "all", "custom"],
        default="week",
        required=True,
        key="range",
        bind="query-params",
    )
    custom = (float(closed[0]), float(closed[1]))
    if stretch == "custom":
        first, last = (datetime.fromtimestamp(t, UTC).replace(tzinfo=None) for t in closed)
        since = row.datetime_input("From (UTC)", first, key="from", bind="query-params", width=172)
        until = row.datetime_input("To (UTC)", last, key="to", bind="query-params", width=172)
        custom = (_seconds(since or first), _seconds(until or last))
    wanted = row.multiselect("Models", known, placeholder="all models", key="models", bind="query-params", width=190)
    segment = ""
    if segments:
        asked = row.selectbox(
            "Segment",
            segments,
            None,
            key="segment",
            bind="query-params",
            placeholder="all traffic",
            width=150,
            help="A part of the traffic. Scores, pairs and counts are kept by segment; what is not says so.",
        )
        segment = asked or ""
    live = stretch != "custom" and row.toggle(
        "Live", value=True, key="live", bind="query-params", help=f"Looks at the store every {REFRESH}."
    )
    st.session_state[_KEPT] = View(path, stretch, custom, frozenset(wanted or known), live, segment, bool(wanted))


def chosen() -> View:
    """Give what is chosen."""
    view: View = st.session_state[_KEPT]
    return view


def _seconds(utc: datetime) -> float:
    return utc.replace(tzinfo=UTC).timestamp()


def _wait(path: Path, trouble: str) -> NoReturn:
    """Say why there is nothing to show, and look again until there is."""
    if not trouble:
        st.info(
            f"**Starting.** The store `{path}` is there, but holds no closed pane yet. The first one closes when event time"
            " has passed its end by the lateness allowed.",
            icon=":material/hourglass_top:",
        )
    elif path.exists():
        st.error(f"**The store cannot be shown.** {trouble}", icon=":material/error:")
    else:
        st.info(f"**Nothing to show yet:** {trouble}", icon=":material/info:")

    @st.fragment(run_every=REFRESH)
    def look_again() -> None:
        try:
            with opened(path) as store:
                ready = store.closed_range() is not None
        except BirdwatchError:
            ready = False
        if ready:
            st.rerun()

    look_again()
    st.stop()
