"""A report as Markdown: for pull requests and job summaries."""

from typing import Final

from birdwatch.check.formats.rows import ANSWERS, footing, rows
from birdwatch.check.report import Report

__all__ = ["write"]

_MARKS: Final = {"pass": "✅", "fail": "❌", "inconclusive": "❔"}
_CELLS: Final = 10
_TWICE: Final = 2.0


def write(report: Report) -> str:
    """Write a report as Markdown.

    Each row's bar is the value against what is in order, which lies at the middle.
    """
    answer = report.exit.word
    lines = [
        f"### {_MARKS[answer]} The check {ANSWERS[answer]}",
        "",
        _plain(
            report.compared[:1].upper() + report.compared[1:] + ": " + report.reason
            if report.compared
            else report.reason
        ),
    ]
    found = rows(report)
    if found:
        lines += [
            "",
            "| rule | of | n | statistic | value | in order up to | | verdict |",
            "|---|---|--:|---|--:|--:|---|---|",
        ]
        lines += [
            f"| {_plain(r.rule)} | {_plain(r.of)} | {r.n} | {r.statistic} | {r.value} | {r.tolerance} | {_bar(r.ratio)} |"
            f" {'**' + r.status + '**' if r.status == 'drifting' else r.status} |"
            for r in found
        ]
    for row in found:
        if row.status.strip("()") != "ok":
            lines += ["", f"- **{_plain(row.rule)}**, {_plain(row.of)}: {_plain(row.reason)}"]
            lines += [f"  - {_plain(line)}" for line in row.because]
    return "\n".join([*lines, "", f"<sub>{_plain(footing(report))}</sub>", ""])


def _bar(ratio: float | None) -> str:
    if ratio is None:
        return ""
    full = round(min(abs(ratio), _TWICE) / _TWICE * _CELLS)
    half = _CELLS // 2
    cells = "█" * full + "░" * (_CELLS - full)
    return f"`{cells[:half]}┃{cells[half:]}`"


def _plain(text: str) -> str:
    """Keep what a model or a value is called from being read as Markdown."""
    for mark in "\\`*_|<>[]#":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")
