"""What every report for people says of a verdict, in the same words."""

from typing import Final, NamedTuple

from birdwatch.check.report import Judged, Report, why
from birdwatch.detect.words import about

__all__ = ["ANSWERS", "Row", "footing", "rows"]

ANSWERS: Final = {"pass": "passed", "fail": "failed", "inconclusive": "is inconclusive"}


class Row(NamedTuple):
    """A verdict for people.

    Attributes
    ----------
    value, tolerance
        What was measured (a mean difference by its size, and between what it lies at any time), and how much is in order.
    ratio
        The one as a multiple of the other; None where nothing was measured.
    status
        ``ok``, ``drifting``, ``no data`` or ``error``; in brackets where the answer does not rest on it.
    because
        What lies behind an alarm.
    """

    rule: str
    of: str
    n: str
    statistic: str
    value: str
    tolerance: str
    ratio: float | None
    status: str
    reason: str
    because: list[str]


def rows(report: Report) -> list[Row]:
    """Give what is to be said of each verdict, alarms first."""
    rank = {"drifting": 0, "error": 1, "no data": 2}
    ordered = sorted(report.judged, key=lambda j: (not j.decides, rank.get(j.verdict.status, 3)))
    return [_row(judged) for judged in ordered]


def _row(judged: Judged) -> Row:
    v = judged.verdict
    value, tolerance = (f"{x:.3g}" if x is not None else "–" for x in (v.value, v.tolerance))
    if v.details.get("between"):
        low, high = v.details["between"]
        value += f" ({low:+.3g} to {high:+.3g})"
    ratio = v.value / v.tolerance if v.value is not None and v.tolerance else None
    status = v.status if judged.decides else f"({v.status})"
    because = why(v) if v.status == "drifting" else []
    return Row(v.rule, about(v.subject), f"{v.n:,}", v.statistic, value, tolerance, ratio, status, v.reason, because)


def footing(report: Report) -> str:
    """Say how sure the answer is."""
    return (
        f"A check fails with a chance of at most {report.alpha:g} where nothing is beyond its tolerance, however often it is"
        f" asked while the data grow from the same beginning. What stands in brackets explains, and decides nothing."
    )
