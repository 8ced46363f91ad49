"""A report as one page of HTML that needs nothing else, with a picture of each verdict."""

from html import escape
from typing import Final

from birdwatch.check.formats.rows import ANSWERS, Row, footing, rows
from birdwatch.check.report import Report
from birdwatch.page import page

__all__ = ["write"]

_MOST: Final = 3.0
_WIDTH: Final = 180

_STYLE: Final = """
.said td { color: var(--faint); font-size: .875rem; padding: 0 .6rem .5rem; border-bottom: 1px solid var(--line); }
.drifting { color: var(--bad); font-weight: 600; }
"""


def write(report: Report) -> str:
    """Write a report as HTML, legible in light and dark and on a telephone.

    Each row's bar is the value against what is in order, which is the upright line; it ends at three times that.
    """
    answer = report.exit.word
    compared = f"{escape(report.compared[:1].upper() + report.compared[1:])}: " if report.compared else ""
    body = (
        f"<p>{compared}{escape(report.reason)}</p>\n{_table(rows(report))}\n"
        f'<p class="faint">{escape(footing(report))}</p>'
    )
    return page(f"The check {ANSWERS[answer]}", body, kind=answer, style=_STYLE)


def _table(found: list[Row]) -> str:
    if not found:
        return ""
    heads = ("rule", "verdict", "of", "n", "statistic", "value", "in order up to", "value ÷ in order")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(map(_row, found))}</tbody></table></div>'


def _row(row: Row) -> str:
    behind = "".join(f"<li>{escape(line)}</li>" for line in row.because)
    status = row.status.strip("()").replace(" ", "-")
    return (
        f'<tr><td>{escape(row.rule)}</td><td class="{status}">{escape(row.status)}</td><td>{escape(row.of)}</td>'
        f"<td class=number>{row.n}</td>"
        f"<td>{escape(row.statistic)}</td><td class=number>{row.value}</td><td class=number>{row.tolerance}</td>"
        f"<td>{_bar(row)}</td></tr>"
        f'<tr class="said"><td colspan="8">{escape(row.reason)}{f"<ul>{behind}</ul>" if behind else ""}</td></tr>'
    )


def _bar(row: Row) -> str:
    if row.ratio is None:
        return ""
    length = min(abs(row.ratio), _MOST) / _MOST * _WIDTH
    colour = "var(--bad)" if row.status == "drifting" else "var(--ok)"
    limit = _WIDTH / _MOST
    return (
        f'<svg width="{_WIDTH}" height="18" role="img" aria-label="{row.ratio:.2g} times what is in order">'
        f'<rect x="0" y="5" width="{length:.1f}" height="8" style="fill:{colour}"/>'
        f'<line x1="{limit:.1f}" x2="{limit:.1f}" y1="0" y2="18" style="stroke:var(--ink)" stroke-width="1.5"/></svg>'
    )
