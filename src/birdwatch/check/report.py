"""What a check comes to: pass, fail or inconclusive, and the verdicts that the answer rests on."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgspec

from birdwatch.detect.kind import Rule
from birdwatch.detect.verdict import Verdict

__all__ = ["Exit", "Judged", "Report", "as_data", "conclude", "why"]

_MOST_REQUESTS: Final = 3


class Exit(IntEnum):
    """What the command exits with; 2 is misuse."""

    PASS = 0
    FAIL = 1
    INCONCLUSIVE = 3

    @property
    def word(self) -> str:
        """The answer in a word."""
        return self.name.lower()


class Judged(NamedTuple):
    """What a rule said, and whether the answer rests on it."""

    rule: Rule
    verdict: Verdict
    decides: bool


class Report(NamedTuple):
    """The answer.

    Attributes
    ----------
    reason
        Why, in a sentence.
    judged
        What each rule said of each subject.
    compared
        What was compared with what, in words.
    alpha
        The chance with which it fails although nothing is beyond its tolerance.
    """

    exit: Exit
    reason: str
    judged: Sequence[Judged] = ()
    compared: str = ""
    alpha: float = 0.0

    @property
    def verdicts(self) -> list[Verdict]:
        """All verdicts."""
        return [j.verdict for j in self.judged]


def conclude(judged: Sequence[Judged], absent: Sequence[str]) -> Report:
    """Answer by what was judged; ``absent`` says what was not there to be judged, which never passes."""
    deciding = [j.verdict for j in judged if j.decides]
    beside = [j.verdict.reason for j in judged if not j.decides and j.verdict.status == "drifting"]
    explained = f"; beside it, {'; '.join(beside)}" if beside else ""
    moved = [v.reason for v in deciding if v.status == "drifting"]
    if moved:
        return Report(Exit.FAIL, "; ".join(moved) + explained, judged)
    untold = [*dict.fromkeys(v.reason for v in deciding if v.status != "ok"), *absent]
    if not deciding or untold:
        reason = "; ".join(untold) or "no rule compares anything in the current data"
        return Report(Exit.INCONCLUSIVE, reason + explained, judged)
    return Report(Exit.PASS, f"{len(deciding)} comparisons, all within their tolerance{explained}", judged)


def why(verdict: Verdict) -> list[str]:
    """Say what lies behind a verdict: the values whose share changed most, the segments, the requests.

    Examples
    --------
    >>> from birdwatch.detect.verdict import Subject
    >>> moved = {"moved": [{"value": "0.2 to 0.3", "now": 0.4, "before": 0.1}]}
    >>> said = Verdict(rule="drift", kind="distribution", start=0, end=1, subject=Subject("m"), status="drifting",
    ...                reason="", details=moved)
    >>> why(said)
    ['0.2 to 0.3: 40.0% of all, it was 10.0%']
    """
    found = [f"{m['value']}: {m['now']:.1%} of all, it was {m['before']:.1%}" for m in verdict.details.get("moved", ())]
    found += [
        f"{s['segment']}: {s['value']:.3g} of {s['n']:,}, {s['usual']:.3g} is usual"
        for s in verdict.details.get("segments", ())
    ]
    return found + [
        f"request {e['request_id']}: {e['score']:.3g}, and {e['partner_score']:.3g} by {verdict.subject.partner}"
        for e in verdict.details.get("largest", ())[:_MOST_REQUESTS]
    ]


def as_data(report: Report) -> dict[str, Any]:
    """Give a report as plain data, for JSON."""
    return {
        "exit": int(report.exit),
        "verdict": report.exit.word,
        "reason": report.reason,
        "compared": report.compared,
        "alpha": report.alpha,
        "verdicts": [{**msgspec.to_builtins(j.verdict), "decides": j.decides} for j in report.judged],
    }
