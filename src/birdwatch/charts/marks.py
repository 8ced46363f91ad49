"""What all charts over time share: colours, the time axis, and the marks of deployments and alerts on it.

A chart is drawn in two parts that meet late: a Vega-Lite specification, built by altair once for all data, and the tables
that it names. A live page then sends new tables alone, the browser redraws nothing else, and building the
specification, which takes longer than all the rest, is not repeated.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import altair as alt
import pandas as pd

from birdwatch.windows.tables import Span, timestamp

__all__ = [
    "OKABE_ITO",
    "Colours",
    "Drawing",
    "Layer",
    "Marks",
    "draw",
    "framed",
    "heat",
    "largest",
    "level_line",
    "line_and_points",
    "model_colour",
    "said_at",
    "said_number",
    "shown_in",
    "time_axis",
    "verdict_points",
    "when",
]

OKABE_ITO: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442")
"""Blue, orange, green, purple, vermillion, sky, yellow (Okabe and Ito, 2008); black is left out: it is a background."""

_SEVERITIES: Final = {"page": "#D55E00", "ticket": "#E69F00", "info": "#56B4E9"}
_GREY: Final = "#888888"

# Twenty-four hours, as in all words: Vega's own has twelve.
_CLOCK: Final = {"hours": "%H:%M", "minutes": "%H:%M", "day": "%a %d", "date": "%a %d", "week": "%b %d"}
_ROWS: Final = 3
_NAMED: Final = 12

Layer = alt.Chart | alt.LayerChart | alt.FacetChart
"""What `altair.layer` takes and may give."""


class Colours(NamedTuple):
    """The colour of each model, by its place among all models, so that it keeps it whatever is shown."""

    models: tuple[str, ...]
    codes: tuple[str, ...]

    @classmethod
    def of(cls, models: Sequence[str]) -> "Colours":
        """Colour models.

        Examples
        --------
        >>> Colours.of(["champion", "canary"]).codes
        ('#0072B2', '#E69F00')
        """
        return cls(tuple(models), tuple(OKABE_ITO[i % len(OKABE_ITO)] for i in range(len(models))))


class Marks(NamedTuple):
    """What every time axis shows: the span it covers, and the deployments and alerts in it."""

    span: Span
    deployments: pd.DataFrame
    alerts: pd.DataFrame

    @classmethod
    def of(cls, span: Span, controls: pd.DataFrame, alerts: pd.DataFrame) -> "Marks":
        """Prepare marks from the tables that `control_table` and `alert_table` give."""
        return cls(span, _moments(controls, span), _episodes(alerts, span))


class Drawing(NamedTuple):
    """A chart: a Vega-Lite specification, the tables that it names, and what it shows in a sentence."""

    spec: dict[str, Any]
    data: dict[str, pd.DataFrame]
    says: str = ""

    def chart(self, **properties: Any) -> alt.LayerChart:
        """Give it as one altair chart, as notebooks show it; ``properties`` such as title and width go on top."""
        return alt.LayerChart.from_dict(self.whole()).properties(**properties)

    def whole(self, **more: Any) -> dict[str, Any]:
        """Give it as one Vega-Lite specification with its data in it; ``more`` takes the place of what it says already."""
        rows = {
            name: json.loads(table.to_json(orient="records", date_format="iso")) for name, table in self.data.items()
        }
        return {**self.spec, "datasets": rows, **more}


def model_colour(colours: Colours, shown: tuple[str, ...]) -> alt.Color:
    """Colour by model, with a legend of those that are shown."""
    return alt.Color(
        "model:N",
        scale=alt.Scale(domain=list(colours.models), range=list(colours.codes)),
        # A legend of a hundred models would leave no room for the chart: the others are named where one points.
        legend=alt.Legend(orient="top", title=None, columns=3, symbolOpacity=1, values=list(shown[:_NAMED])),
    )


def shown_in(table: pd.DataFrame, names: Sequence[str], column: str = "model") -> tuple[str, ...]:
    """Give those of the names that a table has, in the order of the names."""
    present = set(table[column])
    return tuple(name for name in names if name in present)


def level_line(level: float, words: str) -> Layer:
    """Draw a dashed line across the chart, and what it means."""
    # A table of their own would be a second thing that changes: any row of the ends will do.
    ends = alt.Chart(alt.NamedData("ends"))
    line = ends.mark_rule(color="#D55E00", strokeDash=[6, 3], strokeWidth=1.5).encode(y=alt.datum(level))
    told = ends.mark_text(align="left", baseline="bottom", dx=4, dy=-2, color="#D55E00", text=words)
    room = ends.mark_point(opacity=0).encode(y=alt.datum(1.2 * level))  # above the line, so that it never is the frame
    return alt.layer(line, told.encode(x=alt.value(0), y=alt.datum(level)), room)


def time_axis(field: str = "time:T", **more: Any) -> alt.X:
    """Give the axis of event time."""
    axis = alt.Axis(tickCount=8, format=_CLOCK)
    return alt.X(field, title="event time (UTC)", scale=alt.Scale(type="utc"), axis=axis, **more)


def when() -> alt.Tooltip:
    """Say in a tooltip when it was."""
    return alt.Tooltip("time:T", title="UTC", timeUnit="utcyearmonthdatehoursminutes")


def line_and_points(*, tooltip: Sequence[Any], width: alt.StrokeWidth | None = None, **encodings: Any) -> Layer:
    """Draw the main table as lines that break where there is no data, with points so that a lonely step is seen too."""
    base = alt.Chart(alt.NamedData("main")).encode(x=time_axis(), **_channels(encodings))
    line = base.mark_line(strokeWidth=1.8)
    return alt.layer(
        line if width is None else line.encode(strokeWidth=width),
        base.mark_point(filled=True, size=12, opacity=0.9),
        base.mark_point(filled=True, size=120, opacity=0).encode(**_channels({"tooltip": tooltip})),
    )


def _channels(encodings: Mapping[str, Any]) -> dict[str, Any]:
    """Say what text stands for: altair finds it out by hashing its schema, which takes longer than all the rest."""
    kinds = {"detail": alt.Detail, "tooltip": alt.Tooltip}
    return {
        name: [kinds[name](part) if isinstance(part, str) else part for part in ([of] if isinstance(of, str) else of)]
        if name in kinds
        else of
        for name, of in encodings.items()
    }


def verdict_points(*, tooltip: Sequence[Any], **encodings: Any) -> Layer:
    """Draw the main table as lines with a mark for each verdict: a large triangle for what drifts."""
    base = alt.Chart(alt.NamedData("main")).encode(x=time_axis(), **_channels(encodings))
    statuses = ["ok", "drifting", "no data", "error"]
    marks = base.mark_point(filled=True, opacity=0.9).encode(
        size=alt.Size("status:O", scale=alt.Scale(domain=statuses, range=[25, 160, 25, 80]), legend=None),
        shape=alt.Shape(
            "status:N",
            scale=alt.Scale(domain=statuses, range=["circle", "triangle-up", "circle", "cross"]),
            legend=None,
        ),
    )
    near = base.mark_point(filled=True, size=200, opacity=0).encode(**_channels({"tooltip": tooltip}))
    return alt.layer(base.mark_line(strokeWidth=1.8), marks, near)


def heat(y: alt.Y, form: str) -> dict[str, Any]:
    """Build a heat map of the main table: cells from ``time`` to ``to`` and ``low`` to ``high``, darker or lighter by share."""
    cells = alt.Chart(alt.NamedData("main")).mark_rect()
    return framed(
        cells.encode(
            x=time_axis(),
            x2=alt.X2("to:T"),
            y=y,
            y2=alt.Y2("high:Q"),
            # The square root, so that the few far out are seen beside the many.
            color=alt.Color(
                "share:Q",
                scale=alt.Scale(type="sqrt", scheme="viridis", domain=[0, 0.6], clamp=True),
                legend=alt.Legend(orient="top", title="share of a column", format="~%", gradientThickness=8),
            ),
            tooltip=[
                when(),
                alt.Tooltip("low:Q", title="from", format=form),
                alt.Tooltip("high:Q", title="to", format=form),
                alt.Tooltip("share:Q", format=".1%"),
                alt.Tooltip("n:Q", format=","),
            ],
        )
    )


def framed(*layers: Layer, height: int = 320) -> dict[str, Any]:
    """Put layers, which share their colours, on an axis of event time with deployments and alerts; build it."""
    below, above = _frame()
    return {
        "$schema": alt.SCHEMA_URL,
        "layer": [*below, {"layer": [_built(layer) for layer in layers]}, above],
        "resolve": {"scale": {"color": "independent", "shape": "independent"}},
        "height": height,
    }


@lru_cache(maxsize=1)
def _frame() -> tuple[list[dict[str, Any]], dict[str, Any]]:
    # The ends of the axis travel as data, like everything that changes while one looks.
    ends: Layer = alt.Chart(alt.NamedData("ends")).mark_rule(opacity=0).encode(x=time_axis())
    return [_built(layer) for layer in (ends, *_deployments())], _built(_alerts())


def _built(layer: Layer) -> dict[str, Any]:
    """Build one layer; tests hold the whole against the schema: to do so for each reader takes longer than all else."""
    spec: dict[str, Any] = layer.to_dict(validate=False)
    # The page's theme, or the notebook's, is put in the place of the configuration.
    return {name: part for name, part in spec.items() if name not in ("config", "$schema")}


def draw(spec: dict[str, Any], table: pd.DataFrame, marks: Marks, says: str = "") -> Drawing:
    """Join a specification made by `framed` with its tables, and with what it shows in a sentence."""
    ends = pd.DataFrame({"time": [timestamp(marks.span.since), timestamp(marks.span.until)]})
    data = {"main": table, "ends": ends, "deployments": marks.deployments, "alerts": marks.alerts}
    return Drawing(spec, data, says)


def largest(table: pd.DataFrame, column: str) -> "pd.Series[Any] | None":
    """Give the row in which a column is largest; None where it has no number."""
    known = table[table[column].notna()]
    return None if known.empty else known.iloc[int(known[column].to_numpy().argmax())]


def said_at(moment: pd.Timestamp) -> str:
    """Say when something was, in UTC, as sentences about charts do.

    Examples
    --------
    >>> said_at(pd.Timestamp("2024-03-17T06:00Z"))
    '17 Mar 06:00'
    """
    return f"{moment:%d %b %H:%M}"


def said_number(value: float) -> str:
    """Say a number to as many digits as a sentence bears.

    Examples
    --------
    >>> [said_number(x) for x in (0.00412, 0.6149, 12.34, 12340.0)]
    ['0.0041', '0.61', '12.3', '12,340']
    """
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.3g}"


def _moments(controls: pd.DataFrame, span: Span) -> pd.DataFrame:
    """Give what was changed by moment, and where its words are written: nowhere when there would be too many."""
    # By hand: to group so few rows by functions takes longer than all the rest of a chart.
    at: dict[pd.Timestamp, list[tuple[str, str, str]]] = {}
    for time, *told in zip(*(controls[name] for name in ("time", "what", "author", "reason")), strict=True):
        at.setdefault(time, []).append(tuple(told))
    order = sorted(at)
    changes = [tuple(zip(*at[time], strict=True)) for time in order]
    moments = pd.DataFrame(
        {
            "time": pd.Series(order, dtype=controls["time"].dtype),
            "what": [", ".join(what) if len(what) < 3 else f"{len(what)} changes" for what, _, _ in changes],
            "who": [", ".join(sorted(set(authors))) for _, authors, _ in changes],
            "why": ["; ".join(sorted(set(reasons))) for _, _, reasons in changes],
        }
    )
    moments["row"] = [i % _ROWS if len(moments) <= 2 * _ROWS else -1 for i in range(len(moments))]
    moments["late"] = moments["time"] > timestamp(span.since + 0.65 * (span.until - span.since))
    return moments


def _deployments() -> list[Layer]:
    """Draw a dashed line for each moment at which something was changed, and say what."""
    told = _channels({"tooltip": [when(), "what:N", "who:N", "why:N"]})
    base = alt.Chart(alt.NamedData("deployments")).encode(x=time_axis(), **told)
    # Neighbours write on rows of their own, and the last ones to the left, where there is room. All are one layer:
    # what a browser takes to draw a chart grows with their number.
    words = (
        base.transform_filter(alt.datum["row"] >= 0)
        .mark_text(
            align=alt.ExprRef("datum.late ? 'right' : 'left'"),
            dx=alt.ExprRef("datum.late ? -4 : 4"),
            dy=alt.ExprRef("3 + 13 * datum.row"),
            baseline="top",
            fontSize=11,
            color=_GREY,
        )
        .encode(text=alt.Text("what:N"), y=alt.value(0))
    )
    return [base.mark_rule(strokeDash=[4, 3], color=_GREY, strokeWidth=1.5), words]


def _episodes(alerts: pd.DataFrame, span: Span) -> pd.DataFrame:
    bars = alerts[
        ["fired", "resolved", "severity", "rule", "model", "version", "feature", "attribution", "reason"]
    ].copy()
    # One name for whom it is about: an alert on an input has no model.
    bars["about"] = bars.pop("feature").where(lambda f: f != "", bars.pop("model") + " " + bars.pop("version"))
    since, until = timestamp(span.since), timestamp(span.until)
    bars["time"] = bars["fired"].where(bars["fired"] > since, since)
    bars["to"] = bars["resolved"].where(bars["resolved"] < until, until)
    return bars.sort_values("severity", key=lambda s: s.map({"page": 1}).fillna(0), kind="stable")  # pages on top


def _alerts() -> Layer:
    """Draw each alert as a bar along the top, for as long as it fired."""
    severity = alt.Scale(domain=list(_SEVERITIES), range=list(_SEVERITIES.values()))
    fired = alt.Tooltip("fired:T", title="fired, UTC", timeUnit="utcyearmonthdatehoursminutes")
    told = ["severity:N", "attribution:N", "about:N", "rule:N", "reason:N"]
    bars: alt.Chart = alt.Chart(alt.NamedData("alerts")).mark_rect()
    return bars.encode(
        x=time_axis(),
        x2=alt.X2("to:T"),
        y=alt.value(-9),
        y2=alt.value(-2),
        color=alt.Color("severity:N", legend=None, scale=severity),
        **_channels({"tooltip": [fired, *told]}),
    )
