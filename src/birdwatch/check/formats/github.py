"""A report as annotations of a GitHub workflow; the job's summary is the one in Markdown."""

from typing import Final

from birdwatch.check.formats.rows import ANSWERS, rows
from birdwatch.check.report import Exit, Report

__all__ = ["write"]

_LEVELS: Final = {Exit.PASS: "notice", Exit.FAIL: "error", Exit.INCONCLUSIVE: "warning"}
_MOST: Final = 9  # GitHub shows ten of each level in a step


def write(report: Report) -> str:
    """Write the answer, and what fails it, as workflow commands, a line each."""
    level = _LEVELS[report.exit]
    lines = [f"::{level} title={_property(f'The check {ANSWERS[report.exit.word]}')}::{_data(report.reason)}"]
    failing = [row for row in rows(report) if row.status in ("drifting", "error")]
    lines += [f"::error title={_property(f'{row.rule}: {row.of}')}::{_data(row.reason)}" for row in failing[:_MOST]]
    return "\n".join(lines) + "\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
