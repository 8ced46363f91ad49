"""A report as one page of HTML: the summary first, then each question with data, answer, pictures and tables."""

import re
import textwrap
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final

import numpy as np
import pandas as pd

from birdwatch.charts.marks import Drawing, said_number
from birdwatch.page import page
from birdwatch.report.section import Figure, Section, Table

__all__ = ["drawn", "write"]

_WIDTH: Final = 460
_OPEN: Final = 25
"""Longer tables are folded, and all but the first of a section."""

# Axes and words take the page's colours, so that one picture is legible on light and dark alike; at 390 pixels it is drawn
# at three quarters of its size.
_INK: Final = "currentColor"
_CONFIG: Final[dict[str, Any]] = {
    "background": "transparent",
    "font": "Arial, Helvetica, Liberation Sans, sans-serif",  # what it is laid out by: a wider one would overlap
    "padding": {"left": 20, "right": 8, "top": 4, "bottom": 4},
    "axis": {
        **{f"{part}FontSize": 13 for part in ("label", "title")},
        **{f"{part}Color": _INK for part in ("label", "title", "tick", "domain")},
        "gridColor": _INK,
        "gridOpacity": 0.15,
        "titleFontWeight": "normal",
        "labelLimit": 190,
    },
    "legend": {"labelFontSize": 13, "columnPadding": 16, "labelColor": _INK, "titleColor": _INK},
    "view": {"stroke": None},
}

_STYLE: Final = """
.period { font-size: 1.125rem; margin-top: -.5rem; }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
h2 { margin: 1.25rem 0 .25rem; }
.answer { font-size: 1.0625rem; margin: .5rem 0; }
.summary td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
.summary a { color: inherit; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 2rem; margin: 1rem 0; }
figure { margin: 0; flex: 0 1 480px; min-width: 0; break-inside: avoid; }
figure svg { max-width: 100%; height: auto; overflow: visible; }
figcaption { font-weight: 600; margin-bottom: .25rem; }
.listed { width: auto; }
.listed th, .listed td { padding: .25rem 1.25rem .25rem 0; font-size: .875rem; border-bottom: 1px solid var(--line); }
.listed th.number { text-align: right; }
.listed td.text { min-width: 7rem; }
.listed td.long { min-width: 16rem; }
summary { cursor: pointer; font-weight: 600; }
@media print {
  :root { --ink: #000; --faint: #444; --paper: #fff; --line: #bbb; }
  body { max-width: none; margin: 0; font-size: 11pt; }
  .wide { overflow: visible; }
}
"""


def drawn(drawing: Drawing, number: int) -> str:
    """Draw a chart as SVG that stands in a page beside others; ``number`` tells its names from theirs.

    Raises
    ------
    ImportError
        ``birdwatch[pictures]`` is not installed.
    """
    import vl_convert  # noqa: PLC0415 - an extra, and large

    steps = isinstance(drawing.spec.get("height"), dict)
    fit = {"type": "fit-x" if steps else "fit", "contains": "padding"}
    size = {"width": _WIDTH} if steps else {"width": _WIDTH, "height": 300}
    svg: str = vl_convert.vegalite_to_svg(drawing.whole(**size, autosize=fit, config=_CONFIG))
    # What a page says of a picture stands beside it, and the names of two pictures must not meet.
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>f{number}-", svg)


def write(
    title: str,
    period: str,
    sections: Sequence[Section],
    *,
    footing: str,
    draw: Callable[[Drawing, int], str] | None = drawn,
) -> str:
    """Write a report.

    Parameters
    ----------
    title, period
        What it is about.
    footing
        How it was made.
    draw
        Gives a picture as SVG; None where nothing can draw, which is said.
    """
    number = 0
    parts = [f'<p class="period faint">{escape(period)}</p>', _summary(sections)]
    if draw is None:
        parts.append(
            "<p class=faint>There are no pictures: what draws them is not installed: pip install 'birdwatch[pictures]'</p>"
        )
    for section in sections:
        figures = []
        for figure in section.figures if draw is not None else ():
            figures.append(_figure(figure, draw(figure.drawing, number)))  # type: ignore[misc]
            number += 1
        parts.append(_section(section, figures))
    parts.append(f'<p class="faint">{escape(footing)}</p>')
    return page(title, "\n".join(parts), style=_STYLE)


def _summary(sections: Sequence[Section]) -> str:
    rows = "".join(
        f'<tr><td><a href="#{s.name}">{escape(s.question)}</a></td><td{" class=faint" * bool(s.absent)}>'
        f"{escape(s.absent or s.answer[0])}</td></tr>"
        for s in sections
    )
    return f'<table class="summary"><tbody>{rows}</tbody></table>'


def _section(section: Section, figures: Sequence[str]) -> str:
    head = f'<section id="{section.name}"><h2>{escape(section.question)}</h2>'
    if section.absent:
        return f'{head}\n<p class="faint">{escape(section.absent)}</p></section>'
    answer = "".join(f'<p class="answer">{escape(line)}</p>' for line in section.answer if line)
    shown = f'<div class="figures">{"".join(figures)}</div>' if figures else ""
    tables = "".join(_table(table, opened=not i) for i, table in enumerate(section.tables))
    return f'{head}\n<p class="faint">{escape(section.data)}</p>{answer}{shown}{tables}</section>'


def _figure(figure: Figure, svg: str) -> str:
    says = f'<p class="faint">{escape(figure.drawing.says)}</p>' if figure.drawing.says else ""
    return f"<figure><figcaption>{escape(figure.title)}</figcaption>{svg}{says}</figure>"


def _table(one: Table, *, opened: bool) -> str:
    kinds = ["number" if pd.api.types.is_numeric_dtype(kind) else "text" for kind in one.table.dtypes]
    names = [str(name).replace("_", " ") for name in one.table.columns]
    head = "".join(f'<th class="{kind}">{escape(name)}</th>' for name, kind in zip(names, kinds, strict=True))
    rows = "".join(
        "<tr>" + "".join(_cell(x, kind) for x, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in one.table.itertuples(index=False)
    )
    table = f'<div class="wide"><table class="listed"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    unfolded = " open" if opened and len(one.table) <= _OPEN else ""
    note = f'<p class="faint">{escape(one.note)}</p>' if one.note else ""
    return f"<details{unfolded}><summary>{escape(one.title)} ({len(one.table)})</summary>{table}{note}</details>"


def _cell(x: Any, kind: str) -> str:
    if isinstance(x, pd.Timestamp):
        text = f"{x:%Y-%m-%d %H:%M}"
    elif kind == "number":
        text = "–" if pd.isna(x) else "any" if np.isinf(x) else said_number(x) if isinstance(x, float) else f"{x:,}"
    else:
        text = textwrap.shorten(str(x), 400, placeholder=" …")
    return f'<td class="{"long" if len(text) > 40 else kind}">{escape(text)}</td>'
