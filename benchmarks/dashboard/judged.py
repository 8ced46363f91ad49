"""What the starter rules would have said of the fleet, what was told of it, and what operators did."""

from typing import Any, Final

import numpy as np
from benchmarks.dashboard.fleet import BAD, CHAMPION, FEATURES, MODELS, PAIRS, SECOND

from birdwatch.detect.verdict import Finding, Subject, Verdict
from birdwatch.records import Control

__all__ = ["controls", "findings", "verdicts"]

_HOUR: Final = 3_600
_DAY: Final = 86_400
_LEVEL: Final = 11.5
_BY_MODEL: Final = {
    # rule: kind, statistic, how large it is in multiples of what is tolerated, what is tolerated
    "scores": ("distribution", "ks", 0.45, 0.12),
    "model-latency": ("latency", "p99", 0.3, 0.25),
    "queue-latency": ("latency", "p99", 0.02, 0.5),
    "score-errors": ("rate", "errors", 0.05, 0.01),
    "score-nulls": ("rate", "nulls", 0.0, 0.01),
    "silence": ("silence", "share", 0.0, 0.5),
}
_BY_PAIR: Final = {
    "pairs": ("paired", "mean", 0.4, 0.05),
    "disagreement": ("disagreement", "disagreement", 0.5, 0.2),
}


def verdicts(rng: np.random.Generator, since: int, until: int, days: int) -> list[Verdict]:
    """Give what is said at the end of each hour in (since, until]: of every pair, and by day of every model."""
    found: list[Verdict] = []
    for end in range(since + _HOUR, until + 1, _HOUR):
        for rule, about in _BY_PAIR.items():
            for model, partner in PAIRS:
                name = Subject(model, _version(model, end, days), partner)
                found.append(_judged(rng, rule, *about, name, (end - _HOUR, end), days))
        found.append(_judged(rng, "traffic", "traffic", "requests", 0.3, 1.0, Subject(), (end - _HOUR, end), days))
        if end % (6 * _HOUR) == 0:
            window = (end - 6 * _HOUR, end)
            found += [
                _judged(rng, "inputs", "distribution", "ks", 0.4, 0.3, Subject(feature=f), window, days)
                for f in FEATURES
            ]
        if end % (12 * _HOUR) == 0:
            window = (end - 12 * _HOUR, end)
            found.append(_judged(rng, "sla-misses", "rate", "sla_misses", 0.06, 0.01, Subject(), window, days))
            found.append(_judged(rng, "first-choice", "selection", "share", 0.5, 0.05, Subject(), window, days))
        if end % _DAY == 0:
            for rule, about in _BY_MODEL.items():
                for model in MODELS:
                    name = Subject(model, _version(model, end, days))
                    found.append(_judged(rng, rule, *about, name, (end - _DAY, end), days))
            name = Subject(CHAMPION, "1")
            found.append(_judged(rng, "answer-latency", "latency", "p99", 0.1, 0.8, name, (end - _DAY, end), days))
    return found


def _version(model: str, end: int, days: int) -> str:
    return "2" if model == BAD and _day(end) == days - 1 else "1"


def _day(end: int) -> int:
    return (end - 1 - START) // _DAY


START: Final = 1_709_251_200
"""2024-03-01T00:00:00Z: the beginning of the store."""


