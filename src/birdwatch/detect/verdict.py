"""A verdict: what one detector says of one model over one window, and why."""

from typing import Any, Literal

import msgspec

__all__ = ["Status", "Subject", "Verdict"]

Status = Literal["ok", "drifting", "no data", "error"]


class Subject(msgspec.Struct, frozen=True, order=True):
    """Whom a verdict is about: a version of a model, and the partner it is compared with (or none)."""

    model: str = ""
    version: str = ""
    partner: str = ""


class Verdict(msgspec.Struct, kw_only=True, frozen=True):
    """What one rule says of one subject in the window [start, end) of event time.

    Attributes
    ----------
    statistic, value, tolerance
        What was measured, how much of it, and how much is still in order; None where it could not be measured.
    effect
        By how much the value exceeds the tolerance, in the statistic's unit; 0 when it doesn't.
    evidence, threshold
        Natural logarithm of the evidence against "within tolerance" and of the level A that spends the page budget;
        None for rules that compare with a number.
    n
        How many events were seen.
    reason
        One sentence for people.
    details
        Whatever else helps to explain: other distances, percentiles, the largest disagreements.
    """

    rule: str
    kind: str
    start: int
    end: int
    subject: Subject
    status: Status
    reason: str
    statistic: str = ""
    value: float | None = None
    tolerance: float | None = None
    effect: float = 0.0
    evidence: float | None = None
    threshold: float | None = None
    n: int = 0
    details: dict[str, Any] = {}
