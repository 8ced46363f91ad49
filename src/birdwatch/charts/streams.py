"""How the reading of streams stands: what is not read yet, and what could not be read."""

from functools import lru_cache
from typing import Any, Final

import altair as alt
import pandas as pd

from birdwatch.charts.marks import (
    OKABE_ITO,
    Drawing,
    Marks,
    draw,
    framed,
    largest,
    line_and_points,
    said_at,
    shown_in,
    time_axis,
    when,
)

__all__ = ["lag_chart", "unreadable_chart"]

_STREAMS: Final = ("requests", "scores", "canary", "metrics", "outcomes", "control", "panes")
_LAGS: Final = (0, *(10**power for power in range(1, 10)))
_COLOURS: Final = (*OKABE_ITO[:6], "#888888")


def lag_chart(table: pd.DataFrame, marks: Marks) -> Drawing:
    """Draw the most messages that were not yet read, by stream, while event time stood in each step.

    Parameters
    ----------
    table
        From `birdwatch.windows.accounts.lag_table`.
    """
    worst = largest(table, "behind")
    if worst is None or not worst["behind"]:
        says = "Whenever one looked, all that had been written was read."
    else:
        says = (
            f"At most {worst['behind']:,.0f} messages of {worst['stream']} were not yet read, {said_at(worst['time'])}."
        )
    return draw(_lags(*_names(table)), table, marks, says)


@lru_cache(maxsize=32)
def _lags(names: tuple[str, ...], shown: tuple[str, ...]) -> dict[str, Any]:
    # A lag of two or three should not fill the height.
    room = alt.Chart(alt.NamedData("ends")).mark_point(opacity=0).encode(y=alt.datum(_LAGS[1]))
    return framed(
        line_and_points(
            # Left to itself Vega repeats grid lines without labels; and one prefix for all ticks makes "0M" of a hundred.
            y=alt.Y(
                "behind:Q",
                title="messages not yet read",
                scale=alt.Scale(type="symlog", domainMin=0),
                axis=alt.Axis(values=list(_LAGS), labelExpr="format(datum.value, '~s')", labelOverlap=False),
            ),
            color=_stream_colour(names, shown),
            tooltip=[when(), "stream:N", alt.Tooltip("behind:Q", title="not yet read, at most", format=",")],
        ),
        room,
    )


def unreadable_chart(table: pd.DataFrame, marks: Marks) -> Drawing:
    """Draw how many messages of each stream were put to dead letters, step by step.

    Parameters
    ----------
    table
        From `birdwatch.windows.accounts.unreadable_table`.
    """
    streams = table.groupby("stream")["n"].sum().sort_values(ascending=False)
    told = ", ".join(f"{stream} {n:,}" for stream, n in streams.items())
    says = f"{streams.sum():,} dead letters: {told}; the last {said_at(table['time'].iloc[-1])}." if len(table) else ""
    return draw(_letters(*_names(table)), table, marks, says)


@lru_cache(maxsize=32)
def _letters(names: tuple[str, ...], shown: tuple[str, ...]) -> dict[str, Any]:
    base = alt.Chart(alt.NamedData("main")).encode(
        color=_stream_colour(names, shown),
        y=alt.Y("n:Q", title="dead letters", stack="zero", axis=alt.Axis(format="~s")),
        tooltip=[when(), "stream:N", "kind:N", alt.Tooltip("n:Q", format=","), "reason:N", alt.Tooltip("first:N")],
    )
    # A step among many is a bar too thin to see: its end is marked.
    return framed(
        base.mark_bar(binSpacing=0).encode(x=time_axis(bin="binned"), x2="to:T"),
        base.mark_point(filled=True, size=60, shape="diamond").encode(x=time_axis()),
    )


def _names(table: pd.DataFrame) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give all names of streams that have a colour, ours first, and those that are shown."""
    names = (*_STREAMS, *sorted(set(table["stream"]) - set(_STREAMS)))
    return names, shown_in(table, names, "stream")


def _stream_colour(names: tuple[str, ...], shown: tuple[str, ...]) -> alt.Color:
    colours = [_COLOURS[i % len(_COLOURS)] for i in range(len(names))]
    legend = alt.Legend(orient="top", title=None, columns=3, symbolOpacity=1, values=list(shown))
    return alt.Color("stream:N", scale=alt.Scale(domain=list(names), range=colours), legend=legend)