def _judged(
    rng: np.random.Generator,
    rule: str,
    kind: str,
    statistic: str,
    usual: float,
    tolerance: float,
    subject: Subject,
    window: tuple[int, int],
    days: int,
) -> Verdict:
    odd = _day(window[1]) == days // 2 and kind == "distribution"
    wrong = subject.version == "2" and kind in {"paired", "disagreement", "distribution"}
    value = tolerance * usual * float(np.exp(rng.normal(0.0, 0.25))) * (3.0 if odd or wrong else 1.0)
    drifting = value > 1.2 * tolerance
    alarmed = drifting and bool(rng.random() < 0.3)
    evidence = float(rng.normal(-2.0, 1.5)) + (9.0 if drifting else 0.0)
    who = " ".join(filter(None, (subject.model, subject.version, subject.partner, subject.feature))) or "the fleet"
    details: dict[str, Any] = {"usual": tolerance * usual}
    if drifting:
        details |= {
            "since": window[0],
            "segments": [{"segment": "origin=EWR", "value": value, "usual": tolerance * usual, "n": 4_000}],
            "largest": [{"request_id": f"r{i}", "score": 0.9, "partner_score": 0.1 + i / 50} for i in range(5)],
            "moved": [{"value": f"0.{i} to 0.{i + 1}", "now": 0.1 + i / 90, "before": 0.1} for i in range(8)],
        }
    return Verdict(
        rule=rule,
        kind=kind,
        start=window[0],
        end=window[1],
        subject=subject,
        status="drifting" if drifting else "ok",
        reason=f"{statistic} of {who} is {value:.3g} in the window; up to {tolerance:.3g} has been usual of late",
        statistic=statistic,
        value=value,
        tolerance=tolerance,
        effect=max(0.0, value - tolerance),
        evidence=evidence,
        threshold=_LEVEL,
        alarmed=alarmed,
        n=int(rng.integers(3_000, 20_000)),
        details=details,
    )


def findings(rng: np.random.Generator, days: int) -> list[Finding]:
    """Give what is told: some alerts a day that come and go, and the bad release, which fires at the end."""
    found = []
    for day in range(1, days):
        for model, partner in rng.permutation(np.array(PAIRS))[:3].tolist():
            if model == BAD:
                continue
            at = START + day * _DAY + int(rng.integers(0, 20)) * _HOUR
            severity = "page" if rng.random() < 0.1 else "ticket"
            for hours, active in ((0, True), (2, False), (3, False), (4, False)):
                found.append(
                    Finding(
                        rule="disagreement",
                        subject=Subject(model, "1", partner),
                        ts=at + hours * _HOUR,
                        severity=severity,
                        active=active,
                        attribution="the model changed" if active else "",
                        reason=f"{model} and {partner} are further apart than usual on 31 % of 9,120 requests",
                        statistic="disagreement",
                        value=0.31,
                        tolerance=0.2,
                        n=9_120,
                    )
                )
    for rule in ("pairs", "disagreement"):
        found += [
            Finding(
                rule=rule,
                subject=Subject(BAD, "2", CHAMPION),
                ts=START + (days - 1) * _DAY + 5 * _HOUR,
                severity="page",
                active=True,
                attribution="the model changed",
                reason=f"{BAD} 2 scores +15 % more of 18,000 requests above 0.3 than {CHAMPION}; +1 % ± 2 % has been usual",
                statistic="mean",
                value=0.15,
                tolerance=0.05,
                n=18_000,
            )
        ]
    return found


def controls(days: int) -> list[Control]:
    """Give what operators did: every model was registered, and each day some change."""
    tiers = {"tiers": [{"models": [CHAMPION]}, {"models": [SECOND]}], "default": 0.2}
    found = [
        Control(ts=START, action="register", author="ops", reason="start", model=model, version="1") for model in MODELS
    ]
    found.append(Control(ts=START, action="champion", author="ops", reason="start", model=CHAMPION, version="1"))
    found.append(Control(ts=START, action="schedule", author="ops", reason="start", params=tiers))
    for day in range(2, days - 1, 2):
        model = MODELS[1 + day % 98]
        at = START + day * _DAY + 9 * _HOUR
        for hours, percent in ((0, 1), (2, 10), (4, 0)):
            found.append(
                Control(
                    ts=at + hours * _HOUR,
                    action="ramp",
                    author="ana",
                    reason="trial",
                    model=model,
                    version="1",
                    params={"percent": percent},
                )
            )
    found.append(
        Control(
            ts=START + (days - 1) * _DAY, action="register", author="ana", reason="new features", model=BAD, version="2"
        )
    )
    return found
