"""An alert as a picture: what lies behind it, with a title in words, for people who have a telephone at hand and no more."""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from birdwatch.charts.behind import Fired, draw_behind
from birdwatch.charts.marks import Drawing
from birdwatch.detect.words import about
from birdwatch.records import Alert
from birdwatch.stats.grid import Scale
from birdwatch.windows.store import Store

__all__ = ["HEIGHT", "SCALE", "WIDTH", "draw_alert", "picture_of"]

WIDTH: Final = 800
HEIGHT: Final = 450
"""The picture's size; `SCALE` times as many pixels each way."""

SCALE: Final = 2

_MOST_LINES: Final = 3
_IN_A_LINE: Final = 92
_IN_A_TITLE: Final = 62
_WORDS_ON_CHART: Final = 14
_FORM: Final = "%a %d %b %H:%M"

# On a telephone it is half as large.
_CONFIG: Final[dict[str, Any]] = {
    "background": "white",
    "font": "sans-serif",
    "padding": 14,
    "axis": {"labelFontSize": 15, "titleFontSize": 15, "titleFontWeight": "normal", "gridColor": "#e8e8e8"},
    "legend": {"labelFontSize": 16, "titleFontSize": 15},
    "text": {"fontSize": 15},
    "title": {"anchor": "start", "frame": "group", "fontSize": 23, "subtitleFontSize": 16, "subtitlePadding": 7},
    "view": {"stroke": None},
}


def draw_alert(store: Store, alert: Alert, scale: Scale = "probability") -> bytes | None:
    """Draw what lay behind an alert when it fired, as a PNG; None where there is nothing that could be drawn.

    Raises
    ------
    ImportError
        ``birdwatch[pictures]`` is not installed.
    ValueError
        It could not be drawn.
    """
    drawing = draw_behind(store, Fired.of(alert), scale)
    if drawing is None:
        return None
    whom = about(Fired.of(alert).subject)
    since = alert.started if alert.since is None else min(alert.since, alert.started)
    told = f"{alert.severity} of the rule {alert.rule} · since {_at(since)}, told {_at(alert.ts)} UTC"
    return picture_of(drawing, f"{whom}: {alert.attribution or alert.rule}", [told, alert.reason])


def picture_of(drawing: Drawing, title: str, lines: Sequence[str], *, frame: str = "group") -> bytes:
    """Draw a chart as a PNG under a title, some lines, and the sentence that says what it shows.

    The title begins where the chart does; with the frame ``bounds``, where the names on its axis do, if these are long.
    """
    import vl_convert  # noqa: PLC0415 - an extra, and large

    first, *rest = lines
    reasons = [line for text in rest for line in _wrapped(text, _IN_A_LINE, _MOST_LINES)]
    spec = drawing.whole(
        width=WIDTH,
        height=HEIGHT,
        autosize={"type": "fit", "contains": "padding"},
        config=_CONFIG,
        title={
            "frame": frame,
            "text": _wrapped(title, _IN_A_TITLE, 2),
            "subtitle": [first, *reasons, *_wrapped(drawing.says, _IN_A_LINE, 2)],
        },
    )
    png: bytes = vl_convert.vegalite_to_png(_larger(spec), scale=SCALE)
    return png


def _larger(part: Any) -> Any:
    """Give a specification in which words upon the chart, such as those of deployments, are as large as the axes' nearly."""
    if isinstance(part, list):
        return [_larger(one) for one in part]
    if not isinstance(part, dict):
        return part
    # What is drawn is data, and may be long: there is no mark in it.
    found = {name: one if name == "datasets" else _larger(one) for name, one in part.items()}
    if found.get("type") == "text" and "fontSize" in found:
        found["fontSize"] = _WORDS_ON_CHART
    return found


def _wrapped(text: str, width: int, most: int) -> list[str]:
    return textwrap.wrap(text, width, max_lines=most, placeholder=" …")


def _at(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime(_FORM)
